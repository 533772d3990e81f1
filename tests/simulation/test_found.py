"""What runs have found before: each schedule breaks its promise without what mends it, and keeps it with that."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from orderflow.runtime import attempts, task_rows
from orderflow.runtime.outgoing import Outgoing
from orderflow.runtime.schema import tasks
from orderflow.runtime.unit_of_work import UnitOfWork
from orderflow.simulation.playing import Outcome, Player, Schedule

SCHEDULES = Path(__file__).parent / "schedules"

Unmend = Callable[[pytest.MonkeyPatch], None]


def deaths_condemn(patch: pytest.MonkeyPatch) -> None:
    """Give a message up for the processes that ended over it, without a witness."""
    patch.setattr(attempts, "UNWITNESSED", 2)
    patch.setattr(UnitOfWork, "rehearse", lambda *_: "")


def a_look_frees_whom_it_did_not_ask_about(patch: pytest.MonkeyPatch) -> None:
    look_at_held = Outgoing._look_at_held

    async def look(self: Outgoing) -> None:
        asked = set(self._held)
        await look_at_held(self)
        for key in self._held.keys() - asked:
            self._ready += self._held.pop(key).rows

    patch.setattr(Outgoing, "_look_at_held", look)


def a_postponement_takes_doubts_back(patch: pytest.MonkeyPatch) -> None:
    def postpone(connection: Any, task: Any, owner: str, due_at: Any, error: str | None) -> bool:
        mine = (tasks.c.task_id == task.task_id, tasks.c.status == "open", tasks.c.claimed_by == owner)
        values = {"due_at": due_at, "attempts": task.attempts, "unclear": task.unclear, "last_error": error}
        free = {"claimed_by": None, "claimed_until": None}
        return bool(connection.execute(tasks.update().where(*mine).values(**values, **free)).rowcount)

    patch.setattr(task_rows, "postpone", postpone)


FOUND: dict[str, tuple[str, Unmend]] = {
    "an-innocent-message-dies": ("only-bad-messages-die", deaths_condemn),
    "a-row-overtakes-one-that-it-waits-for": ("a-keys-order", a_look_frees_whom_it_did_not_ask_about),
    "a-doubt-is-forgotten": ("asks-before-repeating", a_postponement_takes_doubts_back),
}


def played(player: Player, name: str) -> Outcome:
    schedule = msgspec.json.decode((SCHEDULES / f"{name}.json").read_bytes(), type=Schedule)
    return player.schedule(schedule)


@pytest.mark.parametrize("name", FOUND)
def test_it_is_mended(name: str, in_memory: Player) -> None:
    assert played(in_memory, name).breaches == ()


@pytest.mark.parametrize("name", FOUND)
def test_the_schedule_still_shows_it(name: str, in_memory: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    promise, unmend = FOUND[name]
    unmend(monkeypatch)
    assert any(breach.startswith(f"{promise}: ") for breach in played(in_memory, name).breaches)
