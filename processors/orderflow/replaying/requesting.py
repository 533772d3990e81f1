"""Asks for a replay and waits for its end.

What was asked for stands in the context's database: it is taken up by whoever owns each partition, and goes on if the
one who asked has gone.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from sqlalchemy import Engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from orderflow.assembly import context_of
from orderflow.replaying.outcome import Outcome, outcome_of
from orderflow.runtime import replay_rows
from orderflow.runtime.database import open_database, reading
from orderflow.runtime.ledger import Partition
from orderflow.runtime.replay_rows import Part
from orderflow.spec.deployment import Deployment

LOOK_AGAIN = 0.5
"""Seconds between looks at how far it has come."""

Tell = Callable[[Sequence[Part]], None]


class NotReplayed(ValueError):  # noqa: N818 - says what happened
    """A replay could not be asked for, or nobody did it; the text is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be replayed: ``topic`` alone, or every topic that the context reads; between two moments, or all."""

    context: str
    topic: str | None
    since: datetime | None
    until: datetime | None
    applies: bool
    rate: int


def replayed(deployment: Deployment, wanted: Wanted, *, patience: float, tell: Tell) -> Outcome:
    """Have the workers of a context replay what is wanted, and return what came of it.

    Args:
        patience: seconds to wait for somebody to do anything; then it is cancelled.
        tell: is told how the parts stand whenever something has changed.

    Raises:
        NotReplayed: it cannot be asked for, nobody took it up, or it was interrupted.
    """
    places = _places(deployment, wanted)
    url = deployment.database_url(wanted.context)
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").exists():
        raise NotReplayed(f"there is no database of {wanted.context} yet")
    engine = open_database(url)
    try:
        replay_id = _asked(engine, places, wanted)
        return outcome_of(wanted.context, _waited_for(engine, replay_id, wanted.context, patience, tell))
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or type(error).__name__).partition("\n")[0]
        raise NotReplayed(f"the database of {wanted.context} does not take a replay: {reason}") from None
    finally:
        engine.dispose()


def _places(deployment: Deployment, wanted: Wanted) -> list[Partition]:
    topics = sorted(context_of(wanted.context, deployment.resource).takes)
    if wanted.topic is not None and wanted.topic not in topics:
        raise NotReplayed(f"{wanted.context} does not read {wanted.topic}; it reads {', '.join(topics)}")
    chosen = [wanted.topic] if wanted.topic is not None else topics
    return [(topic, number) for topic in chosen for number in range(deployment.partitions)]


def _asked(engine: Engine, places: Sequence[Partition], wanted: Wanted) -> str:
    now = datetime.now(UTC)
    replay_id = f"{now:%Y%m%dT%H%M%S}-{uuid4().hex[:6]}"
    with engine.begin() as connection:
        replay_rows.ask(
            connection,
            replay_id,
            places,
            since=wanted.since,
            until=wanted.until,
            applies=wanted.applies,
            rate=wanted.rate,
            now=now,
        )
    return replay_id


def _waited_for(engine: Engine, replay_id: str, context: str, patience: float, tell: Tell) -> list[Part]:
    seen: list[Part] = []
    since = time.monotonic()
    try:
        while True:
            with reading(engine) as connection:
                parts = replay_rows.parts_of(connection, replay_id)
            if parts != seen:
                tell(parts)
                seen, since = parts, time.monotonic()
            if not any(part.status in replay_rows.OPEN for part in parts):
                return parts
            if time.monotonic() - since > patience:
                _cancel(engine, replay_id)
                raise NotReplayed(f"no worker of {context} has done anything for {patience:g} s: is it running?")
            time.sleep(LOOK_AGAIN)
    except KeyboardInterrupt:
        _cancel(engine, replay_id)
        raise NotReplayed(f"replay {replay_id} was cancelled") from None


def _cancel(engine: Engine, replay_id: str) -> None:
    with engine.begin() as connection:
        replay_rows.cancel(connection, replay_id, datetime.now(UTC))
