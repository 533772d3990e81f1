"""librdkafka's idempotent producer on the event loop: who sends waits for the broker's acknowledgements.

Its requests are made outside of Python, in threads of its own; what they brought has to be fetched by polling. We poll
on the loop, and only while something is on its way: a thread that polls takes the interpreter away from the loop for
every answer.
"""

import asyncio
import contextlib
import logging
from typing import Any

from confluent_kafka import KafkaError as Refusal
from confluent_kafka import Message, Producer

ANSWERED_AFTER = 0.001
"""Seconds between two looks for what a broker nearby has answered; it takes 1 to 3 ms."""
LOOKS_LESS_OFTEN = 1.25
"""Factor between two waits: an answer is noticed at most a quarter later than it came."""
LOOKED_FOR_WITHIN = 0.1
"""Seconds, the longest wait between two looks at a broker that does not answer."""
REFUSED_WITHIN = 1.0
"""Seconds that librdkafka has for giving back what it was told to forget."""


class Acknowledgements:
    """Waits for the acknowledgement of so many messages; the first refusal decides."""

    def __init__(self, number: int) -> None:
        self._left = number
        self._refused: Refusal | None = None
        self.all: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()

    def __call__(self, refused: Refusal | None, _message: Message) -> None:
        """Take one."""
        self._refused = self._refused or refused
        self._left -= 1
        if not self._left and not self.all.done():
            self.all.set_result(self._refused)


class AcknowledgedProducer:
    """One producer, to be used on the loop that runs.

    Args:
        options: librdkafka's.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self._producer = Producer(options, logger=logging.getLogger("librdkafka"))
        self._loop = asyncio.get_running_loop()
        self._next_look: asyncio.TimerHandle | None = None
        self._all_sent: asyncio.Future[None] | None = None

    def produce(self, topic: str, value: bytes | None, key: bytes, **more: Any) -> None:
        """Send one message; see confluent_kafka's.

        Raises:
            BufferError: too much waits already.
            KafkaException: refused at once.
        """
        self._producer.produce(topic, value, key, **more)
        if self._next_look is None:
            self._look_after(ANSWERED_AFTER)

    def _look_after(self, seconds: float) -> None:
        self._next_look = self._loop.call_later(seconds, self._look, seconds)

    def _look(self, waited: float) -> None:
        self._next_look = None
        answered = self._producer.poll(0)
        if len(self._producer):
            self._look_after(ANSWERED_AFTER if answered else min(waited * LOOKS_LESS_OFTEN, LOOKED_FOR_WITHIN))
        elif self._all_sent is not None and not self._all_sent.done():
            self._all_sent.set_result(None)

    async def connect(self, within: float) -> None:
        """Wait up to ``within`` seconds for any broker.

        Raises:
            KafkaException: none answers.
        """
        await asyncio.to_thread(self._producer.list_topics, timeout=within)

    async def close(self, within: float) -> None:
        """Send what waits, for ``within`` seconds at the most, and disconnect. What is left then is refused."""
        await self._send_all(within)
        self._producer.purge()
        await self._send_all(REFUSED_WITHIN)
        await asyncio.to_thread(self._producer.close)

    async def _send_all(self, within: float) -> None:
        if len(self._producer):
            self._all_sent = self._loop.create_future()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_sent, within)
