"""Virtual time passes when nothing else is left to do, and only then."""

import asyncio
from datetime import timedelta

import pytest

from orderflow.simulation.choices import Choices
from orderflow.simulation.life import Life, task_factory
from orderflow.simulation.virtual_time import START, Stalled, VirtualLoop, WallClock


@pytest.fixture
def loop() -> VirtualLoop:
    loop = VirtualLoop()
    loop.set_task_factory(task_factory)  # type: ignore[arg-type]
    return loop


def test_an_hour_passes_at_once_and_in_order(loop: VirtualLoop) -> None:
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append((name, loop.time()))

    async def both() -> None:
        await asyncio.gather(sleeper("late", 3600.0), sleeper("soon", 0.5))

    loop.run_until_complete(both())
    loop.close()
    assert woken == [("soon", 0.5), ("late", 3600.0)]


def test_whoever_waits_for_what_never_comes_is_told(loop: VirtualLoop) -> None:
    with pytest.raises(Stalled):
        loop.run_until_complete(asyncio.Event().wait())
    loop.close()


def test_a_clock_follows_the_loop_and_can_be_wrong(loop: VirtualLoop) -> None:
    clock = WallClock(loop)
    loop.run_until_complete(asyncio.sleep(90))
    assert clock.now() == START + timedelta(seconds=90)
    clock.offset = -5.0
    assert clock.until(START + timedelta(seconds=90)) == 5.0
    loop.close()


class TestALife:
    def test_ends_with_everything_that_it_has_started(self, loop: VirtualLoop) -> None:
        done: list[str] = []

        async def child() -> None:
            await asyncio.sleep(2)
            done.append("child")

        async def parent() -> None:
            await asyncio.gather(asyncio.create_task(child()))

        async def story() -> None:
            life = Life("payment-0", 1, Choices(1, {}), loop)
            life.at_end.append(lambda: done.append("told"))
            life.spawn(parent())
            await asyncio.sleep(1)
            life.end()
            await asyncio.sleep(5)

        loop.run_until_complete(story())
        loop.close()
        assert done == ["told"]

    def test_does_nothing_while_it_stands_still(self, loop: VirtualLoop) -> None:
        passed: list[float] = []

        async def story() -> None:
            life = Life("payment-0", 1, Choices(1, {}), loop)
            life.pause()
            loop.call_later(7, life.resume)
            await life.gate()
            passed.append(loop.time())

        loop.run_until_complete(story())
        loop.close()
        assert passed == [7.0]
