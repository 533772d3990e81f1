"""People who order, so that many orders are in flight while something is broken.

Each asks again under its key until it is answered, as a client of the API has to: so an order that was accepted and is
not in the database, or is there twice, is the system's doing.
"""

import itertools
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

from sqlalchemy.exc import SQLAlchemyError

from harness.books import Books
from harness.whole import PRODUCT

PATIENCE: Final = 180.0
"""Seconds in which an order must be taken, whatever is away meanwhile."""
AT_ONCE: Final = 6
ANSWERS: Final = frozenset({200, 409, 429, 503})
"""Taken; or to be asked for again."""


class Customers:
    """Keeps about ``enough`` orders in flight, from ``with`` to the end of its block."""

    def __init__(self, gateway: str, books: Books, enough: int) -> None:
        self._gateway = gateway
        self._books = books
        self.enough = enough
        """Where nothing moves nobody else comes, unless this is raised."""
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        self._thread = threading.Thread(target=self._order, name="customers")
        self.accepted: list[str] = []
        """The ids of all orders that were answered with 200."""
        self.refused = 0
        """How often somebody was told to come again, or not answered at all."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if kind is None:
            self.check()

    def check(self) -> None:
        """Raise what has kept somebody from ordering."""
        for failure in self._failures:
            raise failure

    def _order(self) -> None:
        with ThreadPoolExecutor(AT_ONCE) as people:
            while not self._stop.is_set() and not self._failures:
                missing = self.enough - self._in_flight()
                placings = [people.submit(self.place) for _ in range(max(0, min(10 * AT_ONCE, missing)))]
                self._failures += [error for placing in placings if (error := placing.exception()) is not None]
                self._stop.wait(0.1)

    def _in_flight(self) -> int:
        try:
            return self._books.in_flight()
        except SQLAlchemyError:
            # Away, and with it the place where orders go: some come all the same.
            return self.enough - AT_ONCE

    def place(self, customer: str = "") -> str:
        """Place an order and return its id."""
        number = next(self._numbers)
        body = {"customerId": customer or f"c-{number}", "items": [{"productId": PRODUCT, "quantity": 1}]}
        request = urllib.request.Request(
            f"{self._gateway}/api/orders",
            json.dumps(body).encode(),
            {"Content-Type": "application/json", "Idempotency-Key": f"order-{number}"},
        )
        order_id: str = _until(lambda: self._ask(request), f"order {number} is taken")
        self.accepted.append(order_id)
        return order_id

    def _ask(self, request: urllib.request.Request) -> str:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                order_id: str = json.load(answer)["orderId"]
                return order_id
        except urllib.error.HTTPError as error:
            error.close()
            if error.code not in ANSWERS:
                raise
        except OSError:
            # Not even a connection, or one that broke.
            pass
        self.refused += 1
        return ""


def _until(ask: Callable[[], str], what: str) -> str:
    deadline = time.monotonic() + PATIENCE
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}"
        time.sleep(0.2)
    return answer
