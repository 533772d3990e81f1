"""The embedded Kafka is a real one: it keeps what it has acknowledged, and says why when it cannot run."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import UnknownTopicOrPartitionError

from orderflow.local.archive import install
from orderflow.local.broker import EmbeddedBroker, RunningBroker
from orderflow.local.errors import LocalError
from orderflow.local.java import Java
from orderflow.local.ports import free_ports
from orderflow.local.topics import create_topics, topic_names
from orderflow.local.up import default_cache


@pytest.fixture(scope="module")
def java() -> Java:
    return install(default_cache(), print)


def embedded(java: Java, folder: Path) -> EmbeddedBroker:
    port, controller_port = free_ports(2)
    return EmbeddedBroker(java, folder / "kafka", port, controller_port, folder / "logs" / "kafka.log")


@pytest.fixture(scope="module")
def running(java: Java, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    with RunningBroker(embedded(java, tmp_path_factory.mktemp("broker"))) as broker:
        yield broker


@pytest.fixture
def address(running: RunningBroker) -> str:
    return running.broker.address


async def described(address: str, prefix: str) -> dict[str, int]:
    client = AIOKafkaAdminClient(bootstrap_servers=address)
    await client.start()
    try:
        topics = await client.describe_topics()
        return {one["topic"]: len(one["partitions"]) for one in topics if one["topic"].startswith(prefix)}
    finally:
        await client.close()


async def policy_of(address: str, topic: str) -> str:
    client = AIOKafkaAdminClient(bootstrap_servers=address)
    await client.start()
    try:
        [answer] = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        [resource] = answer.resources
        return next(str(value) for name, value, *_ in resource[4] if name == "cleanup.policy")
    finally:
        await client.close()


async def create(address: str, prefix: str, partitions: int = 3, compacted: tuple[str, ...] = ()) -> None:
    await create_topics(address, prefix=prefix, partitions=partitions, replication_factor=1, compacted=compacted)


async def test_every_topic_is_created_with_the_wanted_partitions(address: str) -> None:
    await create(address, "all.")
    assert await described(address, "all.") == dict.fromkeys(topic_names("all."), 3)


async def test_creating_topics_again_changes_nothing(address: str) -> None:
    await create(address, "again.")
    before = await described(address, "again.")
    await create(address, "again.", compacted=("payment-payment-state-changelog",))
    after = await described(address, "again.")
    assert before.items() < after.items()
    assert after.keys() - before.keys() == {"again.payment-payment-state-changelog"}


async def test_several_may_create_the_topics_at_once(address: str) -> None:
    await asyncio.gather(*(create(address, "race.") for _ in range(4)))
    assert await described(address, "race.") == dict.fromkeys(topic_names("race."), 3)


async def test_changelogs_keep_the_newest_of_each_key_and_other_topics_everything(address: str) -> None:
    await create(address, "policy.", compacted=("table-changelog",))
    assert await policy_of(address, "policy.table-changelog") == "compact"
    assert await policy_of(address, "policy.order-events") == "delete"


async def test_another_number_of_partitions_is_refused(address: str) -> None:
    await create(address, "counted.", partitions=2)
    with pytest.raises(LocalError, match=r"^the topic counted\.\S+ has 2 partitions and spec\.broker\.partitions is 4"):
        await create(address, "counted.", partitions=4)


async def test_more_replicas_than_brokers_are_refused_with_the_brokers_reason(address: str) -> None:
    with pytest.raises(LocalError, match=r"^the topic many\.\S+ cannot be created: .*replication factor"):
        await create_topics(address, prefix="many.", partitions=1, replication_factor=3)


async def test_a_topic_that_is_spelt_wrong_is_not_created_by_using_it(address: str) -> None:
    client = AIOKafkaAdminClient(bootstrap_servers=address)
    await client.start()
    [answer] = await client.describe_topics(["ordre-events"])
    await client.close()
    assert answer["error_code"] == UnknownTopicOrPartitionError.errno
    assert await described(address, "ordre") == {}


async def test_a_group_can_be_joined_and_read_as_soon_as_the_topics_are_there(address: str) -> None:
    await create(address, "group.")
    async with AIOKafkaProducer(bootstrap_servers=address, enable_idempotence=True) as producer:
        await producer.send_and_wait("group.order-events", b"first", key=b"o-1")
    consumer = AIOKafkaConsumer(
        "group.order-events", bootstrap_servers=address, group_id="group.order", auto_offset_reset="earliest"
    )
    async with consumer, asyncio.timeout(30):
        record = await consumer.getone()
    assert (record.key, record.value) == (b"o-1", b"first")


async def test_nobody_answering_is_said(java: Java, tmp_path: Path) -> None:
    broker = embedded(java, tmp_path)
    with pytest.raises(LocalError, match=rf"^no broker answers at {broker.address}$"):
        await create_topics(broker.address, prefix="", partitions=1, replication_factor=1, patience=0.5)


def test_what_was_acknowledged_survives_a_kill_and_a_stop(java: Java, tmp_path: Path) -> None:
    running = RunningBroker(embedded(java, tmp_path))
    with running:
        asyncio.run(create(running.broker.address, "", partitions=1))
        asyncio.run(write(running.broker.address, b"before the kill"))
        running.kill()
        running.start()
        asyncio.run(write(running.broker.address, b"before the stop"))
        running.stop()
        running.start()
        assert asyncio.run(read(running.broker.address)) == [b"before the kill", b"before the stop"]
        assert asyncio.run(described(running.broker.address, "order-events")).keys() == {
            "order-events",
            "order-events-dlq",
        }


async def write(address: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=address, acks="all") as producer:
        await producer.send_and_wait("order-events", value)


async def read(address: str) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=address)
    async with consumer:
        partition = TopicPartition("order-events", 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        end = (await consumer.end_offsets([partition]))[partition]
        found: list[bytes] = []
        async with asyncio.timeout(30):
            while len(found) < end:
                found.append((await consumer.getone()).value)
        return found


def test_a_port_in_use_ends_it_with_the_line_of_its_log_that_says_so(java: Java, tmp_path: Path) -> None:
    broker = embedded(java, tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", broker.controller_port))
        taken.listen()
        with pytest.raises(LocalError, match=r"^the embedded Kafka has ended: .*Address already in use"):
            RunningBroker(broker).start()


def test_a_folder_that_cannot_be_written_is_named(java: Java, tmp_path: Path) -> None:
    (tmp_path / "kafka").touch()
    broker = embedded(java, tmp_path)
    with pytest.raises(LocalError, match=rf"^the embedded Kafka cannot use {tmp_path}/kafka: "):
        broker.prepare()


def test_a_second_start_takes_jars_and_archive_from_the_cache(java: Java) -> None:
    said: list[str] = []
    assert install(default_cache(), said.append) == java
    assert said == []
    assert java.archive is not None
