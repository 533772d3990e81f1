"""What the orchestration does where the order of things matters."""

from orderflow.contracts.identity import derive
from orderflow.saga.flow import FlowBook
from orderflow.saga.moves import Ask, Move, Signal
from orderflow.saga.orchestration import begin, react
from orderflow.saga.protocol import StepName
from orderflow.saga.state import Progress, Saga, compensation_id, request_id
from orderflow.saga.table import Action, Kind, Phase, Status

ORDER = "order-1"
BOOK = FlowBook()


def start(flow: str = "order-to-delivery") -> Saga:
    return begin(ORDER, BOOK.choose(flow, "default")).saga


def succeeded(step: StepName, reference: str = "ref", *, confirmed: bool = True) -> Signal:
    kind = Kind.SHIPPED if step == "fulfillment" else Kind.SUCCEEDED
    return Signal(kind=kind, step=step, reference=reference, confirmed=confirmed)


def undone(step: StepName, reference: str | None = None, *, effective: bool = True) -> Signal:
    return Signal(kind=Kind.COMPENSATED, step=step, reference=reference, effective=effective)


def after(saga: Saga, *signals: Signal) -> Move:
    for signal in signals[:-1]:
        saga = react(saga, signal).saga
    return react(saga, signals[-1])


def asks(move: Move) -> list[tuple[str, bool, int]]:
    return [(ask.step, ask.compensating, ask.attempt) for ask in move.asks]


def step_of(saga: Saga, step: str) -> Progress:
    progress = saga.progress(step)
    assert progress is not None
    return progress


CANCEL = Signal(kind=Kind.CANCEL_BEFORE_SHIPPING, step="fulfillment", reason="changed my mind")


def test_an_asks_ids_follow_from_order_step_direction_and_attempt() -> None:
    ask = Ask(step="payment", request_id=request_id(ORDER, "payment"), attempt=2, deadline=20)
    assert ask.event_id == derive(request_id(ORDER, "payment"), "2")
    back = Ask(step="payment", request_id=compensation_id(ORDER, "payment"), attempt=2, deadline=20, compensating=True)
    assert len({ask.event_id, ask.task_id, back.event_id, back.task_id}) == 4


def test_each_ask_of_a_step_has_the_same_request_and_twice_the_deadline() -> None:
    first = begin(ORDER, BOOK.choose(None, "default")).asks[0]
    second = react(start(), Signal(kind=Kind.OVERDUE, step="payment")).asks[0]
    assert (first.request_id, first.attempt, first.deadline) == (request_id(ORDER, "payment"), 1, 10)
    assert (second.request_id, second.attempt, second.deadline) == (first.request_id, 2, 20)
    assert second.event_id != first.event_id


def test_compensations_run_in_reverse_one_at_a_time_each_waiting_for_its_answer() -> None:
    paid_and_reserved = after(start(), succeeded("payment"), succeeded("inventory")).saga
    failed = react(paid_and_reserved, Signal(kind=Kind.FAILED, step="fulfillment", reason="fulfillment failed"))
    assert asks(failed) == [("inventory", True, 1)]
    assert failed.saga.status == "COMPENSATING"
    released = react(failed.saga, undone("inventory"))
    assert asks(released) == [("payment", True, 1)]
    assert released.ending == ""
    refunded = react(released.saga, undone("payment"))
    assert refunded.asks == ()
    assert refunded.ending == "cancelled"
    assert refunded.saga.reason == "fulfillment failed"


def test_a_step_whose_outcome_is_unknown_is_compensated_like_one_that_finished() -> None:
    move = after(start(), succeeded("payment"), Signal(kind=Kind.EXHAUSTED, step="inventory", reason="silence"))
    assert asks(move) == [("inventory", True, 1)]
    assert asks(react(move.saga, undone("inventory", effective=False))) == [("payment", True, 1)]


def test_a_compensation_is_asked_for_without_limit() -> None:
    saga = after(start(), CANCEL).saga
    for attempt in range(2, 50):
        move = react(saga, Signal(kind=Kind.COMPENSATION_OVERDUE, step="payment"))
        assert asks(move) == [("payment", True, attempt)]
        assert move.asks[0].request_id == compensation_id(ORDER, "payment")
        assert move.asks[0].deadline <= 60
        saga = move.saga


def test_the_answer_ends_the_deadline_that_is_running_now() -> None:
    asked_twice = react(start(), Signal(kind=Kind.OVERDUE, step="payment"))
    move = react(asked_twice.saga, succeeded("payment"))
    assert move.ended == (asked_twice.asks[0].task_id,)
    back = after(start(), CANCEL, Signal(kind=Kind.COMPENSATION_OVERDUE, step="payment"))
    assert react(back.saga, undone("payment")).ended == (back.asks[0].task_id,)


def test_cancelling_ends_the_deadline_of_the_step_under_way() -> None:
    paid = react(start(), succeeded("payment"))
    assert react(paid.saga, CANCEL).ended == (paid.asks[0].task_id,)


def test_a_cancelled_shipment_that_had_left_brings_the_order_forward_again() -> None:
    shipping = after(start(), succeeded("payment"), succeeded("inventory")).saga
    calling_off = react(shipping, Signal(kind=Kind.EXHAUSTED, step="fulfillment", reason="silence"))
    assert asks(calling_off) == [("fulfillment", True, 1)]
    move = react(calling_off.saga, succeeded("fulfillment"))
    assert move.ending == "completed"
    assert move.ended == (calling_off.asks[0].task_id,)
    assert [(line.before, line.after) for line in move.transitions] == [
        ("COMPENSATING", "SHIPPED"),
        ("SHIPPED", "COMPLETED"),
    ]
    assert move.saga.reason == ""
    assert all(progress.status is Status.DONE for progress in move.saga.steps)


def test_a_payment_that_succeeds_after_its_order_was_cancelled_is_refunded_once() -> None:
    cancelled = after(start(), CANCEL, undone("payment", "p", effective=False)).saga
    assert cancelled.phase is Phase.CANCELLED
    late = react(cancelled, succeeded("payment", "p"))
    assert late.action is Action.UNDO_LATE
    assert asks(late) == [("payment", True, 2)]
    assert late.asks[0].reference == "p"
    assert late.asks[0].request_id == compensation_id(ORDER, "payment", "p")
    assert late.saga.phase is Phase.CANCELLED
    assert late.saga.is_live
    assert late.ending == ""
    settled = react(late.saga, undone("payment", "p"))
    assert not settled.saga.is_live
    again = Signal(kind=Kind.SUCCEEDED_AGAIN, step="payment", reference="p")
    assert react(settled.saga, again).outcome == "repeated"


def test_a_payment_that_was_refunded_is_not_refunded_again_when_its_success_arrives_late() -> None:
    cancelled = after(start(), CANCEL, undone("payment", "p")).saga
    assert step_of(cancelled, "payment").knows("p")


def test_two_late_payments_are_refunded_one_after_the_other_each_under_an_id_of_its_own() -> None:
    cancelled = after(start(), CANCEL, undone("payment", effective=False)).saga
    first = react(cancelled, succeeded("payment", "p"))
    assert after(first.saga, succeeded("payment", "q")).asks == ()
    second = after(first.saga, succeeded("payment", "q"), undone("payment", "p"))
    assert second.asks[0].request_id == compensation_id(ORDER, "payment", "q")
    assert second.asks[0].request_id != first.asks[0].request_id
    assert react(second.saga, undone("payment", "q")).saga.is_live is False


def test_a_success_that_crosses_its_compensation_needs_no_second_one() -> None:
    crossed = after(start(), CANCEL, succeeded("payment", "p"), undone("payment", "p"))
    assert crossed.ending == "cancelled"
    assert crossed.asks == ()


def test_a_compensation_that_found_nothing_is_asked_again_for_what_has_succeeded_since() -> None:
    move = after(start(), CANCEL, succeeded("payment", "p"), undone("payment", effective=False))
    assert move.ending == ""
    assert move.asks[0].reference == "p"
    assert react(move.saga, undone("payment", effective=False)).ending == "cancelled"


def test_what_no_reply_of_ours_has_named_is_not_named_in_a_compensation() -> None:
    move = after(start(), succeeded("payment", "p", confirmed=False), CANCEL, undone("inventory"))
    assert asks(move) == [("payment", True, 1)]
    assert move.asks[0].reference is None


def test_a_step_that_was_undone_unasked_sends_the_order_back() -> None:
    paid = after(start(), succeeded("payment", "p")).saga
    move = react(paid, undone("payment", "p"))
    assert asks(move) == [("inventory", True, 1)]
    assert move.saga.phase is Phase.COMPENSATING


def test_what_succeeds_before_it_is_asked_is_undone_with_the_rest() -> None:
    move = after(start("reserve-first"), succeeded("payment", "p"), Signal(kind=Kind.FAILED, step="inventory"))
    assert asks(move) == [("payment", True, 1)]
    assert react(move.saga, undone("payment", "p")).ending == "cancelled"


def test_a_shipment_reported_from_outside_calls_ours_off_until_it_is_answered() -> None:
    reported = react(start("ship-only"), Signal(kind=Kind.REPORT_SHIPPED, step="fulfillment"))
    assert reported.ending == "completed"
    assert asks(reported) == [("fulfillment", True, 1)]
    assert reported.saga.is_live
    called_off = react(reported.saga, undone("fulfillment"))
    assert not called_off.saga.is_live
    assert called_off.saga.phase is Phase.COMPLETED
    left = react(reported.saga, succeeded("fulfillment"))
    assert left.action is Action.CONCEDE
    assert not left.saga.is_live
    assert left.ended == (reported.asks[0].task_id,)


def test_an_order_that_only_ships_ends_failed_all_others_cancelled() -> None:
    failed = react(start("ship-only"), Signal(kind=Kind.FAILED, step="fulfillment", reason="no"))
    assert (failed.saga.status, failed.saga.word, failed.ending) == ("FAILED", "Failed", "cancelled")
    declined = react(start(), Signal(kind=Kind.FAILED, step="payment", reason="no"))
    assert (declined.saga.status, declined.saga.word, declined.ending) == ("CANCELLED", "Cancelled", "cancelled")


def test_a_reason_is_kept_no_longer_than_a_sentence_or_ten() -> None:
    move = react(start(), Signal(kind=Kind.FAILED, step="payment", reason="x" * 10_000))
    assert len(move.saga.reason) == 1_000
    assert len(move.transitions[0].detail) == 1_000


def test_a_status_without_a_word_leaves_the_last_one_showing() -> None:
    paid = after(start("payment-first"), succeeded("payment")).saga
    assert paid.word == "Paid"
    back = react(paid, Signal(kind=Kind.EXHAUSTED, step="inventory", reason="silence")).saga
    assert (back.status, back.word) == ("COMPENSATING", "Paid")
