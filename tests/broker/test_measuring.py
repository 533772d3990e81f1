"""Gates measured where users measure them: on processors' own metrics over HTTP, and in a real Prometheus."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aiohttp
import msgspec
import pytest

from orderflow.runtime.health import HealthServer
from orderflow.runtime.telemetry import Telemetry
from orderflow.spec.rollout import Prometheus as Source
from orderflow.spec.rollout import ThresholdRange
from orderflow_operator.measuring import measurer as measurer_module
from orderflow_operator.measuring.measurer import Measurer
from orderflow_operator.rollout.gates import BUILT_IN, Policy
from orderflow_operator.rollout.model import Measure, Measurement
from servers.process import free_port
from servers.prometheus import Prometheus

GATE = Measure(processor="payment", gate="error-rate", revision="new", stable="old")


class Pod:
    """The part of a processor that is looked at."""

    def __init__(self) -> None:
        self.telemetry = Telemetry("payment")
        self.port = free_port()
        self.server = HealthServer("127.0.0.1", self.port, list, list, self.telemetry.registry)

    def works(self, *, good: int, bad: int = 0) -> None:
        outcomes = {("PaymentRequested", "applied"): good, ("PaymentRequested", "dead"): bad}
        self.telemetry.batch_recorded(outcomes, good + bad, 0.02)


@pytest.fixture
async def pods() -> AsyncIterator[tuple[Pod, Pod]]:
    canary, stable = Pod(), Pod()
    async with AsyncExitStack() as stack:
        for pod in (canary, stable):
            await pod.server.start()
            stack.push_async_callback(pod.server.stop)
        yield canary, stable


async def test_pods_are_compared_by_what_they_did_since_the_last_look(
    pods: tuple[Pod, Pod], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurer_module, "FRESH", 0.0)
    canary, stable = pods
    ours, theirs = ({"pod": f"http://127.0.0.1:{pod.port}"} for pod in pods)
    async with aiohttp.ClientSession() as session:
        measurer = Measurer(session, "shop", "orders")

        async def measured() -> Measurement:
            return await measurer.measure(GATE, BUILT_IN["error-rate"], ours, theirs, now=1.0)

        canary.works(good=1000, bad=1000)
        assert (await measured()).why == "it is the first look at these pods"
        canary.works(good=80, bad=20)
        stable.works(good=100)
        found = await measured()
        assert (found.value, found.stable, found.samples) == (0.2, 0.0, 100.0)
        await canary.server.stop()
        assert (await measured()).why == "no pod answers"


async def test_little_traffic_gives_a_measurement_now_and_then(
    pods: tuple[Pod, Pod], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurer_module, "FRESH", 0.0)
    canary, stable = pods
    ours, theirs = ({"pod": f"http://127.0.0.1:{pod.port}"} for pod in pods)
    samples = []
    async with aiohttp.ClientSession() as session:
        measurer = Measurer(session, "shop", "orders")
        for _ in range(6):
            found = await measurer.measure(GATE, BUILT_IN["error-rate"], ours, theirs, now=1.0)
            samples.append(found.samples)
            canary.works(good=20)
            stable.works(good=20)
    assert BUILT_IN["error-rate"].min_samples == 50
    assert samples == [None, 20, 40, 60, 20, 40]


async def test_several_gates_are_measured_by_one_look(pods: tuple[Pod, Pod]) -> None:
    canary, _ = pods
    root = {"pod": f"http://127.0.0.1:{canary.port}"}
    async with aiohttp.ClientSession() as session:
        measurer = Measurer(session, "shop", "orders")
        await measurer.measure(GATE, BUILT_IN["error-rate"], root, root, now=1.0)
        await canary.server.stop()
        found = await measurer.measure(
            msgspec.structs.replace(GATE, gate="lag-growth"), BUILT_IN["lag-growth"], root, root, now=1.0
        )
    assert found.why == "it is the first look at these pods"


async def test_prometheus_is_asked_for_each_revision(pods: tuple[Pod, Pod]) -> None:
    canary, stable = pods
    canary.works(good=3, bad=1)
    stable.works(good=8)
    labels = {"namespace": "shop", "orderflow": "orders", "component": "payment"}
    targets = {
        f"127.0.0.1:{pod.port}": {**labels, "revision": revision}
        for pod, revision in zip(pods, ("new", "old"), strict=True)
    }
    prometheus = await asyncio.to_thread(Prometheus, targets)
    try:
        async with aiohttp.ClientSession() as session:
            measurer = Measurer(session, "shop", "orders")

            async def measured(query: str, address: str = prometheus.address) -> Measurement:
                source = Source(address=address, query=query)
                policy = Policy(name="mine", prometheus=source, range=ThresholdRange(max=0))
                return await measurer.measure(GATE, policy, {}, {}, now=1.0)

            total = "sum(orderflow_messages_processed_total{ {{ selector }} })"
            async with asyncio.timeout(30):
                while (found := await measured(total)).value is None or found.stable is None:
                    await asyncio.to_thread(prometheus.scraped_again)
            assert (found.value, found.stable) == (4.0, 8.0)
            assert (await measured("no_such_metric{ {{ selector }} }")).why == "no series"
            assert "parse error" in (await measured("sum(")).why
            gone = f"http://127.0.0.1:{free_port()}"
            assert "does not answer" in (await measured(total, gone)).why
    finally:
        await asyncio.to_thread(prometheus.close)
