"""Which topics there are to be, and what is done about those that are there."""

from typing import Any

import msgspec

from orderflow.spec.resource import OrderFlow
from orderflow_operator.topics import Found, changes, problem, topics_of


def resource(**broker: Any) -> OrderFlow:
    body = {"apiVersion": "orderflow.dev/v1alpha1", "kind": "OrderFlow", "metadata": {"name": "shop"}}
    return msgspec.convert({**body, "spec": {"broker": broker}}, OrderFlow)


def test_missing_topics_are_created_with_their_settings() -> None:
    topics = topics_of(resource(topicPrefix="a.", topicConfig={"min.insync.replicas": "2"}, replicationFactor=3))
    created = {one.name: one for one in changes(topics, {})}
    assert created["a.order-events"].replication_factor == 3
    assert created["a.order-events"].settings["min.insync.replicas"] == "2"
    assert created["a.order-events-dlq"].settings["retention.ms"] == str(7 * 86_400_000)
    assert created["a.payment-payment-state-changelog"].settings["cleanup.policy"] == "compact"
    assert all(one.creates for one in created.values())


def test_other_settings_are_put_right_and_what_nobody_said_is_left_alone() -> None:
    topics = topics_of(resource())
    found = {name: Found(partitions=4, settings={**topics.settings[name], "x": "1"}) for name in topics.names}
    assert changes(topics, found) == ()
    found["order-events"] = Found(partitions=4, settings={"retention.ms": "5", "x": "1"})
    (change,) = changes(topics, found)
    assert (change.name, change.creates) == ("order-events", False)
    assert change.settings["retention.ms"] == str(7 * 86_400_000)
    assert "x" not in change.settings


def test_another_number_of_partitions_is_for_a_person_to_see_to() -> None:
    topics = topics_of(resource())
    assert problem(topics, {"order-events": Found(partitions=4, settings={})}) is None
    told = problem(topics, {"order-events": Found(partitions=3, settings={})})
    assert told is not None
    assert told.reason == "PartitionsDiffer"
    assert "the topic order-events has 3 partitions and spec.broker.partitions is 4" in told.message
