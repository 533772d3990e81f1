"""What the databases of a running system say, read beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from orderflow.runtime.database import open_database, reading
from orderflow.runtime.ledger import Partition
from orderflow.spec.resource import CONTEXTS

REQUESTS: Final = ("OrderPaymentRequested", "OrderInventoryRequested", "OrderFulfillmentRequested")
COMPENSATIONS: Final = ("RefundPayment", "ReleaseInventory", "CancelShipment")
CALLERS: Final = {"payment": "card", "fulfillment": "carrier", "notification": "channels"}
"""The contexts that call the outside, and whom."""
_ENDS: Final = "('completed', 'cancelled')"
ORDERS_WAIT_FOR: Final = ("payment", "fulfillment")
"""Whose calls an order waits for: nobody waits for a notification."""


@dataclass(frozen=True)
class Place:
    """How far a partition has been recorded, and by whom."""

    offset: int
    owner: str | None


class Books:
    """The databases of all contexts, by the URL of each."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        self._engines: dict[str, Engine] = {context: open_database(urls[context]) for context in CONTEXTS}

    def close(self) -> None:
        """Let go of the databases."""
        for engine in self._engines.values():
            engine.dispose()

    def rows(self, context: str, query: str, **values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query on the context's database.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: it is away.
        """
        try:
            return self._rows(context, query, values)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            # It was away; the next connection is a new one.
            return self._rows(context, query, values)

    def _rows(self, context: str, query: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        with reading(self._engines[context]) as connection:
            return [tuple(row) for row in connection.execute(text(query), values)]

    def write(self, context: str, statement: str, **values: Any) -> int:
        """Execute a statement and return the number of rows that it has changed."""
        with self._engines[context].begin() as connection:
            return connection.execute(text(statement), values).rowcount

    # Orders

    def in_flight(self) -> int:
        """Return how many orders have not come to their end."""
        return self._number("order", f"FROM orders WHERE phase NOT IN {_ENDS}")

    def ended(self) -> int:
        """Return how many orders have."""
        return self._number("order", f"FROM orders WHERE phase IN {_ENDS}")

    def orders(self) -> dict[str, str]:
        """Return the phase of every order."""
        return dict(self.rows("order", "SELECT order_id, phase FROM orders"))

    def unwell(self) -> set[str]:
        """Return the orders for which a provider has failed or stayed silent at least once."""
        query = "SELECT DISTINCT key FROM tasks WHERE kind = 'call' AND attempts > 0"
        return {key for context in ORDERS_WAIT_FOR for (key,) in self.rows(context, query)}

    # What it cost

    def retried_calls(self) -> dict[str, int]:
        """Return how many calls had to be made again, by whom they went to."""
        query = "SELECT coalesce(sum(attempts), 0) FROM tasks WHERE kind = 'call'"
        return {outside: int(self.rows(context, query)[0][0]) for context, outside in CALLERS.items()}

    def asked_again(self) -> dict[str, int]:
        """Return how many requests the orders have repeated, by request."""
        return {name: sent - once for name, (sent, once) in self._sent(REQUESTS).items()}

    def compensated(self) -> dict[str, int]:
        """Return how many orders have undone a step, by the command that undoes it."""
        return {name: once for name, (_, once) in self._sent(COMPENSATIONS).items()}

    def _sent(self, types: tuple[str, ...]) -> dict[str, tuple[int, int]]:
        query = "SELECT event_type, count(*), count(DISTINCT key) FROM outbox GROUP BY event_type"
        found = {name: (int(sent), int(once)) for name, sent, once in self.rows("order", query)}
        return {name: found.get(name, (0, 0)) for name in types}

    # The ledger

    def ledger(self, context: str) -> dict[Partition, Place]:
        """Return how far the context's partitions have been recorded."""
        query = 'SELECT topic, partition, "offset", owner FROM consumed_offsets WHERE "group" = :reader'
        return {
            (topic, number): Place(offset, owner)
            for topic, number, offset, owner in self.rows(context, query, reader=context)
        }

    def _number(self, context: str, what: str) -> int:
        [(number,)] = self.rows(context, f"SELECT count(*) {what}")
        return int(number)


def busiest(ledger: Mapping[Partition, Place]) -> dict[Partition, Place]:
    """Return the partitions of the topic that most has been recorded of."""
    read: dict[str, int] = {}
    for (topic, _), place in ledger.items():
        read[topic] = read.get(topic, 0) + place.offset
    most = max(read, key=lambda topic: read[topic])
    return {partition: place for partition, place in ledger.items() if partition[0] == most}
