"""Plays seeds, one after another or in several processes, and says what came of each."""

import logging
import multiprocessing
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Final

import msgspec
import structlog

from orderflow.runtime.garbage import look_rarely
from orderflow.simulation.choices import Choices
from orderflow.simulation.judging import breaches_of
from orderflow.simulation.plan import Plan, plan_of
from orderflow.simulation.processes import FIRST_REVISION
from orderflow.simulation.races import reached_in
from orderflow.simulation.store import Kind, Store, make_blanks
from orderflow.simulation.story import Line
from orderflow.simulation.virtual_time import START
from orderflow.simulation.world import World

AT_ONCE: Final = 10
"""Seeds that a process is given at a time."""


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """A run to the last detail: its plan, and the faults that strike at their points, by key."""

    plan: Plan
    faults: dict[str, str]
    jitter: bool = True


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one run. ``breaches`` is empty if everything held."""

    seed: int
    breaches: tuple[str, ...]
    reached: frozenset[str]
    schedule: Schedule
    trace: tuple[Line, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was broken."""
        return not self.breaches


class Player:
    """Plays runs on one store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def seed(self, seed: int) -> Outcome:
        """Play the run that belongs to ``seed``."""
        plan = plan_of(seed)
        return self._play(plan, Choices(seed, plan.faults))

    def schedule(self, schedule: Schedule) -> Outcome:
        """Play exactly this."""
        plan = schedule.plan
        return self._play(plan, Choices(plan.seed, {}, schedule.faults, jitter=schedule.jitter), jitter=schedule.jitter)

    def _play(self, plan: Plan, choices: Choices, *, jitter: bool = True) -> Outcome:
        world = World(self.store, plan, choices)
        story = world.play()
        breaches = tuple(dict.fromkeys(breaches_of(world)))
        return Outcome(
            seed=plan.seed,
            breaches=breaches,
            reached=frozenset(reached_in(world)),
            schedule=Schedule(plan=plan, faults=choices.struck, jitter=jitter),
            trace=tuple(story.trace),
        )


@contextmanager
def player(kind: Kind) -> Iterator[Player]:
    """Give a player on a store of its own, in the fastest place there is; the runtime's own log is silent meanwhile."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    folder = Path(tempfile.mkdtemp(prefix="orderflow-", dir=_fast_place()))
    try:
        (folder / "blank").mkdir()
        (folder / "run").mkdir()
        make_blanks(folder / "blank", FIRST_REVISION, START)
        store = Store(folder / "blank", folder / "run", kind)
        yield Player(store)
        store.close()
    finally:
        shutil.rmtree(folder)
        structlog.configure(**before)


def _fast_place() -> str | None:
    """Return a folder in memory, where there is one."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - mkdtemp makes a folder of its own there


def play(seeds: Iterable[int], kind: Kind, jobs: int) -> Iterator[Outcome]:
    """Play ``seeds`` in ``jobs`` processes and yield what came of each, in no order."""
    wanted = list(seeds)
    if jobs == 1:
        with player(kind) as one:
            yield from map(one.seed, wanted)
        return
    parts = [wanted[start : start + AT_ONCE] for start in range(0, len(wanted), AT_ONCE)]
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _begin, (kind,)) as pool:
        for outcomes in pool.map(_play_part, parts):
            yield from outcomes


_PLAYERS: list[Player] = []
_OPEN = ExitStack()
"""What is left when a process ends."""


def _begin(kind: Kind) -> None:
    _PLAYERS.append(_OPEN.enter_context(player(kind)))
    Finalize(None, _OPEN.close, exitpriority=10)
    look_rarely()


def _play_part(seeds: list[int]) -> list[Outcome]:
    return [_PLAYERS[-1].seed(seed) for seed in seeds]
