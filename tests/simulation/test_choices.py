"""Faults have names, so that a run can be played again with some of them left out."""

from orderflow.simulation.choices import Choices

RATES = {"publish": {"refused": 0.3, "late": 0.2}}


def drawn(choices: Choices, times: int = 50) -> list[str]:
    return [choices.fault("publish", "payment-0") for _ in range(times)]


def test_a_seed_says_what_strikes() -> None:
    assert drawn(Choices(1, RATES)) == drawn(Choices(1, RATES))
    assert drawn(Choices(1, RATES)) != drawn(Choices(2, RATES))


def test_what_struck_can_be_played_again() -> None:
    first = Choices(1, RATES)
    assert drawn(first) == drawn(Choices(1, {}, first.struck))


def test_leaving_one_out_moves_no_other() -> None:
    first = Choices(1, RATES)
    drawn(first)
    _left_out, *others = first.struck
    again = Choices(1, {}, {key: first.struck[key] for key in others})
    drawn(again)
    assert list(again.struck) == others


def test_another_process_draws_for_itself() -> None:
    one, both = Choices(1, RATES), Choices(1, RATES)
    for _ in range(50):
        both.fault("publish", "order-0")
    assert drawn(one) == drawn(both)


def test_faults_strike_as_often_as_they_should() -> None:
    found = drawn(Choices(3, RATES), 4_000)
    assert 0.27 < found.count("refused") / 4_000 < 0.33
    assert 0.17 < found.count("late") / 4_000 < 0.23


def test_nothing_strikes_once_the_faults_have_stopped() -> None:
    choices = Choices(1, RATES)
    choices.active = False
    assert set(drawn(choices)) == {""}


def test_delays_lie_between_their_bounds_and_are_least_without_jitter() -> None:
    choices = Choices(1, RATES)
    spans = [choices.span("sql", "payment-0", 1.0, 3.0) for _ in range(100)]
    assert 1.0 <= min(spans) < max(spans) <= 3.0
    assert Choices(1, RATES, jitter=False).span("sql", "payment-0", 1.0, 3.0) == 1.0
