import asyncio

import pytest

from orderflow.gateway import health
from orderflow.gateway.health import Check, CheckResult, look_at


async def well() -> None:
    pass


async def away() -> None:
    raise ConnectionError("refused\nand more")


async def stuck() -> None:
    await asyncio.Event().wait()


async def test_all_is_well() -> None:
    found = await look_at([Check(name="database", look=well), Check(name="broker", look=well)])
    assert found.status == "ok"
    assert found.checks == [CheckResult(name="database", ok=True), CheckResult(name="broker", ok=True)]


async def test_what_is_away_is_named_with_its_reason_in_one_line() -> None:
    found = await look_at([Check(name="database", look=away), Check(name="migrations", look=well)])
    assert found.status == "failing"
    assert found.checks == [
        CheckResult(name="database", ok=False, detail="ConnectionError: refused"),
        CheckResult(name="migrations", ok=True),
    ]


async def test_what_can_be_done_without_does_not_take_the_process_out_of_service() -> None:
    found = await look_at([Check(name="database", look=well), Check(name="broker", look=away, required=False)])
    assert found.status == "degraded"
    assert not found.checks[1].ok


async def test_what_does_not_answer_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PATIENCE", 0.01)
    found = await look_at([Check(name="database", look=stuck)])
    assert not found.checks[0].ok
    assert "no answer" in found.checks[0].detail
