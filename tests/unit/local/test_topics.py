"""Every topic is there before anybody reads it, with one number of partitions for all."""

import pytest

from orderflow.contracts.topics import TOPICS
from orderflow.local.errors import LocalError
from orderflow.local.topics import refuse_other_counts, topic_names


def test_every_topic_has_its_dead_letters_beside_it() -> None:
    names = topic_names("")
    assert set(names) == {*TOPICS, *(f"{topic}-dlq" for topic in TOPICS)}
    assert len(names) == 22


def test_a_prefix_stands_before_every_name() -> None:
    assert {name.removeprefix("shop.") for name in topic_names("shop.")} == set(topic_names(""))


def test_topics_with_the_wanted_partitions_are_taken() -> None:
    refuse_other_counts({"a": 4, "b": 4}, 4)


def test_a_topic_with_another_number_of_partitions_is_an_error_that_says_both() -> None:
    with pytest.raises(LocalError) as caught:
        refuse_other_counts({"a": 4, "b": 3}, 4)
    assert str(caught.value) == (
        "the topic b has 3 partitions and spec.broker.partitions is 4: it cannot be changed once there are topics"
    )
