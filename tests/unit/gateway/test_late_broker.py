import asyncio
from collections.abc import Mapping, Sequence

import pytest

from orderflow.gateway import late_broker
from orderflow.gateway.late_broker import LateBroker
from orderflow.runtime.broker import OutboxRow, PublishFailed

ROW = OutboxRow(event_id="e", event_type="OrderCreated", topic="order-events", key="o", payload=b"", headers={})


class Kafka:
    """A broker that is there from some attempt on."""

    def __init__(self, there_at: int) -> None:
        self.there_at = there_at
        self.attempts = 0
        self.published: list[OutboxRow] = []
        self.stopped = 0
        self.there = asyncio.Event()

    async def start(self) -> None:
        self.attempts += 1
        if self.attempts < self.there_at:
            raise PublishFailed
        self.there.set()

    async def stop(self) -> None:
        self.stopped += 1

    async def publish(self, rows: Sequence[OutboxRow]) -> None:
        self.published += rows

    async def end_offsets(self, partitions: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        return dict.fromkeys(partitions, 7)


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late_broker, "RECONNECT_AFTER", 0.0)


async def test_until_the_broker_is_there_publishing_fails_and_the_outbox_keeps_the_rows() -> None:
    broker = LateBroker(Kafka(there_at=1))
    with pytest.raises(PublishFailed):
        await broker.publish([ROW])
    with pytest.raises(PublishFailed):
        await broker.end_offsets([("order-events", 0)])


async def test_it_connects_when_the_broker_comes_and_gives_up_what_failed_attempts_have_opened() -> None:
    kafka = Kafka(there_at=3)
    broker = LateBroker(kafka)
    await broker.start()
    await kafka.there.wait()
    await asyncio.sleep(0)
    await broker.publish([ROW])
    assert (kafka.attempts, kafka.stopped, kafka.published) == (3, 2, [ROW])
    assert await broker.end_offsets([("order-events", 0)]) == {("order-events", 0): 7}
    await broker.stop()
    assert kafka.stopped == 3


async def test_it_can_be_stopped_while_the_broker_is_away() -> None:
    broker = LateBroker(Kafka(there_at=10**9))
    await broker.start()
    await asyncio.sleep(0)
    await broker.stop()
