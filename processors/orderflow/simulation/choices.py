"""Chance, by name: each fault of a run has a key that says where it struck, and can be left out without moving others.

A key names the point, who was there, and the how-manieth time: ``publish payment-0 3``. Whether a fault strikes there
follows from seed and key alone, not from how many numbers were drawn before. So a run is described by the faults that
struck, and it can be played again with some of them left out.
"""

from collections import Counter
from collections.abc import Mapping
from hashlib import blake2b

Rates = Mapping[str, Mapping[str, float]]
"""Per point, the chance of each fault there, from 0 to 1."""


class Choices:
    """What chance decides in one run.

    Args:
        rates: how often which fault strikes.
        given: the faults to play, by key; nothing else strikes then. ``None`` leaves it to chance.
        jitter: whether delays differ; without it each takes its least.

    Attributes:
        active: whether faults strike at all. The faults of a run stop before it is judged.
        struck: the faults that did, by key, in their order.
    """

    def __init__(self, seed: int, rates: Rates, given: Mapping[str, str] | None = None, *, jitter: bool = True) -> None:
        self._seed = str(seed).encode()
        self._rates = rates
        self._given = given
        self._jitter = jitter
        self._times: Counter[str] = Counter()
        self.active = True
        self.struck: dict[str, str] = {}

    def fault(self, point: str, who: str) -> str:
        """Return the fault that strikes ``who`` at ``point`` this time; mostly none, which is the empty string."""
        rates = self._rates.get(point)
        if not self.active or (rates is None and self._given is None):
            return ""
        key = self._key(point, who)
        fault = self._given.get(key, "") if self._given is not None else self._drawn(rates or {}, key)
        if fault:
            self.struck[key] = fault
        return fault

    def _drawn(self, rates: Mapping[str, float], key: str) -> str:
        number = self._number(key)
        for fault, rate in rates.items():
            number -= rate
            if number < 0:
                return fault
        return ""

    def span(self, what: str, who: str, least: float, most: float) -> float:
        """Return a delay between ``least`` and ``most`` seconds, of a kind that belongs to every run."""
        if not self._jitter:
            return least
        return least + (most - least) * self._number(self._key(f"time of {what}", who))

    def measure(self, what: str, who: str, least: float, most: float) -> float:
        """Return the size of a fault, between ``least`` and ``most``: it stays what it was when others are left out."""
        return least + (most - least) * self._number(self._key(f"size of {what}", who))

    def _key(self, point: str, who: str) -> str:
        name = f"{point} {who}"
        self._times[name] += 1
        return f"{name} {self._times[name]}"

    def _number(self, key: str) -> float:
        """Return a number from 0 to 1 that follows from the seed and ``key``."""
        digest = blake2b(key.encode(), digest_size=7, key=self._seed).digest()
        return int.from_bytes(digest) / 2**56
