"""Deciding again what was recorded: yesterday's input, today's code, and whether the bytes are the same.

Pure: whoever asks has read the rows. ``orderflow verify``, a replay inside a running worker and the recorded histories
all ask here, so that they mean the same by "the same decision".
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import msgspec

from orderflow.contracts import codec
from orderflow.contracts.decision import Decision
from orderflow.runtime.context import Context
from orderflow.runtime.recorder import encode_decision


@dataclass(frozen=True, slots=True)
class Kept:
    """One recorded decision with its whole input, as a row of ``decisions`` has it.

    Attributes:
        message: as it was decided: decoded and prepared.
        state: the aggregate before; ``None`` where there was none.
        shared: the shared rows that were visible, by key, as one JSON object.
    """

    message: bytes
    state: bytes | None
    shared: bytes
    decision: bytes


class Unreadable(Exception):  # noqa: N818 - says what the input is
    """The recorded input means nothing to this code; the text says what it stumbled over."""


def decided_again(context: Context[Any], kept: Kept) -> Decision[Any]:
    """Decide on the recorded input.

    Raises:
        Unreadable: the input cannot be read by this code.
        Exception: whatever ``decide`` raises.
    """
    try:
        before = None if kept.state is None else context.aggregate.decode(kept.state)
        message = codec.decode(kept.message)
        visible = _shared(context, kept.shared)
    except (msgspec.MsgspecError, codec.Unreadable) as error:
        raise Unreadable(type(error).__name__) from error
    return context.decide(before, visible, message)


def difference(context: Context[Any], kept: Kept, meant: Collection[str] | None = None) -> str:
    """Return in what today's decision differs from the recorded one, as a half sentence; empty if in nothing.

    It names parts of the decision and never their content, which may be personal.

    Args:
        meant: these parts may differ; if it is there and empty, all may.
    """
    try:
        again = encode_decision(decided_again(context, kept))
    except Unreadable as error:
        return f"has an input that cannot be read ({error})"
    except Exception as error:  # whatever a decision raises now, it did not raise then
        return f"is not decided any more ({type(error).__name__})"
    if again == kept.decision:
        return ""
    differing = _differing(again, kept.decision)
    if meant is not None:
        differing = [part for part in differing if meant and part not in meant]
    return f"is decided differently now, in {', '.join(differing)}" if differing else ""


def _shared(context: Context[Any], shared: bytes) -> dict[str, Any]:
    if context.shared is None:
        return {}
    kind = context.shared.rows.type
    return msgspec.json.decode(shared, type=dict[str, kind])  # type: ignore[valid-type]


def _differing(again: bytes, recorded: bytes) -> list[str]:
    now, then = (msgspec.json.decode(decision, type=dict[str, msgspec.Raw]) for decision in (again, recorded))
    return sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name)) or ["form"]
