"""The topics of a system: created before any processor joins, because a missing one would leave it without partitions.

All have the same number of partitions, for ever: with another number an order's messages would move between partitions,
and its later ones overtake its earlier. So a topic that exists with another number is an error, never a change.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from orderflow.contracts.topics import TOPICS, dead_letter_topic
from orderflow.local.errors import LocalError

PATIENCE: Final = 60.0
"""Seconds to wait for a broker to answer, and then for the topics' leaders."""
_PAUSE: Final = 0.1


def topic_names(prefix: str) -> tuple[str, ...]:
    """Return the name of every topic that messages or dead letters go to."""
    return tuple(f"{prefix}{name}" for topic in TOPICS for name in (topic, dead_letter_topic(topic)))


async def create_topics(
    address: str,
    *,
    prefix: str,
    partitions: int,
    replication_factor: int,
    compacted: Sequence[str] = (),
    patience: float = PATIENCE,
) -> None:
    """Wait for the broker and create every topic that is not there yet; return when all can be written and read.

    Args:
        address: ``host:port`` of one or more brokers, with commas between.
        compacted: topics besides that keep the newest record of each key (tables' changelogs); without the prefix.

    Raises:
        LocalError: no broker answers, it refuses, or a topic has another number of partitions.
    """
    configurations: dict[str, dict[str, str]] = {name: {} for name in topic_names(prefix)}
    configurations |= {f"{prefix}{name}": {"cleanup.policy": "compact"} for name in compacted}
    deadline = time.monotonic() + patience
    client = await _connected(address, deadline)
    try:
        missing = configurations.keys() - await _partitions(client, configurations)
        await _create(client, {name: configurations[name] for name in missing}, partitions, replication_factor)
        await _led(client, configurations, deadline)
        refuse_other_counts(await _partitions(client, configurations), partitions)
        await _coordinated(client, deadline)
    except KafkaError as error:
        raise LocalError(f"the broker at {address} does not create the topics: {_reason(error)}") from error
    finally:
        await client.close()


def refuse_other_counts(found: Mapping[str, int], partitions: int) -> None:
    """Make sure that each topic has ``partitions`` partitions.

    Raises:
        LocalError: one has another number.
    """
    for name, number in sorted(found.items()):
        if number != partitions:
            reason = f"the topic {name} has {number} partitions and spec.broker.partitions is {partitions}"
            raise LocalError(f"{reason}: it cannot be changed once there are topics")


async def _connected(address: str, deadline: float) -> AIOKafkaAdminClient:
    while True:
        client = AIOKafkaAdminClient(bootstrap_servers=address.split(","), client_id="orderflow-topics")
        try:
            await client.start()
        except (KafkaError, OSError) as error:
            await client.close()
            if time.monotonic() > deadline:
                raise LocalError(f"no broker answers at {address}") from error
            await asyncio.sleep(_PAUSE)
        else:
            return client


async def _create(
    client: AIOKafkaAdminClient, missing: Mapping[str, Mapping[str, str]], partitions: int, replication_factor: int
) -> None:
    if not missing:
        return
    wanted = [
        NewTopic(name, partitions, replication_factor, topic_configs=dict(configuration))
        for name, configuration in sorted(missing.items())
    ]
    answer = await client.create_topics(wanted)
    for name, code, *message in answer.topic_errors:
        error = for_code(code)
        # Somebody else may have created it meanwhile.
        if code and error is not TopicAlreadyExistsError:
            raise LocalError(f"the topic {name} cannot be created: {message[0] if message else error.__name__}")


async def _partitions(client: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, int]:
    topics = await _described(client, names)
    return {topic["topic"]: len(topic["partitions"]) for topic in topics if not topic["error_code"]}


async def _led(client: AIOKafkaAdminClient, names: Iterable[str], deadline: float) -> None:
    """Wait until every partition has a leader: until then what is written to it is refused."""
    while True:
        topics = await _described(client, names)
        unled = [topic["topic"] for topic in topics if topic["error_code"] or not _has_leaders(topic)]
        if not unled:
            return
        if time.monotonic() > deadline:
            raise LocalError(f"the topic {unled[0]} has partitions without a leader: are enough brokers up?")
        await asyncio.sleep(_PAUSE)


def _has_leaders(topic: Mapping[str, Any]) -> bool:
    return all(partition["leader"] >= 0 for partition in topic["partitions"])


async def _described(client: AIOKafkaAdminClient, names: Iterable[str]) -> list[Mapping[str, Any]]:
    described: list[Mapping[str, Any]] = await client.describe_topics(sorted(names))
    return described


async def _coordinated(client: AIOKafkaAdminClient, deadline: float) -> None:
    """Have the broker create its own topic for groups now, or each group's first member would wait for it."""
    while time.monotonic() < deadline:
        with suppress(KafkaError):
            await client.find_coordinator("orderflow")
            return
        await asyncio.sleep(_PAUSE)


def _reason(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
