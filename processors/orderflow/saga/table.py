"""What each message means in each standing of an order: the whole saga on one page.

A *standing* is the order's phase and the status of the step that the message is about; a *kind* is what the message
says about that step. The table is total: every kind has an action for every standing, the ones that cannot come about
included (``-``), and nothing but the table decides. ``docs/saga-table.md`` is rendered from it.

The interleavings that are easy to get wrong:

- A shipment whose cancellation is under way may still turn out shipped: then the order goes forward again. So a
  reservation that expires meanwhile is *kept*; its own turn to be undone comes only when the shipment is cancelled.
- A success that arrives when the order goes back is never forgotten: what it names is undone, once, whether or not the
  answer to an earlier compensation said that there was nothing.
- The failure of a step whose compensation is under way changes nothing: the compensation's own answer is waited for,
  because it alone means that no later request will be carried out either.
- A step that somebody has undone behind the order's back (compensated without being asked) sends the order back.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple


class Phase(StrEnum):
    """Where the order as a whole is."""

    NONE = "none"
    FORWARD = "forward"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class Status(StrEnum):
    """Where one step of the order is; ``absent`` if its plan has no such step.

    ``asked`` means that its outcome is unknown, ``undoing`` that its compensation has not been answered.
    """

    ABSENT = "absent"
    WAITING = "waiting"
    ASKED = "asked"
    DONE = "done"
    FAILED = "failed"
    UNDOING = "undoing"
    UNDONE = "undone"


class Kind(StrEnum):
    """What a message says, as seen by the order it is for."""

    SUCCEEDED = "succeeded"
    SUCCEEDED_AGAIN = "succeeded again"
    SHIPPED = "shipped"
    FAILED = "failed"
    COMPENSATED = "compensated"
    COMPENSATED_BEFORE = "compensated before"
    OVERDUE = "overdue"
    EXHAUSTED = "exhausted"
    COMPENSATION_OVERDUE = "compensation overdue"
    PAST_DEADLINE = "past deadline"
    EXPIRING = "reservation expiring"
    CREATE = "create"
    CREATE_OTHER = "create another"
    CANCEL = "cancel"
    CANCEL_BEFORE_SHIPPING = "cancel before shipping"
    REPORT_PROCESSING = "report processing"
    REPORT_SHIPPED = "report shipped"
    REPORT_FAILED = "report failed"
    OTHER_WORD = "set another status"


class Action(StrEnum):
    """What is done about it."""

    IMPOSSIBLE = "-"
    IGNORE = "ignore"
    LATE = "late"
    REPEAT = "repeat"
    REFUSE = "refuse"
    RECORD = "record"
    ACCEPT = "accept"
    ADVANCE = "advance"
    FAIL = "fail"
    ASK_AGAIN = "ask-again"
    GIVE_UP = "give-up"
    TURN_BACK = "turn-back"
    CANCEL = "cancel"
    SETTLE = "settle"
    ASK_AGAIN_TO_UNDO = "ask-again-to-undo"
    GO_FORWARD_AGAIN = "go-forward-again"
    REMEMBER = "remember"
    OWE = "owe"
    UNDO_LATE = "undo-late"
    CONCEDE = "concede"
    KEEP_RESERVATION = "keep"
    RELEASE_RESERVATION = "release"
    SHOW_PROCESSING = "show-processing"
    SHIP_BY_REPORT = "ship-by-report"


class Standing(NamedTuple):
    """The rows of the table."""

    phase: Phase
    status: Status


NOBODY = Standing(Phase.NONE, Status.ABSENT)
"""There is no such order."""

STANDINGS: tuple[Standing, ...] = (
    NOBODY,
    *(Standing(phase, status) for phase in Phase if phase is not Phase.NONE for status in Status),
)

KINDS: Mapping[Kind, str] = {
    Kind.SUCCEEDED: "PaymentSucceeded or InventoryReserved, naming what the order has not heard of before",
    Kind.SUCCEEDED_AGAIN: "PaymentSucceeded or InventoryReserved, naming what the order knows",
    Kind.SHIPPED: "OrderShipped",
    Kind.FAILED: "PaymentFailed, InventoryFailed or OrderShipmentFailed",
    Kind.COMPENSATED: "PaymentRefunded, InventoryReleased or ShipmentCancelled",
    Kind.COMPENSATED_BEFORE: "the same, in answer to an earlier compensation than the one under way",
    Kind.OVERDUE: "StepDeadline of the ask under way, with asks left",
    Kind.EXHAUSTED: "StepDeadline of the ask under way, which was the last",
    Kind.COMPENSATION_OVERDUE: "StepDeadline of the compensation under way",
    Kind.PAST_DEADLINE: "StepDeadline of a past step or attempt",
    Kind.EXPIRING: "ReservationExpiring",
    Kind.CREATE: "CreateOrder; for an order that is there: the same again",
    Kind.CREATE_OTHER: "CreateOrder under the id of an order with another content",
    Kind.CANCEL: "ChangeOrderStatus to the word for cancelled, in a flow that ships nothing (status: of the last step)",
    Kind.CANCEL_BEFORE_SHIPPING: "the same in a flow whose last step ships",
    Kind.REPORT_PROCESSING: "ChangeOrderStatus to Processing, in a flow that only ships",
    Kind.REPORT_SHIPPED: "ChangeOrderStatus to Shipped, in a flow that only ships",
    Kind.REPORT_FAILED: "ChangeOrderStatus to Failed, in a flow that only ships",
    Kind.OTHER_WORD: "ChangeOrderStatus to a word of the flow that nobody may set",
}
"""What stands behind each kind."""

ACTIONS: Mapping[Action, str] = {
    Action.IMPOSSIBLE: "cannot come about; decides nothing",
    Action.IGNORE: "means nothing to this order",
    Action.LATE: "too late to change anything",
    Action.REPEAT: "known already: changes nothing and asks for nothing",
    Action.REFUSE: "refused: a 409 where a client waits, else a dead letter",
    Action.RECORD: "contradicts what is known and cannot be undone: a line in the audit trail",
    Action.ACCEPT: "the order begins and asks its first step",
    Action.ADVANCE: "the step is done; ask the next, or complete",
    Action.FAIL: "the step has failed; undo the others in reverse, or cancel at once",
    Action.ASK_AGAIN: "ask again, with twice the deadline",
    Action.GIVE_UP: "the step's outcome stays unknown; undo it and the others in reverse",
    Action.TURN_BACK: "the step was undone unasked; undo what is left in reverse",
    Action.CANCEL: "undo in reverse what is done or unknown, then cancel",
    Action.SETTLE: "the step is undone; undo the next in reverse, or cancel",
    Action.ASK_AGAIN_TO_UNDO: "ask for the compensation again, without limit",
    Action.GO_FORWARD_AGAIN: "the goods had left: the step is done after all and the order completes",
    Action.REMEMBER: "note what succeeded unasked, to be undone if the order goes back; ask for it in its turn",
    Action.OWE: "note what succeeded; it is undone in its turn",
    Action.UNDO_LATE: "undo it now, though the order is closed; asked for without limit",
    Action.CONCEDE: "a second parcel has left: stop asking for it back, a line in the audit trail",
    Action.KEEP_RESERVATION: "ConfirmReservation: the order needs it, or may yet",
    Action.RELEASE_RESERVATION: "ReleaseInventory, under the compensation's own request id",
    Action.SHOW_PROCESSING: "the status shows Processing; the saga goes on",
    Action.SHIP_BY_REPORT: "the order completes; its own shipment is called off, so that no second parcel leaves",
}
"""What each action does."""

# Columns: absent waiting asked done failed undoing undone. The first line is for an order that is not there.
_GRIDS: Mapping[Kind, str] = {
    Kind.SUCCEEDED: """
        ignore
        ignore  remember  advance  record  -     -    -
        ignore  owe       owe      owe     owe   owe  owe
        ignore  -         -        record  -     -    -
        ignore  undo-late -        -  undo-late  owe  undo-late
    """,
    Kind.SUCCEEDED_AGAIN: """
        ignore
        ignore  repeat  advance  repeat  -       -       -
        ignore  repeat  repeat   repeat  repeat  repeat  repeat
        ignore  -       -        repeat  -       -       -
        ignore  repeat  -        -       repeat  repeat  repeat
    """,
    Kind.SHIPPED: """
        ignore
        ignore  record  advance  -       -       -                 -
        ignore  record  -        -       record  go-forward-again  record
        ignore  -       -        repeat  -       concede           record
        ignore  record  -        -       record  -                 record
    """,
    Kind.FAILED: """
        ignore
        ignore  ignore  fail  late  -       -     -
        ignore  ignore  late  late  repeat  late  late
        ignore  -       -     late  -       late  late
        ignore  ignore  -     -     repeat  late  late
    """,
    Kind.COMPENSATED: """
        ignore
        ignore  ignore  turn-back  turn-back  -     -       -
        ignore  ignore  ignore     ignore     late  settle  repeat
        ignore  -       -          record     -     settle  repeat
        ignore  ignore  -          -          late  settle  repeat
    """,
    Kind.COMPENSATED_BEFORE: """
        -
        - - - - - -    -
        - - - - - late -
        - - - - - late -
        - - - - - late -
    """,
    Kind.OVERDUE: """
        -
        - - ask-again - - - -
        - - - - - - -
        - - - - - - -
        - - - - - - -
    """,
    Kind.EXHAUSTED: """
        -
        - - give-up - - - -
        - - - - - - -
        - - - - - - -
        - - - - - - -
    """,
    Kind.COMPENSATION_OVERDUE: """
        -
        - - - - - -                 -
        - - - - - ask-again-to-undo -
        - - - - - ask-again-to-undo -
        - - - - - ask-again-to-undo -
    """,
    Kind.PAST_DEADLINE: """
        ignore
        late late late late late late late
        late late late late late late late
        late late late late late late late
        late late late late late late late
    """,
    Kind.EXPIRING: """
        release
        release keep    keep keep -       -       -
        release release keep keep release release release
        release -       -    keep -       -       -
        release release -    -    release release release
    """,
    Kind.CREATE: """
        accept
        - repeat repeat repeat repeat repeat repeat
        - repeat repeat repeat repeat repeat repeat
        - repeat repeat repeat repeat repeat repeat
        - repeat repeat repeat repeat repeat repeat
    """,
    Kind.CREATE_OTHER: """
        -
        - refuse refuse refuse refuse refuse refuse
        - refuse refuse refuse refuse refuse refuse
        - refuse refuse refuse refuse refuse refuse
        - refuse refuse refuse refuse refuse refuse
    """,
    Kind.CANCEL: """
        refuse
        - cancel cancel -      -      -      -
        - repeat repeat repeat repeat repeat repeat
        - -      -      refuse -      -      -
        - repeat -      -      repeat repeat repeat
    """,
    Kind.CANCEL_BEFORE_SHIPPING: """
        refuse
        - cancel refuse -      -      -      -
        - repeat refuse refuse repeat refuse repeat
        - -      -      refuse -      -      -
        - repeat -      -      repeat -      repeat
    """,
    Kind.REPORT_PROCESSING: """
        refuse
        - - show-processing - -      -      -
        - - -               - -      repeat -
        - - -          refuse -      refuse refuse
        - - -               - refuse -      refuse
    """,
    Kind.REPORT_SHIPPED: """
        refuse
        - - ship-by-report  - -      -      -
        - - -               - -      refuse -
        - - -          repeat -      repeat repeat
        - - -               - refuse -      refuse
    """,
    Kind.REPORT_FAILED: """
        refuse
        - - cancel          - -      -      -
        - - -               - -      repeat -
        - - -          refuse -      refuse refuse
        - - -               - repeat -      repeat
    """,
    Kind.OTHER_WORD: """
        refuse
        - refuse refuse refuse refuse refuse refuse
        - refuse refuse refuse refuse refuse refuse
        - refuse refuse refuse refuse refuse refuse
        - refuse refuse refuse refuse refuse refuse
    """,
}


def _read(grids: Mapping[Kind, str]) -> dict[tuple[Standing, Kind], Action]:
    table: dict[tuple[Standing, Kind], Action] = {}
    for kind, grid in grids.items():
        table |= {(standing, kind): Action(name) for standing, name in zip(STANDINGS, grid.split(), strict=True)}
    return table


TABLE: Mapping[tuple[Standing, Kind], Action] = _read(_GRIDS)
"""The action for every kind in every standing."""
