from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderflow.contracts.money import ZERO
from orderflow.providers import settlement
from orderflow.providers.protocol import ProviderRequest
from orderflow.providers.record import Record
from orderflow.providers.settlement import RequestError, Rule, Verdict

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)
RULES: dict[str, Rule] = {
    "charge": settlement.charge,
    "refund": settlement.refund,
    "book": settlement.book,
    "cancel": settlement.cancel,
}


def asked(operation: str, key: str = "k", **arguments: str) -> ProviderRequest:
    return ProviderRequest(operation=operation, key=key, arguments=arguments)


def recorded(request: ProviderRequest, verdict: Verdict) -> Record:
    return Record(
        provider="p",
        operation=request.operation,
        key=request.key,
        subject="k",
        status=verdict.status,
        at=NOON,
        reference=verdict.reference,
        detail=verdict.detail,
        amount=verdict.amount,
    )


def settled(*requests: ProviderRequest, declined: bool = False) -> Sequence[Record]:
    known: list[Record] = []
    for request in requests:
        known.append(recorded(request, RULES[request.operation](request, known, declined)))
    return known


class TestCard:
    def test_a_charge_takes_the_amount(self) -> None:
        verdict = settlement.charge(asked("charge", amount="12.5"), (), False)
        assert (verdict.status, verdict.amount, verdict.detail) == ("succeeded", Decimal("12.50"), {"amount": "12.50"})
        assert verdict.reference is not None

    def test_a_declined_charge_moves_no_money_and_says_why(self) -> None:
        reasons = set()
        for number in range(20):
            verdict = settlement.charge(asked("charge", str(number), amount="12.50"), (), True)
            assert (verdict.status, verdict.amount, verdict.reference) == ("declined", None, None)
            reasons.add(verdict.detail["reason"])
        assert reasons == {"insufficient funds", "card declined"}

    def test_the_customer_for_demonstrations_is_always_declined(self) -> None:
        request = asked("charge", amount="12.50", customerId="customer-declined")
        assert settlement.charge(request, (), False).status == "declined"

    def test_a_refund_gives_back_what_was_charged_but_no_more(self) -> None:
        known = settled(
            asked("charge", "k", amount="12.50"),
            asked("refund", "r1", amount="10.00"),
            asked("refund", "r2", amount="2.51"),
            asked("refund", "r3", amount="2.50"),
            asked("refund", "r4", amount="0.01"),
        )
        assert [record.status for record in known] == ["succeeded", "succeeded", "declined", "succeeded", "declined"]

    def test_there_is_no_refund_without_a_charge(self) -> None:
        assert settlement.refund(asked("refund", amount="0.01"), (), False).status == "declined"
        declined = settled(asked("charge", amount="12.50"), declined=True)
        assert settlement.refund(asked("refund", "r", amount="12.50"), declined, False).status == "declined"

    def test_a_refund_is_not_refused_by_the_weather(self) -> None:
        known = settled(asked("charge", amount="12.50"))
        assert settlement.refund(asked("refund", "r", amount="12.50"), known, True).status == "succeeded"

    @pytest.mark.parametrize("amount", ["", "much", "-1.00", "1.005", "NaN", "1e99"])
    def test_an_amount_that_is_none_is_the_callers_bug(self, amount: str) -> None:
        with pytest.raises(RequestError, match="amount"):
            settlement.charge(asked("charge", amount=amount), (), False)
        with pytest.raises(RequestError, match="amount"):
            settlement.refund(asked("refund"), (), False)

    @given(
        charged=st.decimals(0, 1000, places=2),
        refunds=st.lists(st.decimals(0, 1000, places=2), max_size=6),
        declined=st.booleans(),
    )
    def test_refunds_never_exceed_the_charge(self, charged: Decimal, refunds: list[Decimal], declined: bool) -> None:
        known = list(settled(asked("charge", amount=str(charged)), declined=declined))
        for number, amount in enumerate(refunds):
            request = asked("refund", f"r{number}", amount=str(amount))
            known.append(recorded(request, settlement.refund(request, known, False)))
        captured = sum((record.amount or ZERO for record in known if record.operation == "charge"), ZERO)
        refunded = sum((record.amount or ZERO for record in known if record.operation == "refund"), ZERO)
        assert captured == (ZERO if declined else charged)
        assert refunded <= captured


class TestCarrier:
    def test_a_booking_ships_with_a_carrier_and_a_tracking_number(self) -> None:
        verdict = settlement.book(asked("book"), (), False)
        assert verdict.status == "shipped"
        assert verdict.detail["carrier"] in {name for name, _ in settlement.CARRIERS}
        assert verdict.detail["trackingNumber"] == verdict.reference

    def test_shipments_have_tracking_numbers_of_their_own(self) -> None:
        numbers = {settlement.book(asked("book", str(key)), (), False).reference for key in range(200)}
        assert len(numbers) == 200

    def test_a_refused_booking_says_so(self) -> None:
        verdict = settlement.book(asked("book"), (), True)
        assert verdict == Verdict(status="rejected", detail={"reason": "Simulated carrier rejection"})

    def test_the_customer_for_demonstrations_is_always_rejected(self) -> None:
        assert settlement.book(asked("book", customerId="carrier-rejects"), (), False).status == "rejected"

    @pytest.mark.parametrize(
        ("operations", "declined", "statuses"),
        [
            (["book", "cancel"], False, ["shipped", "shipped"]),
            (["cancel", "book"], False, ["cancelled", "rejected"]),
            (["book", "cancel"], True, ["rejected", "cancelled"]),
            (["cancel", "book"], True, ["cancelled", "rejected"]),
        ],
    )
    def test_goods_leave_or_are_cancelled_but_never_both(
        self, operations: list[str], declined: bool, statuses: list[str]
    ) -> None:
        known = settled(*(asked(operation) for operation in operations), declined=declined)
        assert [record.status for record in known] == statuses

    def test_a_cancellation_that_comes_too_late_tells_which_shipment_left(self) -> None:
        booked, cancelled = settled(asked("book"), asked("cancel"))
        assert cancelled.answer == booked.answer


class TestChannel:
    def test_a_message_is_delivered_and_of_the_address_a_hash_is_kept(self) -> None:
        verdict = settlement.deliver(asked("deliver", address="ada@example.org"), (), False)
        assert verdict.status == "delivered"
        assert "ada" not in str(verdict)
        assert len(verdict.detail["addressHash"]) == 64

    def test_one_address_has_another_hash_under_another_key(self) -> None:
        one = settlement.deliver(asked("deliver", "k1", address="ada@example.org"), (), False)
        other = settlement.deliver(asked("deliver", "k2", address="ada@example.org"), (), False)
        assert one.detail["addressHash"] != other.detail["addressHash"]

    def test_a_rejected_message_says_why(self) -> None:
        assert settlement.deliver(asked("deliver", address="x"), (), True).detail["reason"] == (
            "Simulated channel rejection"
        )
        nowhere = settlement.deliver(asked("deliver"), (), False)
        assert nowhere == Verdict(status="rejected", detail={"reason": "No address"})


@pytest.mark.parametrize("rule", [settlement.charge, settlement.book, settlement.deliver])
def test_the_same_request_gets_the_same_answer(rule: Rule) -> None:
    request = asked("operation", amount="1.00", address="x")
    assert rule(request, (), False) == rule(request, (), False)
