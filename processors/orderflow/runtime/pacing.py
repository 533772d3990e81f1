"""Paced fetching: what arrives within a short time after an answer comes with the next one.

aiokafka asks again as soon as it has been answered, and a broker answers as soon as it has one message: under load each
message then has a request of its own, which costs the broker and the consumer more than the message. Asking for more
bytes at least would make the broker hold back the first message after a pause, which is the one somebody waits for.
"""

import time
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import Fetcher


class _PacedFetcher(Fetcher):  # type: ignore[misc]
    gap: float
    answered: float

    async def _proc_fetch_request(self, *request: Any) -> bool:
        has_new_data: bool = await super()._proc_fetch_request(*request)
        if has_new_data:
            self.answered = time.monotonic()
        return has_new_data

    def _get_actions_per_node(self, assignment: Any) -> tuple[Any, ...]:
        requests, resets, timeout, *others = super()._get_actions_per_node(assignment)
        wait = self.answered + self.gap - time.monotonic()
        if requests and wait > 0:
            return [], resets, min(timeout, wait), *others
        return requests, resets, timeout, *others


def pace(consumer: AIOKafkaConsumer, gap: float) -> None:
    """Let ``gap`` seconds pass between an answer that brought something and the next request of a started consumer."""
    fetcher = consumer._fetcher
    # The consumer makes its fetcher itself, when it starts, and offers no way to give it another one.
    fetcher.__class__ = _PacedFetcher
    fetcher.gap, fetcher.answered = gap, 0.0
