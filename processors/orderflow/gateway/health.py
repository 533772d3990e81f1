"""Whether this process lives, and whether it can serve: ``/health/live`` and ``/health/ready``.

Readiness names each thing it looked at, in the shape that the processors use, so that whoever reads it knows what is
away. A thing that the process can do without (the broker, for an API whose orders wait in the outbox) is named too, but
does not take it out of service.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import msgspec
from sqlalchemy import text
from starlette.requests import Request
from starlette.responses import Response

from orderflow.gateway.store import Store
from orderflow.runtime.migrate import at_head

PATIENCE: Final = 2.0
"""Seconds that one look may take; probes commonly give up after more."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing to look at. ``look`` returns, or raises with the reason why the thing cannot be used."""

    name: str
    look: Callable[[], Awaitable[None]]
    required: bool = True


class CheckResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one look has found; ``detail`` says why it is not well."""

    name: str
    ok: bool
    detail: str = ""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """``degraded`` is ready to serve, though something that is not needed for that is away."""

    status: Literal["ok", "degraded", "failing"]
    checks: list[CheckResult]


class NotMigrated(Exception):  # noqa: N818 - names a state of the database
    """The database lacks tables that this revision needs."""


async def live(request: Request) -> Response:
    """Answer: whoever can answer lives."""
    del request
    return _told(Health(status="ok", checks=[]))


def ready(checks: Sequence[Check]) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint that looks at ``checks``, all at once."""

    async def endpoint(request: Request) -> Response:
        del request
        return _told(await look_at(checks))

    return endpoint


async def look_at(checks: Sequence[Check]) -> Health:
    """Look at all of ``checks`` and sum up."""
    results = await asyncio.gather(*(_look(check) for check in checks))
    away = [check for check, result in zip(checks, results, strict=True) if not result.ok]
    status: Literal["ok", "degraded", "failing"] = "degraded" if away else "ok"
    if any(check.required for check in away):
        status = "failing"
    return Health(status=status, checks=results)


async def _look(check: Check) -> CheckResult:
    try:
        async with asyncio.timeout(PATIENCE):
            await check.look()
    except TimeoutError:
        return CheckResult(name=check.name, ok=False, detail=f"no answer within {PATIENCE:g} s")
    except Exception as error:
        detail = f"{type(error).__name__}: {error}".partition("\n")[0]
        return CheckResult(name=check.name, ok=False, detail=detail)
    return CheckResult(name=check.name, ok=True)


def _told(health: Health) -> Response:
    status = 503 if health.status == "failing" else 200
    return Response(msgspec.json.encode(health), status, {"Cache-Control": "no-store"}, "application/json")


def database_checks(store: Store, context: str) -> tuple[Check, Check]:
    """Return the looks at the database of ``context``: whether it answers, and has this code's tables."""

    async def database() -> None:
        await store.read(lambda connection: connection.execute(text("SELECT 1")).scalar_one())

    async def migrations() -> None:
        if not await asyncio.to_thread(at_head, store.engine, context):
            raise NotMigrated("the database has not every migration that this revision knows of")

    return Check(name="database", look=database), Check(name="migrations", look=migrations)
