"""What the status says to people and to ``kubectl wait``: pure.

Every condition names the generation that it is about. ``Ready`` is true when what was applied last is what runs, all of
it, so that waiting for it is right the moment after an apply; a release that was taken back leaves it false, though the
one before serves.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec

from orderflow.spec.status import Condition, ConditionType, Truth
from orderflow_operator.problems import Problem
from orderflow_operator.rollout.model import Rollout


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What the conditions follow from.

    Attributes:
        release: what is wanted; empty where that cannot be said.
        problems: what a person has to see to, the gravest first.
        topics: whether the topics are as they are to be; ``None`` while nobody has looked.
        topics_problem: why not.
        waiting: what is not ready yet; empty if all is.
    """

    generation: int
    now: float
    release: str
    rollout: Rollout
    problems: tuple[Problem, ...] = ()
    topics: bool | None = None
    topics_problem: str = ""
    waiting: str = ""
    suspended: bool = False
    paused: bool = False


def conditions(standing: Standing, before: Sequence[Condition]) -> tuple[Condition, ...]:
    """Return all conditions; one that stays as it was keeps its time."""
    told = (_ready(standing), _progressing(standing), _paused(standing), _stalled(standing), *_rest(standing))
    known = {one.type: one for one in before}
    return tuple(_dated(one, known.get(one[0]), standing) for one in told)


def message(standing: Standing) -> str:
    """Return the one sentence for the table."""
    if standing.problems:
        return standing.problems[0].message
    return standing.rollout.message or standing.waiting


def moment(at: float) -> str:
    """Return a time, in seconds since 1970, as Kubernetes writes it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_Told = tuple[ConditionType, Truth, str, str]


def _ready(standing: Standing) -> _Told:
    rollout = standing.rollout
    if standing.problems:
        return "Ready", "False", standing.problems[0].reason, standing.problems[0].message
    if _taken_back(standing):
        return "Ready", "False", "RolledBack", f"release {standing.release} was taken back: {rollout.message}"
    if rollout.phase != "Stable" or rollout.stable != standing.release:
        return "Ready", "False", rollout.phase, rollout.message or "not everything has been taken over yet"
    if standing.topics is not True:
        return "Ready", "False", "TopicsNotReady", standing.topics_problem or "the topics are not ready yet"
    if standing.waiting:
        return "Ready", "False", "Starting", standing.waiting
    return "Ready", "True", "Running", f"release {standing.release} runs"


def _progressing(standing: Standing) -> _Told:
    rollout = standing.rollout
    going = bool(rollout.target) or rollout.phase in {"Installing", "RollingBack"}
    word = rollout.phase if going else "Complete"
    return "Progressing", "True" if going else "False", word, rollout.message if going else ""


def _paused(standing: Standing) -> _Told:
    if standing.suspended:
        return "Paused", "True", "Suspended", "spec.suspend is true: everything is left as it is"
    if standing.paused:
        return "Paused", "True", "Paused", "spec.paused is true: rollouts stay at their step"
    if standing.rollout.phase == "Paused":
        return "Paused", "True", standing.rollout.reason, standing.rollout.message
    return "Paused", "False", "NotPaused", ""


def _stalled(standing: Standing) -> _Told:
    if standing.problems:
        return "Stalled", "True", standing.problems[0].reason, " ".join(f"{one.message}." for one in standing.problems)
    return "Stalled", "False", "NotStalled", ""


def _rest(standing: Standing) -> Iterable[_Told]:
    truth: Truth = "Unknown" if standing.topics is None else "True" if standing.topics else "False"
    reason = {"True": "TopicsReady", "False": "TopicsNotReady", "Unknown": "NotLooked"}[truth]
    yield "TopicsReady", truth, reason, standing.topics_problem
    if _taken_back(standing):
        yield "RolledBack", "True", _rollback_reason(standing.rollout), standing.rollout.message
    else:
        yield "RolledBack", "False", "NotRolledBack", ""


def _rollback_reason(rollout: Rollout) -> str:
    return rollout.last_rollback.reason if rollout.last_rollback is not None else "RolledBack"


def _taken_back(standing: Standing) -> bool:
    return bool(standing.release) and standing.rollout.refused == standing.release


def _dated(told: _Told, before: Condition | None, standing: Standing) -> Condition:
    kind, truth, reason, text = told
    same = before is not None and before.status == truth
    return Condition(
        type=kind,
        status=truth,
        observed_generation=standing.generation,
        last_transition_time=before.last_transition_time if same and before is not None else moment(standing.now),
        reason=reason or truth,
        message=text,
    )
