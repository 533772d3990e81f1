"""The queue: each key once, later each time it fails, and never twice at the same time."""

import asyncio
import random

from orderflow_operator.work import FIRST_WAIT, LONGEST_WAIT, Work


async def test_a_key_that_is_asked_for_often_comes_once() -> None:
    work: Work[str] = Work()
    for _ in range(3):
        work.add("a")
    work.add("b")
    assert [await work.next(), await work.next()] == ["a", "b"]
    assert len(work) == 0


async def test_what_is_asked_for_meanwhile_comes_once_more_afterwards() -> None:
    work: Work[str] = Work()
    work.add("a")
    await work.next()
    work.add("a")
    assert len(work) == 0
    work.done("a")
    assert await work.next() == "a"


async def test_sooner_counts() -> None:
    work: Work[str] = Work()
    work.add("a", after=1000)
    work.add("a")
    work.add("a", after=2000)
    assert await asyncio.wait_for(work.next(), 1) == "a"


async def test_what_fails_waits_longer_each_time_however_much_is_told_of_it() -> None:
    work: Work[str] = Work(jitter=random.Random(1))
    work.add("a")
    waits = []
    for _ in range(12):
        work._due.clear()
        work._busy.add("a")
        work.add("a")  # an event about it meanwhile
        work.done("a", failed=True)
        work.add("a")  # and one afterwards
        waits.append(work._due["a"] - asyncio.get_running_loop().time())
    assert FIRST_WAIT * 0.7 < waits[0] < FIRST_WAIT * 1.3
    assert LONGEST_WAIT * 0.7 < waits[-1] < LONGEST_WAIT * 1.3
    assert sorted(waits[:6]) == waits[:6]
