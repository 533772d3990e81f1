"""Which dead letters are replayed without anybody's asking, and when. Pure: time is handed in.

Some causes pass by themselves: rows that were fought over are free again, a writer that was ahead of its readers is not
once these are rolled out too. Each such cause has a policy, with a bounded number of attempts and ever longer waits.
All other letters are left to people.
"""

from datetime import timedelta
from typing import Annotated, Final, Literal

import msgspec

AUTOMATIC: Final = "orderflow"
"""The actor in whose name a policy acts."""

Cause = Literal[
    "undecodable",
    "unknown-type",
    "unknown-major",
    "invalid",
    "conflict",
    "refused",
    "decide-failed",
    "data-error",
    "kills-the-process",
    "left-behind",
]
"""Every cause that a dead letter can have."""

Wait = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
"""Seconds, up to a day: a letter that may wait for longer may wait for a person."""


class ReplayPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """How the letters of one cause are replayed.

    Attributes:
        attempts: how many replays may fail until the letter is left to people.
        first_wait_seconds: from a letter's making to its first replay; every later wait is twice as long.
        longest_wait_seconds: what no wait exceeds.
    """

    cause: Cause
    attempts: Annotated[int, msgspec.Meta(ge=1, le=20)] = 3
    first_wait_seconds: Wait = 5.0
    longest_wait_seconds: Wait = 300.0


TRANSIENT: Final = (
    ReplayPolicy(cause="data-error"),
    ReplayPolicy(cause="unknown-type", first_wait_seconds=30.0),
    ReplayPolicy(cause="unknown-major", first_wait_seconds=30.0),
)
"""The policies where none are configured: rows that were fought over, and writers that are ahead of their readers."""


class DeadLetterRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What is done about messages that could not be decided, before a person does something.

    Attributes:
        automatic: a policy for each cause whose letters are replayed by themselves; all others are left to people.
        quarantine_after: failed replays, whoever asked for them, after which a letter is replayed only if it is named
            and the replay forced. By default the three attempts of a policy, and two of people's, who by then know.
    """

    automatic: tuple[ReplayPolicy, ...] = TRANSIENT
    quarantine_after: Annotated[int, msgspec.Meta(ge=1, le=100)] = 5


def wait_before(policy: ReplayPolicy, failed: int) -> timedelta:
    """Return how long a letter waits for its next replay, from when it was made or last tried.

    Args:
        failed: how many of its replays have failed.
    """
    return timedelta(seconds=min(policy.first_wait_seconds * 2**failed, policy.longest_wait_seconds))
