"""One measurement of one gate, from wherever it is measured.

What pods count only grows, so a measurement is what has come since the one before: the measurer remembers, per gate and
revision, what it read last. Where too few messages have come it goes on from there, so that little traffic gives a
measurement now and then, and not none. After a restart the first has nothing to go by and says so.
"""

import math
import time
from collections.abc import Mapping
from typing import Final

import aiohttp

from orderflow_operator.measuring.pods import read_pods
from orderflow_operator.measuring.prometheus import asked, filled_in, selector
from orderflow_operator.measuring.readings import Reading
from orderflow_operator.measuring.values import MEASURES, Value, spans
from orderflow_operator.rollout.gates import Policy
from orderflow_operator.rollout.model import Measure, Measurement

FRESH: Final = 1.0
"""Seconds for which what pods have said is good for other gates: a pod that does not answer is waited for once."""

Place = tuple[str, str, str]
"""A processor, a gate, and a revision."""
Roots = Mapping[str, str]
"""By pod, the root of the server that has its ``/metrics``."""


class Measurer:
    """Measures gates of one resource."""

    def __init__(self, session: aiohttp.ClientSession, namespace: str, name: str) -> None:
        self._session = session
        self._namespace = namespace
        self._name = name
        self._before: dict[Place, dict[str, Reading]] = {}
        self._after: dict[Place, dict[str, Reading]] = {}
        self._last: dict[tuple[str, str], tuple[float, dict[str, Reading]]] = {}

    async def measure(self, wanted: Measure, policy: Policy, canary: Roots, stable: Roots, now: float) -> Measurement:
        """Return what the gate says of the canary, and of stable beside it.

        Args:
            canary, stable: the pods of the two revisions that ``wanted`` names.
        """
        ours = await self._value(wanted, wanted.revision, policy, canary)
        theirs = await self._value(wanted, wanted.stable, policy, stable)
        if ours.samples is None or ours.samples >= policy.min_samples:
            for revision in (wanted.revision, wanted.stable):
                self._begin_anew((wanted.processor, wanted.gate, revision))
        return Measurement(at=now, value=ours.number, stable=theirs.number, samples=ours.samples, why=ours.why)

    async def _value(self, wanted: Measure, revision: str, policy: Policy, pods: Roots) -> Value:
        if policy.prometheus is not None:
            selects = selector(
                namespace=self._namespace, name=self._name, processor=wanted.processor, revision=revision
            )
            query = filled_in(policy.prometheus.query, selects, policy.interval)
            return await asked(self._session, policy.prometheus.address, query)
        measure = MEASURES.get(wanted.gate)
        if measure is None:
            return Value(None, None, f"nothing here measures {wanted.gate}")
        place = wanted.processor, wanted.gate, revision
        before, after = self._before.get(place), await self._read(wanted.processor, revision, pods)
        self._after[place] = after
        if not after:
            return Value(None, None, "no pod answers")
        if before is None:
            return Value(None, None, "it is the first look at these pods")
        return measure(spans(before, after))

    def _begin_anew(self, place: Place) -> None:
        if place in self._after:
            self._before[place] = self._after.pop(place)

    async def _read(self, processor: str, revision: str, pods: Roots) -> dict[str, Reading]:
        """Return what the pods say now, or have said just now."""
        at, readings = self._last.get((processor, revision), (-math.inf, {}))
        if time.monotonic() - at > FRESH:
            readings = await read_pods(self._session, pods)
            self._last[processor, revision] = time.monotonic(), readings
        return readings
