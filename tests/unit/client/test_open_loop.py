"""Orders leave when they are due, whatever becomes of those before them."""

import asyncio

import pytest

from orderflow.client.open_loop import send_on_schedule


class FakePace:
    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        wake = self.time + seconds
        for _ in range(3):
            await asyncio.sleep(0)
        self.time = max(self.time, wake)


async def test_each_order_is_sent_when_it_is_due() -> None:
    pace, sent = FakePace(), []

    async def send(number: int) -> None:
        sent.append((number, pace.now()))

    await send_on_schedule([1.0, 1.5, 4.0], send, pace)
    assert sent == [(0, 1.0), (1, 1.5), (2, 4.0)]


async def test_an_order_without_an_answer_holds_up_no_other() -> None:
    pace, sent = FakePace(), list[int]()
    last_one_sent = asyncio.Event()

    async def send(number: int) -> None:
        sent.append(number)
        if number == 3:
            last_one_sent.set()
        await last_one_sent.wait()

    await send_on_schedule([0.0, 1.0, 2.0, 3.0], send, pace)
    assert (sent, pace.time) == ([0, 1, 2, 3], 3.0)


async def test_a_stall_moves_nothing_on_the_schedule_and_what_is_late_goes_at_once() -> None:
    pace, sent = FakePace(), []

    async def send(number: int) -> None:
        sent.append((number, pace.now()))
        if number == 0:
            pace.time += 10  # everything stands still

    await send_on_schedule([0.0, 1.0, 2.0, 12.0], send, pace)
    assert sent == [(0, 0.0), (1, 10.0), (2, 10.0), (3, 12.0)]


async def test_cancelled_it_leaves_nothing_under_way() -> None:
    pace, left = FakePace(), []

    async def send(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            left.append(number)

    sending = asyncio.create_task(send_on_schedule([0.0, 1.0], send, pace))
    for _ in range(3):
        await pace.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert sorted(left) == [0, 1]
