"""Sends each order when it is due, whether or not the ones before it have been answered.

The schedule stands before the first order leaves. A closed loop, which waits for an answer before it sends again,
slows down with the system it measures and so never sees the queue that its users would have stood in.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence

from orderflow.client.pace import Pace

Send = Callable[[int], Coroutine[None, None, None]]
"""Sends the order of that number and returns when it has been answered."""


async def send_on_schedule(due: Sequence[float], send: Send, pace: Pace) -> None:
    """Start ``send`` for every number when it is due (on ``pace``'s clock); return when all have returned.

    Cancelled, it cancels the sends that are under way.
    """
    async with asyncio.TaskGroup() as group:
        for number, moment in enumerate(due):
            # When late, sleep all the same, for no time: what was started has to get its turn.
            await pace.sleep(max(0.0, moment - pace.now()))
            group.create_task(send(number))
