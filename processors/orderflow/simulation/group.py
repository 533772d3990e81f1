"""A consumer group without Kafka: who has which partitions, and what happens whenever that changes.

As with Kafka's eager protocol everybody gives everything up before anybody is given something. Whoever stands still for
longer than a session is left out, without learning of it: he still believes in what he had.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Protocol

from orderflow.runtime.ledger import Partition

SESSION = 6.0
"""Seconds of silence after which a member counts as dead."""


GATHERING = 0.05
"""Seconds in which those who join together are waited for."""


class Member(Protocol):
    """One process in a group."""

    @property
    def is_silent(self) -> bool:
        """Whether it does not answer: it is dead or stands still."""

    async def give_up(self) -> None:
        """Give up every partition."""

    async def take(self, partitions: Collection[Partition]) -> None:
        """Take over ``partitions``."""


class Group:
    """Assigns the partitions of one context to the processes that are there.

    Args:
        deal: splits the partitions among so many members; the adversary's, because Kafka promises nothing of it.
    """

    def __init__(
        self,
        partitions: Sequence[Partition],
        deal: Callable[[Sequence[Partition], int], Sequence[Collection[Partition]]],
    ) -> None:
        self._partitions = partitions
        self._deal = deal
        self._members: list[Member] = []
        self._changed = asyncio.Event()
        self._taking: set[asyncio.Task[None]] = set()
        self.rebalances = 0

    def join(self, member: Member) -> None:
        """Let ``member`` in, with the next assignment."""
        self._members.append(member)
        self._changed.set()

    def leave(self, member: Member) -> None:
        """Let ``member`` go; nobody notices that it has lost its partitions but the next assignment."""
        if member in self._members:
            self._members.remove(member)
            self._changed.set()

    def is_in(self, member: Member) -> bool:
        """Tell whether ``member`` takes part."""
        return member in self._members

    def stir(self) -> None:
        """Assign anew, for no reason that anybody would see."""
        self._changed.set()

    async def run(self) -> None:
        """Assign whenever something has changed, until cancelled."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(GATHERING)
            self._changed.clear()
            await self._give_up()
            self._assign()

    async def _give_up(self) -> None:
        giving = {asyncio.create_task(member.give_up()): member for member in self._members}
        if giving:
            _, late = await asyncio.wait(giving, timeout=SESSION)
            for task, member in giving.items():
                if task in late or task.cancelled() or member.is_silent:
                    self._drop(member)
                if task in late:
                    task.add_done_callback(partial(self._rejoin, member))

    def _rejoin(self, member: Member, giving: "asyncio.Task[None]") -> None:
        if not giving.cancelled() and not member.is_silent and member not in self._members:
            self.join(member)

    def _drop(self, member: Member) -> None:
        if member in self._members:
            self._members.remove(member)

    def _assign(self) -> None:
        self.rebalances += 1
        if not self._members:
            return
        for member, share in zip(self._members, self._deal(self._partitions, len(self._members)), strict=True):
            task = asyncio.create_task(member.take(share))
            self._taking.add(task)
            task.add_done_callback(self._taking.discard)
