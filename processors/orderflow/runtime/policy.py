"""When to call again: backoff between attempts, and a breaker between them and a provider that is down.

Pure: time is handed in, in seconds of a monotonic clock, and nothing here waits.
"""

from dataclasses import dataclass
from typing import Final, Literal

BACKOFF: Final = (0.2, 0.4, 0.8)
"""Seconds after the first, second and third failure: 2^n x 100 ms for n = 1..3 (distributed-systems-practice)."""

STEADY_BACKOFF: Final = 30.0
"""Seconds after every later failure. A task stays open until it is answered, so it asks on, but gently."""

OPENS_AFTER: Final = 5
"""Consecutive failures after which the breaker opens."""

OPEN_SECONDS: Final = 30.0
"""How long it stays open before it lets one trial through."""

TRIAL_WAIT: Final = 1.0
"""Seconds to postpone a call while a trial is out: its answer decides, and is mostly there within that time."""

State = Literal["closed", "open", "half-open"]


def backoff(failures: int) -> float:
    """Return the seconds to wait before the next attempt, after so many ``failures`` (1 or more) of the same call."""
    if failures < 1:
        raise ValueError(f"backoff follows a failure, got {failures} of them")
    return BACKOFF[failures - 1] if failures <= len(BACKOFF) else STEADY_BACKOFF


@dataclass(frozen=True)
class Permit:
    """Leave to make one call. Its result is told to the breaker under this permit."""

    period: int


class Breaker:
    """Keeps calls away from a provider that fails, and tries it again by one call at a time.

    A failure is what leaves the call to be repeated: ``Unavailable`` and ``Unclear``, that is 408, 429, 5xx, time-outs
    and network errors. An answer is no failure, be it a refusal: whoever refuses is at work.

    Every permit ends in exactly one of :meth:`answered`, :meth:`failed` and :meth:`abandoned`. Results of calls that
    were let through before the state last changed are ignored: they tell of another time.
    """

    def __init__(self) -> None:
        self._state: State = "closed"
        self._failures = 0
        self._opened_at = 0.0
        self._period = 0

    @property
    def state(self) -> State:
        """The state, as the metrics name it. An open breaker half-opens when it is next asked, not by itself."""
        return self._state

    def admit(self, now: float) -> Permit | None:
        """Return leave for one call, or ``None``: then postpone it by :meth:`wait` and count no attempt."""
        if self._state == "open" and now >= self._opened_at + OPEN_SECONDS:
            self._enter("half-open")
            return Permit(self._period)
        return Permit(self._period) if self._state == "closed" else None

    def wait(self, now: float) -> float:
        """Return after how many seconds it is worth asking again; 0 if a call would be let through now."""
        if self._state == "half-open":
            return TRIAL_WAIT
        return max(0.0, self._opened_at + OPEN_SECONDS - now) if self._state == "open" else 0.0

    def answered(self, permit: Permit) -> None:
        """Take note of a definitive answer."""
        if permit.period != self._period:
            return
        self._failures = 0
        if self._state == "half-open":
            self._enter("closed")

    def failed(self, permit: Permit, now: float) -> None:
        """Take note that the call has to be repeated."""
        if permit.period != self._period:
            return
        self._failures += 1
        if self._state == "half-open" or self._failures >= OPENS_AFTER:
            self._opened_at = now
            self._enter("open")

    def abandoned(self, permit: Permit) -> None:
        """Take note that the call ended without saying anything of the provider: the next may be the trial."""
        if permit.period == self._period and self._state == "half-open":
            self._enter("open")

    def _enter(self, state: State) -> None:
        self._state = state
        self._failures = 0
        self._period += 1
