"""Two at once: whoever replays, discards or compensates the same order at the same time, on both databases."""

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from harness.fakes import StillClock
from harness.tally import COMMANDS, NOON, TALLIES, TALLY, ask, decide
from orderflow.contracts import codec
from orderflow.contracts.decision import Decision
from orderflow.contracts.envelope import Message
from orderflow.runtime import dead_letters, inbox, letters
from orderflow.runtime.acts import Behalf
from orderflow.runtime.context import Context
from orderflow.runtime.database import allow_revision, open_database, reading
from orderflow.runtime.incoming import Incoming, Record, read
from orderflow.runtime.ledger import Fenced
from orderflow.runtime.letters import Answer
from orderflow.runtime.readmission import Readmission
from orderflow.runtime.schema import audit_trail, letter_requests, metadata, processed_events
from orderflow.runtime.unit_of_work import UnitOfWork

ADA = Behalf("ada", "mended")
PLACE = (COMMANDS, 0)
PATIENCE = 20.0


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    url = f"sqlite:///{tmp_path}/x.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    engine = open_database(url)
    metadata.create_all(engine)
    TALLY.tables.create_all(engine)
    with engine.begin() as connection:
        allow_revision(connection, "r1", NOON)
    yield engine
    engine.dispose()


def unit(engine: Engine, context: Context[Any] = TALLY, owner: str = "inventory-0/a") -> UnitOfWork:
    return UnitOfWork(context, engine, owner=owner, revision="r1", clock=StillClock(NOON))


def arrived(*messages: Message) -> list[Incoming]:
    return [
        read(Record(COMMANDS, 0, offset, message.key, codec.encode(message), {}))
        for offset, message in enumerate(messages)
    ]


def stop_an_order(engine: Engine, owner: str = "inventory-0/a") -> None:
    """Leave an order's letter with a message behind it, in a partition of ``owner``'s."""
    stopping = unit(engine, owner=owner)
    stopping.claim([PLACE])
    batch = arrived(ask("o1", "break"), ask("o1", number=2))
    stopping.process(batch, {PLACE: (-1, 1, batch[-1].event_id)}, cached={})


def want(engine: Engine) -> Answer:
    with engine.begin() as connection:
        return letters.ask(connection, 1, "replay", ADA, due_at=NOON, now=NOON, quarantine_after=3)


def seen(engine: Engine) -> tuple[str, ...]:
    with reading(engine) as connection:
        found = TALLIES.load(connection, ["o1"], lock=False).get("o1")
    return found.state.seen if found else ()


def statuses(engine: Engine) -> dict[str, str]:
    with reading(engine) as connection:
        event = processed_events.c
        return {row[0]: row[1] for row in connection.execute(select(event.event_id, event.status))}


class Pausing:
    """Mended code, which waits in the middle of its first decision until it is told to go on."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def context(self) -> Context[Any]:
        return replace(TALLY, decide=self._decide)

    def _decide(self, state: Any, visible: Mapping[str, Any], message: Message) -> Decision[Any]:
        self.begun.set()
        assert self.go_on.wait(PATIENCE)
        return decide(state, visible, ask("o1", number=int(message.event_id[-1])))


def carry_out(readmission: Readmission) -> list[str]:
    """Carry out what is due; return what became of it."""
    return [readmission.carry_out(request)[1].outcome for request in readmission.due([PLACE])]


def test_one_of_many_who_ask_at_once_is_heard(engine: Engine) -> None:
    stop_an_order(engine)
    together = threading.Barrier(8)

    def one() -> Answer:
        together.wait(PATIENCE)
        return want(engine)

    with ThreadPoolExecutor(8) as pool:
        answers = [future.result(PATIENCE) for future in [pool.submit(one) for _ in range(8)]]
    assert sorted(answers) == ["asked"] + ["asked-before"] * 7
    with reading(engine) as connection:
        assert len(connection.execute(select(letter_requests)).all()) == 1
        assert len(connection.execute(select(audit_trail).where(audit_trail.c.actor == "ada")).all()) == 1


def test_two_who_carry_the_same_out_decide_once(engine: Engine) -> None:
    stop_an_order(engine)
    want(engine)
    pausing = Pausing()
    readmissions = [Readmission(unit(engine, pausing.context())) for _ in range(2)]
    requests = [readmission.due([PLACE])[0] for readmission in readmissions]
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(readmissions[0].carry_out, requests[0])
        assert pausing.begun.wait(PATIENCE)
        second = pool.submit(readmissions[1].carry_out, requests[1])
        pausing.go_on.set()
        outcomes = [future.result(PATIENCE)[1].outcome for future in (first, second)]
    assert outcomes == ["replayed", "gone"]
    assert seen(engine) == ("ask-o1-1", "ask-o1-2")


def beside(engine: Engine, other: Callable[[], object]) -> "tuple[list[str], Future[object]]":
    """Replay the letter; in the middle of its decision, begin ``other`` in another process."""
    pausing = Pausing()
    readmission = Readmission(unit(engine, pausing.context()))
    with ThreadPoolExecutor(2) as pool:
        replaying = pool.submit(carry_out, readmission)
        assert pausing.begun.wait(PATIENCE)
        doing = pool.submit(other)
        pausing.go_on.set()
        return replaying.result(PATIENCE), doing


def test_a_compensation_beside_a_replay_waits_for_it_and_supersedes_nothing_of_it(engine: Engine) -> None:
    stop_an_order(engine)
    want(engine)

    def supersede() -> None:
        with engine.begin() as connection:
            dead_letters.supersede(connection, "inventory", "o1")
            inbox.supersede(connection, "inventory", "o1")

    outcomes, compensating = beside(engine, supersede)
    compensating.result(PATIENCE)
    assert outcomes == ["replayed"]
    assert statuses(engine) == {"ask-o1-1": "applied", "ask-o1-2": "applied"}


def test_a_successor_has_the_partition_when_the_replay_is_done(engine: Engine) -> None:
    stop_an_order(engine)
    want(engine)
    successor = unit(engine, owner="inventory-1/b")
    outcomes, claiming = beside(engine, lambda: successor.claim([PLACE]))
    claiming.result(PATIENCE)
    assert outcomes == ["replayed"]
    assert seen(engine) == ("ask-o1-1", "ask-o1-2")


def test_whoever_has_lost_the_partition_replays_nothing(engine: Engine) -> None:
    stop_an_order(engine)
    want(engine)
    zombie = Readmission(unit(engine))
    (request,) = zombie.due([PLACE])
    unit(engine, owner="inventory-1/b").claim([PLACE])
    for late in (zombie.begin, zombie.carry_out):
        with pytest.raises(Fenced):
            late(request)
    assert seen(engine) == ()
    assert statuses(engine) == {"ask-o1-1": "dead", "ask-o1-2": "parked"}


def test_asking_while_it_is_being_carried_out_finds_it_done(engine: Engine) -> None:
    stop_an_order(engine)
    want(engine)
    outcomes, asking = beside(engine, lambda: want(engine))
    assert outcomes == ["replayed"]
    assert asking.result(PATIENCE) == "not-open"
