"""Who is at work on something is told apart from everybody else, and fits the columns that say so."""

from uuid import UUID

import pytest

from orderflow.runtime.schema import NAME, owner_name

RUN = UUID("0123456789abcdef0123456789abcdef")


@pytest.mark.parametrize("length", [1, 55, 56, 63, 300])
def test_the_name_fits_its_columns_however_long_the_pod_s_name_is(length: int) -> None:
    assert NAME.length is not None
    assert len(owner_name("p" * length, RUN)) <= NAME.length


def test_a_short_name_is_kept_whole() -> None:
    assert owner_name("payment-0", RUN) == "payment-0/01234567"


def test_two_pods_of_one_deployment_are_told_apart_by_the_end_of_their_names() -> None:
    common = "order-to-delivery-notification-010b827a71-88dbdb46c-extended-"
    assert owner_name(f"{common}aaaaa", RUN) != owner_name(f"{common}bbbbb", RUN)


def test_two_runs_of_one_process_are_told_apart() -> None:
    assert owner_name("payment-0", RUN) != owner_name("payment-0", UUID(int=RUN.int ^ (1 << 127)))
