"""How a process is, as it says itself on its HTTP server: whether it lives, whether it can work, what waits for it."""

import asyncio
from dataclasses import dataclass
from typing import Final

import msgspec

PATIENCE: Final = 3.0
"""Seconds for an answer: the process itself gives each thing it looks at two."""
_LARGEST: Final = 1_048_576
_LAG: Final = b"orderflow_consumer_lag{"


@dataclass(frozen=True)
class Health:
    """``detail`` says what is in the way of being ready; ``lag`` is the number of messages not yet recorded."""

    live: bool
    ready: bool
    detail: str = ""
    lag: int | None = None


class _Check(msgspec.Struct):
    ok: bool = True
    name: str = ""
    reason: str = ""
    detail: str = ""


class _Readiness(msgspec.Struct):
    checks: dict[str, _Check] | list[_Check] = {}


async def health_of(host: str, port: int) -> Health:
    """Ask the process that listens on ``port``. One that does not answer neither lives nor is ready."""
    paths = ("/health/live", "/health/ready", "/metrics")
    live, ready, metrics = await asyncio.gather(*(_get(host, port, path) for path in paths))
    if live is None or ready is None:
        return Health(live=False, ready=False)
    lag = lag_in(metrics[1]) if metrics else None
    return Health(live=live[0] == 200, ready=ready[0] == 200, detail=detail_of(ready[1]), lag=lag)


async def takes_connections(host: str, port: int) -> Health:
    """Ask a process that has no health to tell of, only a port."""
    try:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return Health(live=False, ready=False)
    writer.close()
    return Health(live=True, ready=True)


def detail_of(body: bytes) -> str:
    """Return the checks of a readiness answer that failed, with their reasons; empty where none did."""
    try:
        checks = msgspec.json.decode(body, type=_Readiness).checks
    except msgspec.DecodeError:
        return ""
    named = checks.items() if isinstance(checks, dict) else [(check.name, check) for check in checks]
    failed = [(name, check.reason or check.detail) for name, check in named if not check.ok]
    return "; ".join(f"{name}: {reason}" if reason else name for name, reason in failed)


def lag_in(metrics: bytes) -> int | None:
    """Return the sum of a process's consumer lag over its partitions, if its metrics tell of any."""
    lines = [line for line in metrics.splitlines() if line.startswith(_LAG)]
    return int(sum(float(line.rpartition(b" ")[2]) for line in lines)) if lines else None


async def _get(host: str, port: int, path: str) -> tuple[int, bytes] | None:
    """Return status and body, or ``None`` where no answer came in time."""
    request = f"GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n"
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(request.encode())
                answer = await _all_of(reader)
            finally:
                writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), body
    except (OSError, ValueError, IndexError):
        return None


async def _all_of(reader: asyncio.StreamReader) -> bytes:
    answer = b""
    while len(answer) < _LARGEST and (part := await reader.read(65_536)):
        answer += part
    return answer
