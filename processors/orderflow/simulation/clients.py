"""The clients, who insist on being answered."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, TypeVar

from orderflow.simulation.api import NoAnswer, OrderApi
from orderflow.simulation.choices import Choices
from orderflow.simulation.plan import Changing, Ordering, Plan
from orderflow.simulation.story import Story

T = TypeVar("T")


class Clients:
    """Those who order and those who change orders.

    Args:
        api: the order API that runs now, if one does.
    """

    def __init__(self, choices: Choices, story: Story, api: Callable[[], OrderApi | None]) -> None:
        self._choices = choices
        self._story = story
        self._running_api = api

    def visits(self, plan: Plan) -> Iterator[Coroutine[Any, Any, None]]:
        """Yield what each client does."""
        yield from map(self._order, plan.orders)
        yield from map(self._change, plan.changes)

    async def _order(self, order: Ordering) -> None:
        await asyncio.sleep(order.at)
        answers = await self._insist(order.name, order.times, lambda request: self._api().place(order, request))
        if any(answer != answers[0] for answer in answers):
            told = ", ".join(answer.order_id for answer in answers)
            self._story.breach(f"one-answer-per-key: {told} for {order.name}")

    async def _change(self, change: Changing) -> None:
        await asyncio.sleep(change.at)
        await self._insist(change.name, 1, lambda request: self._api().change(change.name, change, request))

    async def _insist(self, name: str, times: int, ask: Callable[[int], Awaitable[T]]) -> list[T]:
        """Ask until there are so many answers, whatever they say, and return them."""
        answers: list[T] = []
        request = 0
        while len(answers) < times:
            request += 1
            try:
                answers.append(await ask(request))
            except NoAnswer:
                self._story.note(f"client of {name}", "has no answer, and asks again")
            await asyncio.sleep(self._choices.span("client", name, 0.3, 2.5))
        return answers

    def _api(self) -> OrderApi:
        api = self._running_api()
        if api is None:
            raise NoAnswer
        return api
