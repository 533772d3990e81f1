"""Following an order: each transition once, until its end."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from orderflow.client.answers import Cause, Entry, Timeline
from orderflow.client.failures import ClientError, RefusedByApi, Unanswered
from orderflow.client.following import Look, follow

NOON = datetime(2026, 2, 14, 12, tzinfo=UTC)


class FakePace:
    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds


def entry(context: str, before: str, after: str, *, cause: str = "", seconds: float = 0) -> Entry:
    return Entry(
        context=context,
        recorded_at=NOON + timedelta(seconds=seconds),
        before=before,
        after=after,
        cause=Cause(event_id=cause or f"to-{after}", event_type="Something"),
    )


PENDING, PAID = entry("order", "", "PENDING"), entry("order", "PENDING", "PAID")
CHARGED = entry("payment", "CHARGING", "CHARGED")
COMPLETED = entry("order", "PAID", "COMPLETED")
CANCELLED = entry("order", "PENDING", "CANCELLED")


def looks(*answers: Sequence[Entry] | ClientError) -> Look:
    waiting = list(answers)

    async def look() -> Timeline:
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(answer, ClientError):
            raise answer
        return Timeline(order_id="o", entries=tuple(answer))

    return look


def collector() -> tuple[list[Entry], Callable[[Entry], None]]:
    shown: list[Entry] = []
    return shown, shown.append


async def test_each_transition_is_shown_once_until_the_order_is_completed() -> None:
    shown, show = collector()
    look = looks([PENDING], [PENDING, PAID], [PENDING, PAID, COMPLETED])
    assert await follow(look, show, 60, FakePace()) == "COMPLETED"
    assert shown == [PENDING, PAID, COMPLETED]


async def test_a_context_that_answers_late_is_shown_late_wherever_its_part_belongs() -> None:
    shown, show = collector()
    await follow(looks([PENDING, PAID], [PENDING, CHARGED, PAID, COMPLETED]), show, 60, FakePace())
    assert shown == [PENDING, PAID, CHARGED, COMPLETED]


async def test_the_same_transition_again_is_another_one() -> None:
    shown, show = collector()
    asked_again = [entry("order", "PENDING", "PENDING", cause=f"ask-{n}", seconds=n) for n in range(2)]
    await follow(looks([*asked_again, CANCELLED]), show, 60, FakePace())
    assert shown == [*asked_again, CANCELLED]


@pytest.mark.parametrize("word", ["CANCELLED", "FAILED"])
async def test_the_other_ends_are_ends_too(word: str) -> None:
    _, show = collector()
    assert await follow(looks([entry("order", "PENDING", word)]), show, 60, FakePace()) == word


async def test_what_ends_in_another_context_ends_no_order() -> None:
    _, show = collector()
    look = looks([entry("fulfillment", "BOOKING", "FAILED")])
    assert await follow(look, show, 3, FakePace()) is None


async def test_it_gives_up_when_the_time_is_over_and_not_before() -> None:
    pace = FakePace()
    _, show = collector()
    assert await follow(looks([PENDING]), show, 1.2, pace) is None
    assert pace.time == pytest.approx(1.2)


async def test_with_no_time_at_all_it_looks_once() -> None:
    shown, show = collector()
    assert await follow(looks([COMPLETED]), show, 0, FakePace()) == "COMPLETED"
    assert shown == [COMPLETED]


@pytest.mark.parametrize("failure", [Unanswered("gone"), ClientError("nobody"), RefusedByApi(503, "the store")])
async def test_an_api_that_goes_away_in_between_is_waited_for(failure: ClientError) -> None:
    shown, show = collector()
    assert await follow(looks([PENDING], failure, [PENDING, COMPLETED]), show, 60, FakePace()) == "COMPLETED"
    assert shown == [PENDING, COMPLETED]


async def test_an_order_that_there_is_not_is_not_waited_for() -> None:
    _, show = collector()
    with pytest.raises(RefusedByApi, match=r"no such order \(404\)"):
        await follow(looks(RefusedByApi(404, "no such order")), show, 60, FakePace())


def test_entries_are_read_from_the_api_s_json() -> None:
    raw = b"""{"orderId": "o", "entries": [{"context": "order", "at": "2026-02-14T12:00:00Z",
        "recordedAt": "2026-02-14T12:00:00Z", "from": "PENDING", "to": "PAID", "correlationId": "s",
        "cause": {"eventId": "to-PAID", "eventType": "Something"}}], "calls": [], "incomplete": [], "later": 1}"""
    assert msgspec.json.decode(raw, type=Timeline).entries == (PAID,)
