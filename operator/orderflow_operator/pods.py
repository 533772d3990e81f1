"""What the pods of a resource say of themselves, while something is on its way: looked at and remembered for a while.

What was seen is not part of the status: an operator that was restarted begins to look anew, and a gate without two
looks has no data.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from orderflow.spec.errors import SpecError
from orderflow.spec.rollout import Prometheus
from orderflow_operator.observing import addresses, pods_of
from orderflow_operator.reconcile import Looked, Outcome, resource_of, status_before
from orderflow_operator.rollout.gates import Policy, policies
from orderflow_operator.rollout.model import Measure, Measurement
from orderflow_operator.samples import Look, is_outside, measured
from orderflow_operator.scraping import look, queried
from orderflow_operator.seen import Key
from orderflow_operator.telling import memory_of

LOOKS: Final = 150
"""So many looks are remembered: at one a second, longer than most gates' interval."""


class Pods:
    """Looks at pods, and measures gates."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._looks: dict[Key, deque[Look]] = {}
        self._measured: dict[Key, dict[str, dict[str, Measurement]]] = defaultdict(lambda: defaultdict(dict))

    async def outside(self, key: Key, looked: Looked) -> frozenset[str]:
        """Look at the pods of processors that are on their way, and return those that are out of their group."""
        contexts = _under_way(looked)
        if not contexts:
            self.forget(key)
            return frozenset()
        latest = await look(self._now(), addresses(looked.children, contexts))
        self._looks.setdefault(key, deque(maxlen=LOOKS)).append(latest)
        return frozenset(name for name, values in latest.pods.items() if is_outside(values))

    def measurements(self, key: Key) -> Mapping[str, Mapping[str, Measurement]]:
        """Return the last measurement of each gate, by context."""
        return self._measured.get(key, {})

    async def measure(self, key: Key, looked: Looked, outcome: Outcome) -> None:
        """Carry out what the decision wants to have measured."""
        wanted = [one for one in outcome.actions if isinstance(one, Measure)]
        if not wanted:
            return
        processors = resource_of(looked.body).spec.processors
        for one in wanted:
            policy = policies(processors.of(one.processor).gates)[one.gate]
            self._measured[key][one.processor][one.gate] = await self._measure(key, looked, one, policy)

    def forget(self, key: Key) -> None:
        """Forget what was seen."""
        self._looks.pop(key, None)
        self._measured.pop(key, None)

    async def _measure(self, key: Key, looked: Looked, wanted: Measure, policy: Policy) -> Measurement:
        revisions = (wanted.revision, wanted.stable)
        if policy.prometheus is not None:
            canary, stable = [await self._asked(key, wanted, policy.prometheus, policy, one) for one in revisions]
        else:
            canary, stable = (self._seen(key, looked, wanted, policy, one) for one in revisions)
        return msgspec.structs.replace(canary, stable=stable.value)

    def _seen(self, key: Key, looked: Looked, wanted: Measure, policy: Policy, revision: str) -> Measurement:
        looks = self._looks.get(key, deque())
        if len(looks) < 2:
            return Measurement(at=looked.now, why="the pods have not been looked at twice yet")
        after = looks[-1]
        before = next((one for one in reversed(looks) if after.at - one.at >= policy.interval), looks[0])
        return measured(wanted.gate, before, after, pods_of(looked.children, wanted.processor, revision))

    async def _asked(
        self, key: Key, wanted: Measure, prometheus: Prometheus, policy: Policy, revision: str
    ) -> Measurement:
        value = await queried(prometheus.address, _filled(key, wanted, prometheus.query, policy, revision))
        why = "" if value is not None else f"{prometheus.address} has no single value for the query"
        return Measurement(at=self._now(), value=value, why=why)


def _filled(key: Key, wanted: Measure, query: str, policy: Policy, revision: str) -> str:
    labels = {"namespace": key.namespace, "orderflow": key.name, "context": wanted.processor, "revision": revision}
    selector = ",".join(f'{name}="{value}"' for name, value in labels.items())
    interval = f"{max(1, round(policy.interval))}s"
    return query.replace("{{ selector }}", selector).replace("{{ interval }}", interval)


def _under_way(looked: Looked) -> frozenset[str]:
    """Return the contexts of which more than one revision may have pods."""
    try:
        rollout = memory_of(status_before(looked.body))
    except SpecError:
        return frozenset()
    return frozenset(
        name for name, one in rollout.processors.items() if one.stable and (one.target or set(one.asked) - {one.stable})
    )
