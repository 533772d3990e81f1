"""What the operator does on the broker: topics, with their settings, and looks at consumer groups.

librdkafka's admin client, one for each address, whose calls block: they run in threads. A broker that is away is
:class:`BrokerAway`, and says where it was looked for.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from orderflow_operator.observing import Group, Member
from orderflow_operator.topics import Change, Found, Topics

T = TypeVar("T")

PATIENCE: Final = 5.0
"""Seconds for one answer."""
AVOIDED: Final = 10.0
"""Seconds for which a broker that did not answer is not asked again: else each resource would wait for it anew."""
UNUSED: Final = 300.0
"""Seconds after which a client that nobody has asked for anything is closed: it has threads and connections."""


_UNREACHABLE: Final = frozenset({KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN})


class BrokerAway(Exception):  # noqa: N818 - a condition, not a fault
    """No broker answers, or not the way it should."""


class Brokers:
    """The admin clients of every broker that some resource names."""

    def __init__(self) -> None:
        self._clients: dict[str, tuple[AdminClient, float]] = {}
        self._away: dict[str, tuple[str, float]] = {}

    async def found(self, address: str, topics: Topics) -> dict[str, Found]:
        """Return what there is of the topics, by name.

        Raises:
            BrokerAway: no broker answers.
        """
        return await self._in_thread(_found, address, topics)

    async def change(self, address: str, changes: Sequence[Change]) -> None:
        """Carry changes out.

        Raises:
            BrokerAway: the broker does not answer or refuses; the text says which topic and why.
        """
        await self._in_thread(_change, address, changes)

    async def delete(self, address: str, names: Iterable[str]) -> None:
        """Delete those of the topics that there are.

        Raises:
            BrokerAway: no broker answers.
        """
        await self._in_thread(_delete, address, sorted(names))

    async def group(self, address: str, name: str, topic: str) -> Group:
        """Return a consumer group, with each member's partitions of ``topic`` and the lag over all that it reads.

        Raises:
            BrokerAway: no broker answers.
        """
        return await self._in_thread(_group, address, name, topic)

    async def _in_thread(self, job: Callable[..., T], address: str, *arguments: object) -> T:
        reason, since = self._away.get(address, ("", -AVOIDED))
        if time.monotonic() - since < AVOIDED:
            raise BrokerAway(reason)
        client = self._client(address)
        try:
            return await asyncio.to_thread(job, client, *arguments)
        except KafkaException as error:
            told: KafkaError = error.args[0]
            reason = f"{told.name()}: {told.str()}"
            if told.code() in _UNREACHABLE:
                self._away[address] = (reason, time.monotonic())
            raise BrokerAway(reason) from error

    def _client(self, address: str) -> AdminClient:
        now = time.monotonic()
        for other in [one for one, (_, at) in self._clients.items() if now - at > UNUSED]:
            del self._clients[other]
        known = self._clients.get(address)
        client = known[0] if known is not None else AdminClient(_settings(address))
        self._clients[address] = (client, now)
        return client


def _settings(address: str) -> dict[str, str | int | float | bool]:
    return {
        "bootstrap.servers": address,
        "client.id": "orderflow-operator",
        "socket.timeout.ms": int(PATIENCE * 1000),
        "reconnect.backoff.max.ms": 2000,
        # Critical ones alone: of a broker that is away the condition says what it means.
        "log_level": 2,
    }


def _found(client: AdminClient, topics: Topics) -> dict[str, Found]:
    told = client.list_topics(timeout=PATIENCE).topics
    there = [name for name in topics.names if name in told and told[name].error is None]
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in there]
    asked = client.describe_configs(resources, request_timeout=PATIENCE) if resources else {}
    return {
        resource.name: Found(
            partitions=len(told[resource.name].partitions),
            settings={name: str(entry.value) for name, entry in answer.result().items()},
        )
        for resource, answer in asked.items()
    }


def _change(client: AdminClient, changes: Sequence[Change]) -> None:
    new = [
        NewTopic(one.name, one.partitions, one.replication_factor, config=dict(one.settings))
        for one in changes
        if one.creates
    ]
    _all(client.create_topics(new, request_timeout=PATIENCE) if new else {})
    altered = [
        ConfigResource(
            ResourceType.TOPIC,
            one.name,
            incremental_configs=[
                ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                for name, value in one.settings.items()
            ],
        )
        for one in changes
        if not one.creates
    ]
    _all(client.incremental_alter_configs(altered, request_timeout=PATIENCE) if altered else {})


def _delete(client: AdminClient, names: list[str]) -> None:
    told = client.list_topics(timeout=PATIENCE).topics
    there = [name for name in names if name in told]
    _all(client.delete_topics(there, request_timeout=PATIENCE) if there else {})


def _all(answers: Mapping[Any, Future[Any]]) -> None:
    """Wait for every answer. What somebody else has done meanwhile is done."""
    done = {KafkaError.TOPIC_ALREADY_EXISTS, KafkaError.UNKNOWN_TOPIC_OR_PART}
    for answer in answers.values():
        try:
            answer.result()
        except KafkaException as error:
            if error.args[0].code() not in done:
                raise


def _group(client: AdminClient, name: str, topic: str) -> Group:
    description = client.describe_consumer_groups([name], request_timeout=PATIENCE)[name].result()
    members = [
        Member(
            pod=member.client_id,
            partitions=sum(one.topic == topic for one in member.assignment.topic_partitions),
        )
        for member in description.members
    ]
    return Group(members=tuple(members), lag=_lag(client, name))


def _lag(client: AdminClient, name: str) -> int:
    asked = client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name)], request_timeout=PATIENCE)
    places: list[TopicPartition] = [one for one in asked[name].result().topic_partitions if one.offset >= 0]
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    ends = client.list_offsets({TopicPartition(one.topic, one.partition): latest for one in places})
    newest = {(place.topic, place.partition): answer.result().offset for place, answer in ends.items()}
    return sum(max(0, newest[one.topic, one.partition] - one.offset) for one in places)
