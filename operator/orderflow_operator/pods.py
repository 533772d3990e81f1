"""What the pods of a resource say of themselves, while something is on its way.

What was read is not part of the status: an operator that was restarted begins to look anew, and a gate without two
looks has no data.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping

import aiohttp

from orderflow.spec.errors import SpecError
from orderflow_operator.measuring.measurer import Measurer
from orderflow_operator.measuring.pods import read_pods
from orderflow_operator.measuring.readings import Reading
from orderflow_operator.observing import addresses, pods_of
from orderflow_operator.reconcile import Looked, Outcome, resource_of, status_before
from orderflow_operator.rollout.gates import policies
from orderflow_operator.rollout.model import Measure, Measurement
from orderflow_operator.seen import Key
from orderflow_operator.telling import memory_of


class Pods:
    """Looks at pods, and measures gates."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._session: aiohttp.ClientSession | None = None
        self._measurers: dict[Key, Measurer] = {}
        self._measured: dict[Key, dict[str, dict[str, Measurement]]] = {}

    async def outside(self, key: Key, looked: Looked) -> frozenset[str]:
        """Look at the pods of processors that are on their way, and return those that are out of their group."""
        contexts = _under_way(looked)
        if not contexts:
            self.forget(key)
            return frozenset()
        readings = await read_pods(self._http(), addresses(looked.children, contexts), self._now)
        return frozenset(name for name, reading in readings.items() if _is_outside(reading))

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


def _under_way(looked: Looked) -> frozenset[str]:
    """Return the contexts of which more than one revision may have pods."""
    try:
        rollout = memory_of(status_before(looked.body))
    except SpecError:
        return frozenset()
    return frozenset(
        name for name, one in rollout.processors.items() if one.stable and (one.target or set(one.asked) - {one.stable})
    )
