"""The pure orchestration: a saga and what a message says of it give the next saga and what to ask for.

:func:`begin` starts a saga, :func:`react` does what the table says. What comes out names steps, requests and attempts;
whoever knows the order's content makes messages of it.
"""

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from orderflow.contracts.decision import Outcome, Transition
from orderflow.saga.flow import Plan
from orderflow.saga.moves import Ask, Move, Signal, deadline_task
from orderflow.saga.protocol import PROTOCOLS, Canonical
from orderflow.saga.state import Progress, Saga, compensation_id, request_id
from orderflow.saga.table import NOBODY, TABLE, Action, Kind, Phase, Standing, Status

LONGEST_REASON = 1_000
"""Characters: a participant's reason is repeated in messages and columns, and is no place for a document."""


def begin(order_id: str, plan: Plan) -> Move:
    """Return the first move of an order: accepted, and its first step asked."""
    saga = Saga(
        order_id=order_id,
        plan=plan,
        phase=Phase.FORWARD,
        status="PENDING",
        word=plan.words.created,
        steps=tuple(Progress(step=step.name) for step in plan.steps),
    )
    asked, ask = _ask(saga, saga.steps[0])
    created = Transition(before="", after=saga.status)
    return Move(saga=asked, action=Action.ACCEPT, outcome="applied", asks=(ask,), transitions=(created,))


def action_for(saga: Saga | None, kind: Kind, step: str) -> Action:
    """Return what the table says; ``saga`` is ``None`` for an order that is not there."""
    standing: Standing = NOBODY if saga is None else saga.standing(step)
    return TABLE[standing, kind]


def react(saga: Saga, signal: Signal) -> Move:
    """Return what the saga does about ``signal``. Total: there is no saga and no signal for which it raises."""
    action = action_for(saga, signal.kind, signal.step)
    progress = saga.progress(signal.step)
    if progress is None or action not in _MOVES:
        return Move(saga=saga, action=action, outcome=_OUTCOMES.get(action, "applied"))
    return _MOVES[action](saga, progress, signal)


_OUTCOMES: Mapping[Action, Outcome] = {
    Action.IMPOSSIBLE: "ignored",
    Action.IGNORE: "ignored",
    Action.REFUSE: "ignored",
    Action.LATE: "late",
    Action.REPEAT: "repeated",
}


def _advance(saga: Saga, progress: Progress, signal: Signal) -> Move:
    done, transition = _done(saga, progress, signal)
    following = next(done.waiting(), None)
    if following is None:
        return _complete(done, Action.ADVANCE, _deadlines(progress), transition)
    asked, ask = _ask(done, following)
    return Move(
        saga=asked,
        action=Action.ADVANCE,
        outcome="applied",
        asks=(ask,),
        ended=_deadlines(progress),
        transitions=(transition,),
    )


def _go_forward_again(saga: Saga, progress: Progress, signal: Signal) -> Move:
    done, transition = _done(saga.having(reason=""), progress, signal)
    return _complete(done, Action.GO_FORWARD_AGAIN, _deadlines(progress), transition)


def _ship_by_report(saga: Saga, progress: Progress, signal: Signal) -> Move:
    shipped, transition = _show(saga, "SHIPPED", progress, signal.reason)
    move = _complete(shipped, Action.SHIP_BY_REPORT, _deadlines(progress), transition)
    undoing, ask = _undo(move.saga, progress)
    return replace(move, saga=undoing, asks=(ask,))


def _done(saga: Saga, progress: Progress, signal: Signal) -> tuple[Saga, Transition]:
    heard = progress.heard_of(signal.reference, confirmed=signal.confirmed)
    done = saga.having(replace(heard, status=Status.DONE))
    return _show(done, PROTOCOLS[progress.step].done, progress)


def _complete(saga: Saga, action: Action, ended: tuple[str, ...], transition: Transition) -> Move:
    completed, last = _show(saga.having(phase=Phase.COMPLETED), "COMPLETED")
    return Move(
        saga=completed,
        action=action,
        outcome="applied",
        ended=ended,
        transitions=(transition, last),
        ending="completed",
    )


def _fail(saga: Saga, progress: Progress, signal: Signal) -> Move:
    failed = replace(progress, status=Status.FAILED)
    return _leave(saga.having(failed), _deadlines(progress), Action.FAIL, failed, signal)


def _give_up(saga: Saga, progress: Progress, signal: Signal) -> Move:
    return _leave(saga, _deadlines(progress), Action.GIVE_UP, progress, signal)


def _turn_back(saga: Saga, progress: Progress, signal: Signal) -> Move:
    return _leave(saga, _deadlines(*saga.steps), Action.TURN_BACK, progress, signal)


def _cancel(saga: Saga, progress: Progress, signal: Signal) -> Move:
    return _leave(saga, _deadlines(*saga.steps), Action.CANCEL, None, signal)


def _leave(saga: Saga, ended: tuple[str, ...], action: Action, because_of: Progress | None, signal: Signal) -> Move:
    """Leave the way forward."""
    back = saga.having(phase=Phase.COMPENSATING, reason=signal.reason[:LONGEST_REASON])
    return _go_back(back, action, ended, because_of, signal.reason)


def _go_back(
    saga: Saga, action: Action, ended: tuple[str, ...], progress: Progress | None = None, detail: str = ""
) -> Move:
    """Undo the step whose turn it is; with nothing left to undo, cancel."""
    target = saga.to_undo()
    if target is None:
        return _close(saga, action, ended, progress, detail)
    shown, transition = _show(saga, "COMPENSATING", progress, detail)
    undoing, ask = _undo(shown, target)
    return Move(saga=undoing, action=action, outcome="applied", asks=(ask,), ended=ended, transitions=(transition,))


def _close(saga: Saga, action: Action, ended: tuple[str, ...], progress: Progress | None, detail: str) -> Move:
    end: Canonical = "FAILED" if saga.plan.only_ships else "CANCELLED"
    closed, transition = _show(saga.having(phase=Phase.CANCELLED), end, progress, detail)
    return Move(
        saga=closed,
        action=action,
        outcome="applied",
        ended=ended,
        transitions=(transition,),
        ending="cancelled",
    )


def _settle(saga: Saga, progress: Progress, signal: Signal) -> Move:
    ended = _deadlines(progress)
    answered = _without_what_was_undone(progress, signal)
    settled = saga.having(answered)
    if saga.phase is Phase.COMPENSATING:
        return _go_back(settled, Action.SETTLE, ended, progress, "undone")
    if answered.needs_undoing:
        return _undo_late(settled, answered, ended, Action.SETTLE)
    _, transition = _show(saga, saga.status, progress, "undone")
    return Move(saga=settled, action=Action.SETTLE, outcome="applied", ended=ended, transitions=(transition,))


def _without_what_was_undone(progress: Progress, signal: Signal) -> Progress:
    """Return the step as its compensation's answer leaves it: undone, unless something else has succeeded meanwhile.

    The answer covers what it names, and what its request was for. Where it names nothing though there was something to
    undo, that was what the order knew of.
    """
    covered = {progress.undoing}
    if signal.effective:
        covered.add(signal.reference or progress.reference)
    undone = (*progress.undone, *sorted(name for name in covered if name and name not in progress.undone))
    answered = replace(progress, undone=undone)
    return replace(answered, status=Status.DONE if answered.left else Status.UNDONE)


def _remember(saga: Saga, progress: Progress, signal: Signal) -> Move:
    return _note(saga, progress.heard_of(signal.reference, confirmed=signal.confirmed), Action.REMEMBER, signal)


def _owe(saga: Saga, progress: Progress, signal: Signal) -> Move:
    heard = progress.heard_of(signal.reference, confirmed=signal.confirmed)
    status = Status.UNDOING if progress.status is Status.UNDOING else Status.DONE
    return _note(saga, replace(heard, status=status), Action.OWE, signal)


def _note(saga: Saga, progress: Progress, action: Action, signal: Signal) -> Move:
    _, transition = _show(saga, saga.status, progress, signal.reason)
    return Move(saga=saga.having(progress), action=action, outcome="applied", transitions=(transition,))


def _undo_late_success(saga: Saga, progress: Progress, signal: Signal) -> Move:
    heard = progress.heard_of(signal.reference, confirmed=signal.confirmed)
    return _undo_late(saga.having(heard), heard, (), Action.UNDO_LATE)


def _undo_late(saga: Saga, progress: Progress, ended: tuple[str, ...], action: Action) -> Move:
    undoing, ask = _undo(saga, progress)
    _, transition = _show(saga, saga.status, progress, "succeeded late: it is undone")
    return Move(saga=undoing, action=action, outcome="applied", asks=(ask,), ended=ended, transitions=(transition,))


def _concede(saga: Saga, progress: Progress, signal: Signal) -> Move:
    conceded = replace(progress, status=Status.DONE)
    return replace(_note(saga, conceded, Action.CONCEDE, signal), ended=_deadlines(progress))


def _record(saga: Saga, progress: Progress, signal: Signal) -> Move:
    return replace(_note(saga, progress, Action.RECORD, signal), outcome="late")


def _ask_again(saga: Saga, progress: Progress, signal: Signal) -> Move:
    asked, ask = _ask(saga, progress)
    return _asked_again(asked, ask, Action.ASK_AGAIN)


def _ask_again_to_undo(saga: Saga, progress: Progress, signal: Signal) -> Move:
    asked, ask = _ask_to_undo(saga, progress)
    return _asked_again(asked, ask, Action.ASK_AGAIN_TO_UNDO)


def _asked_again(saga: Saga, ask: Ask, action: Action) -> Move:
    again = Transition(before=saga.status, after=saga.status, step=ask.step, attempt=ask.attempt, detail="asked again")
    return Move(saga=saga, action=action, outcome="applied", asks=(ask,), transitions=(again,))


def _show_processing(saga: Saga, progress: Progress, signal: Signal) -> Move:
    word = saga.plan.words.compensating
    if word is None or word == saga.word:
        return Move(saga=saga, action=Action.SHOW_PROCESSING, outcome="repeated")
    return _note(saga.having(word=word), progress, Action.SHOW_PROCESSING, signal)


_MOVES: Mapping[Action, Callable[[Saga, Progress, Signal], Move]] = {
    Action.ADVANCE: _advance,
    Action.FAIL: _fail,
    Action.ASK_AGAIN: _ask_again,
    Action.GIVE_UP: _give_up,
    Action.TURN_BACK: _turn_back,
    Action.CANCEL: _cancel,
    Action.SETTLE: _settle,
    Action.ASK_AGAIN_TO_UNDO: _ask_again_to_undo,
    Action.GO_FORWARD_AGAIN: _go_forward_again,
    Action.REMEMBER: _remember,
    Action.OWE: _owe,
    Action.UNDO_LATE: _undo_late_success,
    Action.CONCEDE: _concede,
    Action.RECORD: _record,
    Action.SHOW_PROCESSING: _show_processing,
    Action.SHIP_BY_REPORT: _ship_by_report,
}


def _ask(saga: Saga, progress: Progress) -> tuple[Saga, Ask]:
    planned = saga.plan.step(progress.step)
    assert planned is not None
    attempt = progress.attempt + 1
    request = request_id(saga.order_id, progress.step)
    ask = Ask(step=progress.step, request_id=request, attempt=attempt, deadline=planned.deadline(attempt))
    return saga.having(replace(progress, status=Status.ASKED, attempt=attempt, request=request)), ask


def _undo(saga: Saga, progress: Progress) -> tuple[Saga, Ask]:
    """Begin a compensation: the first of a step under the one id, one for what came later under an id of its own."""
    undoing = next(iter(progress.left), None)
    later = undoing if progress.compensation else None
    begun = replace(
        progress,
        status=Status.UNDOING,
        undoing=undoing,
        compensation=compensation_id(saga.order_id, progress.step, later),
    )
    return _ask_to_undo(saga, begun)


def _ask_to_undo(saga: Saga, progress: Progress) -> tuple[Saga, Ask]:
    planned = saga.plan.step(progress.step)
    assert planned is not None
    attempt = progress.compensations + 1
    ask = Ask(
        step=progress.step,
        request_id=progress.compensation,
        attempt=attempt,
        deadline=planned.backoff(attempt),
        compensating=True,
        # A name that no reply to a request of ours has used may be nobody's: the participant would refuse it.
        reference=progress.undoing if progress.undoing == progress.confirmed else None,
    )
    return saga.having(replace(progress, compensations=attempt)), ask


def _deadlines(*steps: Progress) -> tuple[str, ...]:
    """Return the ids of the deadlines that run for ``steps``."""
    asked = (deadline_task(step.request, step.attempt) for step in steps if step.status is Status.ASKED)
    undoing = (deadline_task(step.compensation, step.compensations) for step in steps if step.status is Status.UNDOING)
    return (*asked, *undoing)


def _show(saga: Saga, status: Canonical, progress: Progress | None = None, detail: str = "") -> tuple[Saga, Transition]:
    """Return the saga in another status, with the word for it, and the line for the audit trail."""
    compensating = progress is not None and progress.status is Status.UNDOING
    transition = Transition(
        before=saga.status,
        after=status,
        step=progress.step if progress else "",
        attempt=(progress.compensations if compensating else progress.attempt) if progress else 0,
        detail=detail[:LONGEST_REASON],
    )
    return saga.having(status=status, word=saga.plan.words.word_for(status) or saga.word), transition
