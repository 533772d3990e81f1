"""What the processes of a system run in which one message kills whoever decides it, as a bug in a C library would."""

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from orderflow.cli import main as shipped
from orderflow.contexts import payment
from orderflow.contexts.payment.decide import decide as as_shipped
from orderflow.contexts.payment.state import Payment
from orderflow.contracts.commands import OrderPaymentRequested
from orderflow.contracts.decision import Decision
from orderflow.contracts.envelope import Message

DEADLY: Final = "deadly"
"""The customer whose payment nobody survives."""


def decide(state: Payment | None, shared: Mapping[str, object], message: Message) -> Decision[Payment]:
    if isinstance(message, OrderPaymentRequested) and message.customer_id == DEADLY:
        os.kill(os.getpid(), signal.SIGKILL)
    return as_shipped(state, shared, message)


def main(arguments: Sequence[str]) -> None:
    """Be the shipped command line, with that payment."""
    payment.PAYMENT = replace(payment.PAYMENT, decide=decide)
    shipped(list(arguments))
