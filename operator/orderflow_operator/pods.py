"""What the pods of a resource say of themselves, while something is on its way.

What was read is not part of the status: an operator that was restarted begins to look anew, and a gate without two
looks has no data.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping

import aiohttp
import msgspec

from orderflow.spec.errors import SpecError
from orderflow.spec.resource import CONTEXTS
from orderflow_operator.measuring.measurer import Measurer
from orderflow_operator.measuring.pods import read_pods
from orderflow_operator.measuring.readings import Reading
from orderflow_operator.measuring.values import letters_seen, rate, spans
from orderflow_operator.observing import addresses, pods_of
from orderflow_operator.reconcile import Looked, Outcome, resource_of, status_before
from orderflow_operator.rollout.gates import policies
from orderflow_operator.rollout.model import LettersSeen, Measure, Measurement, ProcessorRollout, Rollout
from orderflow_operator.seen import Key
from orderflow_operator.telling import memory_of


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the pods have told.

    Attributes:
        outside: the pods that say that they are out of their group, and are to be.
        letters: by context, what stable's pods say of the target's dead letters.
        rates: by context, messages that all pods recorded per second since the last look.
    """

    outside: frozenset[str] = frozenset()
    letters: dict[str, LettersSeen] = {}
    rates: dict[str, float] = {}


class Pods:
    """Looks at pods, and measures gates."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._session: aiohttp.ClientSession | None = None
        self._measurers: dict[Key, Measurer] = {}
        self._measured: dict[Key, dict[str, dict[str, Measurement]]] = {}
        self._before: dict[Key, Mapping[str, Reading]] = {}

    async def look(self, key: Key, looked: Looked) -> Told:
        """Look at the pods of processors that are on their way, or are scaled by what they do."""
        rollout = _rollout(looked)
        under_way = frozenset(name for name, one in rollout.processors.items() if _is_under_way(one))
        if not under_way:
            self._measurers.pop(key, None)
            self._measured.pop(key, None)
        contexts = under_way | _scaled(looked)
        if not contexts:
            self._before.pop(key, None)
            return Told()
        readings = await read_pods(self._http(), addresses(looked.children, contexts), self._now)
        before, self._before[key] = self._before.get(key, {}), readings
        return Told(
            outside=frozenset(name for name, reading in readings.items() if _is_outside(reading)),
            letters={
                context: letters_seen(_of(readings, looked, context, one.stable), one.target)
                for context, one in rollout.processors.items()
                if context in under_way and one.target
            },
            rates={context: rate(spans(*(_all_of(one, looked, context) for one in (before, readings))))
                   for context in contexts if before},
        )  # fmt: skip

    def measurements(self, key: Key) -> Mapping[str, Mapping[str, Measurement]]:
        """Return the last measurement of each gate, by context."""
        return self._measured.get(key, {})

    async def measure(self, key: Key, looked: Looked, outcome: Outcome) -> None:
        """Carry out what the decision wants to have measured."""
        wanted = [one for one in outcome.actions if isinstance(one, Measure)]
        if not wanted:
            return
        measurer = self._measurers.setdefault(key, Measurer(self._http(), key.namespace, key.name))
        known = self._measured.setdefault(key, defaultdict(dict))
        processors = resource_of(looked.body).spec.processors
        roots = addresses(looked.children, {one.processor for one in wanted})
        for one in wanted:
            policy = policies(processors.of(one.processor).gates)[one.gate]
            canary, stable = (
                {pod: roots[pod] for pod in pods_of(looked.children, one.processor, revision) if pod in roots}
                for revision in (one.revision, one.stable)
            )
            known[one.processor][one.gate] = await measurer.measure(one, policy, canary, stable, self._now())

    def forget(self, key: Key) -> None:
        """Forget what was seen."""
        self._measurers.pop(key, None)
        self._measured.pop(key, None)
        self._before.pop(key, None)

    async def close(self) -> None:
        """Let go of all connections."""
        if self._session is not None:
            await self._session.close()

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        return self._session


def _is_outside(reading: Reading) -> bool:
    """Tell whether a pod says that it is out of its group, and has read that it is to be."""
    return not reading.member and reading.allowed == 0


def _rollout(looked: Looked) -> Rollout:
    try:
        return memory_of(status_before(looked.body))
    except SpecError:
        return Rollout()


def _is_under_way(processor: ProcessorRollout) -> bool:
    """Tell whether more than one revision of a processor may have pods."""
    return bool(processor.stable and (processor.target or set(processor.asked) - {processor.stable}))


def _scaled(looked: Looked) -> frozenset[str]:
    processors = resource_of(looked.body).spec.processors
    return frozenset(context for context in CONTEXTS if processors.of(context).autoscaling is not None)


def _of(readings: Mapping[str, Reading], looked: Looked, context: str, revision: str) -> dict[str, Reading]:
    return {name: readings[name] for name in pods_of(looked.children, context, revision) if name in readings}


def _all_of(readings: Mapping[str, Reading], looked: Looked, context: str) -> dict[str, Reading]:
    return {name: readings[name] for name in addresses(looked.children, {context}) if name in readings}
