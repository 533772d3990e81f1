"""The group's assignor: Faust's own splits evenly, this one honours what each revision may have.

Every member says in its subscription's user data which revision it is and how many partitions that may have together;
whichever member leads the group divides (:mod:`.sharing`). All topics of a context have equally many partitions and are
divided alike, tables' changelogs included.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from aiokafka.cluster import ClusterMetadata
from faust.assignor.client_assignment import ClientAssignment, ClientMetadata
from faust.assignor.partition_assignor import (
    MemberAssignmentMapping,
    MemberMetadataMapping,
    PartitionAssignor,
)

from orderflow.runtime.share import Share
from orderflow.runtime.sharing import Member, divide


class Announcement(  # type: ignore[call-arg]
    ClientMetadata,  # type: ignore[misc]
    serializer="json",
    include_metadata=False,
    namespace="@ClientMetadata",
):
    """What a member says of itself; ``limit`` is below zero where there is none."""

    revision: str = ""
    limit: int = -1


class ShareAssignor(PartitionAssignor):  # type: ignore[misc]
    """Faust's assignor with another way to divide. ``share`` and ``revision`` are those of the application."""

    @property
    def name(self) -> str:
        """The protocol's name: members with another one cannot be in the same group."""
        return "orderflow-shares"

    @property
    def _metadata(self) -> Announcement:
        share: Share = self.app.share
        return Announcement(
            assignment=self._assignment,
            url=str(self._url),
            changelog_distribution=self.changelog_distribution,
            external_topic_distribution=self.external_topic_distribution,
            topic_groups=self._topic_groups,
            revision=self.app.revision,
            limit=-1 if share.limit is None else share.limit,
        )

    def _perform_assignment(
        self, cluster: ClusterMetadata, member_metadata: MemberMetadataMapping
    ) -> MemberAssignmentMapping:
        said = {member: Announcement.loads(metadata.user_data) for member, metadata in member_metadata.items()}
        self._update_member_urls(said)
        assignments = {member: ClientAssignment(actives={}, standbys={}) for member in member_metadata}
        for topics, subscribers in _together(member_metadata):
            numbers = [len(cluster.partitions_for_topic(topic) or ()) for topic in topics]
            divided = divide(max(numbers), [_member(name, said[name], topics) for name in subscribers])
            for topic, number in zip(topics, numbers, strict=True):
                for name, partitions in divided.items():
                    assignments[name].actives[topic] = [one for one in partitions if one < number]
        return self._protocol_assignments(
            assignments,
            self._get_changelog_distribution(assignments),
            self._get_external_topic_distribution(assignments),
            {topic: 0 for metadata in member_metadata.values() for topic in metadata.subscription},
        )


def _together(members: MemberMetadataMapping) -> Iterator[tuple[list[str], list[str]]]:
    """Yield topics with their subscribers: those together that have the same ones."""
    subscribers: dict[str, list[str]] = defaultdict(list)
    for member, metadata in sorted(members.items()):
        for topic in metadata.subscription:
            subscribers[topic].append(member)
    together: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for topic, members_of_it in sorted(subscribers.items()):
        together[tuple(members_of_it)].append(topic)
    for names, topics in together.items():
        yield topics, list(names)


def _member(name: str, said: Any, topics: list[str]) -> Member:
    had = frozenset(number for topic in topics for number in said.assignment.actives.get(topic, ()))
    return Member(name, said.revision, None if said.limit < 0 else said.limit, had)
