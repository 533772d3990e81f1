"""The providers as seen from one process: the simulated ones, and everything that can happen on the way to them.

A request that has left is on its way, whatever becomes of its sender: it can take effect long after he has given up.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from orderflow.providers.faults import Faults
from orderflow.providers.protocol import Provider, ProviderAnswer, ProviderRequest, Unavailable, Unclear
from orderflow.providers.record import Store as Record
from orderflow.providers.simulated import PROVIDERS, World
from orderflow.simulation.choices import Choices
from orderflow.simulation.life import LIVING, Life, never
from orderflow.simulation.story import Story
from orderflow.simulation.virtual_time import WallClock

LATENCY: Mapping[str, tuple[float, float]] = {"carrier": (0.05, 1.5)}
QUICK = (0.002, 0.05)


@dataclass
class Outside:
    """All providers, for all processes.

    Attributes:
        down: providers that say they are unavailable.
        under_way: how many requests are on their way.
        doubtful: requests whose last call may have had its effect without an answer, and after which nobody has asked.
    """

    choices: Choices
    record: Record
    clock: WallClock
    story: Story
    down: set[str] = field(default_factory=set)
    under_way: int = 0
    doubtful: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        world = World(random=Random(0), sleep=_no_time, now=self.clock.now)
        self.kind: Mapping[str, Provider] = {n: make(n, Faults(), self.record, world) for n, make in PROVIDERS.items()}
        unkind = Faults(decline_rate=1.0)
        self.unkind: Mapping[str, Provider] = {n: make(n, unkind, self.record, world) for n, make in PROVIDERS.items()}

    def line(self, life: Life, name: str) -> "OutsideLine":
        """Return the line of one process to the provider ``name``."""
        return OutsideLine(self, life, name)


class OutsideLine:
    """One process's line to one provider; see :class:`~orderflow.providers.protocol.Provider`."""

    def __init__(self, outside: Outside, life: Life, name: str) -> None:
        self._outside = outside
        self._life = life
        self.name = name
        self.under_way = 0
        self.at_start: Callable[[], None] = lambda: None

    async def call(self, request: ProviderRequest) -> ProviderAnswer:
        """Carry the request out.

        Raises:
            Unavailable: nothing happened.
            Unclear: it may have happened.
        """
        outside = self._outside
        what = f"{self.name} to {request.operation} for {request.arguments.get('orderId', '')}"
        fault = outside.choices.fault(f"call {request.operation}", request.arguments.get("orderId", request.key))
        place = (request.operation, request.key)
        await self._life.gate()
        # Whoever has stood still may hold a claim that is over, without knowing it.
        if place in outside.doubtful and not self._life.has_stood_still:
            outside.story.breach(
                f"asks-before-repeating: {self._life.owner} calls {what} again without asking what came of it"
            )
        if fault == "unavailable" or self.name in outside.down:
            await asyncio.sleep(self._life.span("refusal", *QUICK))
            outside.story.note(self._life.owner, f"finds {what} unavailable")
            await self._life.gate()
            raise Unavailable(f"{self.name} is unavailable")
        outside.doubtful.add(place)
        self.under_way += 1
        self.at_start()
        try:
            answer = await self._sent(request, what, fault)
        finally:
            self.under_way -= 1
        await self._life.gate()
        outside.doubtful.discard(place)
        return answer

    async def _sent(self, request: ProviderRequest, what: str, fault: str) -> ProviderAnswer:
        outside = self._outside
        outside.story.note(self._life.owner, f"asks {what}{f' ({fault})' if fault else ''}")
        if fault == "lost-before":
            await asyncio.sleep(self._life.span("silence", *QUICK))
            raise Unclear("no answer (nothing happened)")
        if fault == "crash":
            self._life.end()
        token = LIVING.set(None)
        try:
            way = asyncio.get_running_loop().create_task(self._travel(request, what, fault))
        finally:
            LIVING.reset(token)
        if fault == "crash":
            await never()
        answer = await asyncio.shield(way)
        if fault == "lost-after":
            raise Unclear("no answer (it happened)")
        return answer

    async def _travel(self, request: ProviderRequest, what: str, fault: str) -> ProviderAnswer:
        outside = self._outside
        outside.under_way += 1
        try:
            least, most = (11.0, 40.0) if fault == "late" else LATENCY.get(self.name, QUICK)
            await asyncio.sleep(self._life.span("request", least, most))
            provider = outside.unkind[self.name] if fault == "declined" else outside.kind[self.name]
            answer = await provider.call(request)
            outside.story.note(
                self.name, f"answers: {request.operation} for {request.arguments.get('orderId', '')} {answer.status}"
            )
            least, most = (11.0, 40.0) if fault == "late-answer" else QUICK
            await asyncio.sleep(self._life.span("answer", least, most))
            return answer
        finally:
            outside.under_way -= 1

    async def query(self, request: ProviderRequest) -> ProviderAnswer | None:
        """Return the answer recorded under the request's operation and key, or ``None`` if it never arrived.

        Raises:
            Unavailable: the provider cannot tell now.
        """
        outside = self._outside
        await self._life.gate()
        await asyncio.sleep(self._life.span("question", *QUICK))
        order = request.arguments.get("orderId", request.key)
        if self.name in outside.down or outside.choices.fault(f"query {request.operation}", order):
            raise Unavailable(f"{self.name} is unavailable")
        answer = await outside.kind[self.name].query(request)
        await self._life.gate()
        outside.doubtful.discard((request.operation, request.key))
        outside.story.reach(
            "unclear call asked after: it had happened" if answer else "unclear call asked after: it had not"
        )
        said = answer.status if answer else "nothing"
        outside.story.note(self._life.owner, f"asks {self.name} what came of {request.operation} for {order}: {said}")
        return answer


async def _no_time(_seconds: float) -> None:
    """Take none."""
