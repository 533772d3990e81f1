"""What all orders together come to."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from orderflow.contracts.money import ZERO
from orderflow.runtime.inbox import PARKED
from orderflow.saga.table import Phase
from orderflow.verification.case import Case
from orderflow.verification.counting import Recount
from orderflow.verification.goods import Held
from orderflow.verification.report import SHOWN, OpenLetter, Totals

FATES: Final = {Phase.COMPLETED: "completed", Phase.CANCELLED: "cancelled"}


@dataclass(slots=True)
class Tally:
    """Adds up the cases, young and old: within one snapshot sums hold at every moment."""

    orders: int = 0
    left_alone: int = 0
    fates: dict[str, int] = field(default_factory=lambda: {"completed": 0, "cancelled": 0, "live": 0})
    captured: Decimal = ZERO
    refunded: Decimal = ZERO
    held: Held = field(default_factory=Held)
    recount: Recount = field(default_factory=Recount)
    dead_letters: int = 0
    letters: list[OpenLetter] = field(default_factory=list)

    def add(self, case: Case) -> None:
        """Take one case in."""
        self.held.add(case)
        self.recount.add(case)
        self.orders += case.is_there
        if case.order is not None:
            self.fates[FATES.get(case.order.saga.phase, "live")] += 1
        if case.payment is not None:
            self.captured += case.payment.captured
            self.refunded += case.payment.refunded
        for letter in case.letters:
            if letter.cause == PARKED:
                continue
            self.dead_letters += 1
            if len(self.letters) < SHOWN:
                self.letters.append(
                    OpenLetter(
                        order_id=case.key, context=letter.context, event_type=letter.event_type, cause=letter.cause
                    )
                )

    @property
    def totals(self) -> Totals:
        """The sums."""
        return Totals(**self.fates, captured=self.captured, kept=self.captured - self.refunded, refunded=self.refunded)
