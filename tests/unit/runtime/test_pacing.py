"""Paced fetching: after an answer that brought something, the next request waits; after silence it does not."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer import fetcher as aiokafka_fetcher

from harness.fakes import Watch
from orderflow.runtime import pacing
from orderflow.runtime.pacing import pace

GAP = 0.05


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Watch:
    clock = Watch()
    monkeypatch.setattr(pacing, "time", clock)
    return clock


@pytest.fixture
def fetcher(monkeypatch: pytest.MonkeyPatch, clock: Watch) -> Any:
    async def answered(_self: object, *_request: object) -> bool:
        return _request[0] == "something"

    def wanted(_self: object, _assignment: object) -> tuple[Any, ...]:
        return ["request"], {}, 0.2, False, []

    monkeypatch.setattr(aiokafka_fetcher.Fetcher, "_proc_fetch_request", answered)
    monkeypatch.setattr(aiokafka_fetcher.Fetcher, "_get_actions_per_node", wanted)
    fetcher = aiokafka_fetcher.Fetcher.__new__(aiokafka_fetcher.Fetcher)
    fetcher._fetch_task = SimpleNamespace(done=lambda: True)
    fetcher._closed = True
    pace(SimpleNamespace(_fetcher=fetcher), GAP)
    return fetcher


def requests(fetcher: Any) -> tuple[list[str], float]:
    wanted, _, timeout, *_ = fetcher._get_actions_per_node(None)
    return wanted, timeout


async def test_the_first_request_goes_at_once(fetcher: Any) -> None:
    assert requests(fetcher) == (["request"], 0.2)


async def test_after_an_answer_with_messages_the_next_request_waits_for_the_gap(fetcher: Any, clock: Watch) -> None:
    await fetcher._proc_fetch_request("something")
    wanted, timeout = requests(fetcher)
    assert not wanted
    assert timeout == pytest.approx(GAP)
    clock.now += GAP / 2
    wanted, timeout = requests(fetcher)
    assert not wanted
    assert timeout == pytest.approx(GAP / 2)
    clock.now += GAP / 2
    assert requests(fetcher) == (["request"], 0.2)


async def test_after_an_empty_answer_it_does_not(fetcher: Any) -> None:
    await fetcher._proc_fetch_request("nothing")
    assert requests(fetcher) == (["request"], 0.2)
