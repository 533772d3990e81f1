"""Which topics a resource has, with which settings, and what has to be done about those there are: pure.

Partitions never change and nothing is deleted here. A topic with another number of them is a problem for a person: with
another number an order's messages would move between partitions.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from orderflow.contracts.topics import TOPICS, dead_letter_topic
from orderflow.spec.resource import CONTEXTS, OrderFlow
from orderflow_operator.problems import Problem

COMPACTED: Final = {"cleanup.policy": "compact"}
DAY: Final = 86_400_000


class Topics(msgspec.Struct, frozen=True, kw_only=True):
    """The topics of a resource; ``settings`` is by name, in Kafka's own words."""

    partitions: int
    replication_factor: int
    settings: dict[str, dict[str, str]]

    @property
    def names(self) -> frozenset[str]:
        """All of them, with the prefix."""
        return frozenset(self.settings)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A topic as it is on the broker; ``settings`` are all that are in force."""

    partitions: int
    settings: dict[str, str]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A topic to create, or settings to set on one that is there."""

    name: str
    creates: bool
    settings: dict[str, str]
    partitions: int = 0
    replication_factor: int = 0


def topics_of(resource: OrderFlow) -> Topics:
    """Return the topics that the resource is to have."""
    broker, retention = resource.spec.broker, resource.spec.retention
    # A segment is deleted as a whole: half of the time for it to fill, half for it to lie.
    half = str(int(retention.topics_days * DAY / 2))
    kept = {"retention.ms": half, "segment.ms": half, **broker.topic_config}
    settings = {name: kept for topic in TOPICS for name in (topic, dead_letter_topic(topic))}
    settings |= {changelog: {**broker.topic_config, **COMPACTED} for changelog in changelogs()}
    return Topics(
        partitions=broker.partitions,
        replication_factor=broker.replication_factor,
        settings={f"{broker.topic_prefix}{name}": values for name, values in settings.items()},
    )


def changelogs() -> tuple[str, ...]:
    """Return the changelogs of the contexts' tables, without the prefix: aggregates, and analytics' windows."""
    tables = [(context, f"{context}-state") for context in CONTEXTS] + [("analytics", "analytics-windows")]
    return tuple(f"{context}-{table}-changelog" for context, table in tables)


def changes(topics: Topics, found: Mapping[str, Found]) -> tuple[Change, ...]:
    """Return what has to be done for the topics to be as they are to be."""
    return tuple(change for name in sorted(topics.names) if (change := _change(topics, name, found.get(name))))


def problem(topics: Topics, found: Mapping[str, Found]) -> Problem | None:
    """Return what only a person can put right."""
    for name, topic in sorted(found.items()):
        if topic.partitions != topics.partitions:
            reason = f"the topic {name} has {topic.partitions} partitions and spec.broker.partitions is"
            message = f"{reason} {topics.partitions}: it cannot be changed once there are topics. Name another prefix"
            return Problem(reason="PartitionsDiffer", message=f"{message} (spec.broker.topicPrefix), or that number")
    return None


def away(address: str, reason: str) -> Problem:
    """Return the problem of a broker that does not answer, or refuses."""
    message = f"no broker answers as it should at {address} ({reason}). See whether it runs and is reachable from"
    return Problem(reason="BrokerUnreachable", message=f"{message} the operator's pod, or correct spec.broker.address")


def _change(topics: Topics, name: str, found: Found | None) -> Change | None:
    wanted = topics.settings[name]
    if found is None:
        return Change(
            name=name,
            creates=True,
            settings=wanted,
            partitions=topics.partitions,
            replication_factor=topics.replication_factor,
        )
    other = {setting: value for setting, value in wanted.items() if found.settings.get(setting) != value}
    return Change(name=name, creates=False, settings=other) if other else None
