"""The simulated broker: a list of records per partition, and the line by which each process reaches it.

It keeps what Kafka keeps: what was appended stays, in its order. Everything around that is the adversary's: a
publication is refused, taken without a word, taken twice, taken much later than its sender has given up, or taken in
part; a message comes out mangled, and whole again only when somebody has sent it once more.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from orderflow.contracts.commands import (
    CancelShipment,
    OrderFulfillmentRequested,
    OrderInventoryRequested,
    OrderPaymentRequested,
    RefundPayment,
    ReleaseInventory,
)
from orderflow.runtime.broker import OutboxRow, PublishFailed, partition_of
from orderflow.runtime.incoming import Record
from orderflow.runtime.ledger import Partition
from orderflow.simulation.life import Life, never

CAN_BE_MANGLED = frozenset(
    kind.__name__
    for kind in (
        OrderPaymentRequested,
        RefundPayment,
        OrderInventoryRequested,
        ReleaseInventory,
        OrderFulfillmentRequested,
        CancelShipment,
    )
)
"""What nobody has to send again by hand for the order to end: requests, and the compensations that undo them."""


@dataclass(frozen=True, slots=True)
class Appended:
    """One record as it came in: when, in seconds of virtual time, and as what."""

    at: float
    record: Record
    event_id: str
    event_type: str
    mangled: bool = False


class Topics:
    """All partitions of all topics.

    Attributes:
        appended: everything, in the order in which it came in.
        on_the_way: how many publications will be appended later, though nobody waits for them any more.
        down: whether the broker answers nobody.
    """

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.appended: list[Appended] = []
        self.on_the_way = 0
        self.down = False
        self.places: dict[Partition, list[Appended]] = {}
        self._listeners: dict[Partition, list[Callable[[Partition], None]]] = {}

    def listen(self, partition: Partition, tell: Callable[[Partition], None]) -> None:
        """Have ``tell`` called whenever something is appended to ``partition``."""
        self._listeners.setdefault(partition, []).append(tell)

    def append(self, row: OutboxRow, *, mangled: bool = False) -> None:
        """Append one message."""
        place = (row.topic, partition_of(row.key, self.partitions))
        log = self.places.setdefault(place, [])
        payload = row.payload[::-1] if mangled else row.payload
        record = Record(row.topic, place[1], len(log), row.key, payload, row.headers)
        now = asyncio.get_running_loop().time()
        log.append(one := Appended(now, record, row.event_id, row.event_type, mangled))
        self.appended.append(one)
        for tell in self._listeners.get(place, ()):
            tell(place)

    def append_later(self, rows: Sequence[OutboxRow], seconds: float) -> None:
        """Append messages that have been under way for ``seconds`` then."""
        self.on_the_way += 1

        def arrive() -> None:
            self.on_the_way -= 1
            for row in rows:
                self.append(row)

        asyncio.get_running_loop().call_later(seconds, arrive)

    def end(self, place: Partition) -> int:
        """Return the offset that the next record of ``place`` will have."""
        return len(self.places.get(place, ()))

    def read(self, place: Partition, start: int, most: int) -> list[Record]:
        """Return up to ``most`` records from offset ``start`` on."""
        return [one.record for one in self.places.get(place, [])[start : start + most]]


class Line:
    """One process's line to the broker; see :class:`~orderflow.runtime.broker.Broker` and ``Offsets``.

    Attributes:
        cut: whether this process alone does not reach the broker.
    """

    def __init__(self, topics: Topics, life: Life, note: Callable[[str, str], None]) -> None:
        self._topics = topics
        self._life = life
        self._note = note
        self.cut = False

    async def publish(self, rows: Sequence[OutboxRow]) -> None:
        """Publish the rows in their order, and return when all of them are acknowledged.

        Raises:
            PublishFailed: at least one was not acknowledged.
        """
        life = self._life
        await life.gate()
        fault = "refused" if self._is_away else life.fault("publish")
        if fault == "crash-before":
            await self._die("dies before publishing", rows)
        await asyncio.sleep(life.span("to-broker", 0.0005, 0.004))
        await life.gate()
        self._take(rows, fault)
        if fault == "crash-after":
            await self._die("dies before it hears that it has published", rows)
        await asyncio.sleep(life.span("from-broker", 0.0005, 0.004))
        await life.gate()
        if fault in {"refused", "unacknowledged", "late", "partly"}:
            self._note(life.owner, f"does not hear that it has published {_named(rows)} ({fault})")
            raise PublishFailed(f"not acknowledged ({fault})")

    def _take(self, rows: Sequence[OutboxRow], fault: str) -> None:
        topics, life = self._topics, self._life
        match fault:
            case "refused":
                return
            case "late":
                topics.append_later(rows, life.measure("late", 0.1, 30.0))
                return
            case "partly":
                place = partition_of(rows[-1].key, topics.partitions), rows[-1].topic
                rows = [row for row in rows if (partition_of(row.key, topics.partitions), row.topic) == place]
            case "twice":
                topics.append_later(rows, life.measure("twice", 0.001, 30.0))
        for row in rows:
            mangled = row.event_type in CAN_BE_MANGLED and bool(life.fault("mangle"))
            topics.append(row, mangled=mangled)
            if mangled:
                self._note(life.owner, f"has {row.event_type} of {row.key} mangled on its way")
                topics.append_later([row], life.measure("mangled", 0.5, 120.0))
        self._note(life.owner, f"publishes {_named(rows)}{f' ({fault})' if fault else ''}")

    async def _die(self, what: str, rows: Sequence[OutboxRow]) -> None:
        self._note(self._life.owner, f"{what} {_named(rows)}")
        self._life.end()
        await never()

    @property
    def _is_away(self) -> bool:
        return self.cut or self._topics.down

    async def end_offsets(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Return, per partition, the offset that the next message will have."""
        await self._ask()
        return {place: self._topics.end(place) for place in partitions}

    async def first_offsets(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Return the offsets of the oldest messages: nothing expires here."""
        await self._ask()
        return dict.fromkeys(partitions, 0)

    async def _ask(self) -> None:
        await self._life.gate()
        await asyncio.sleep(self._life.span("to-broker", 0.0005, 0.004))
        if self._is_away or self._life.fault("ask"):
            raise PublishFailed("no answer")
        await self._life.gate()


def _named(rows: Sequence[OutboxRow]) -> str:
    return ", ".join(f"{row.event_type} of {row.key}" for row in rows)
