"""Asks pods for their metrics, and Prometheus for what a gate's query says."""

import asyncio
import math
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import msgspec

from orderflow_operator.names import HEALTH_PORT
from orderflow_operator.samples import Look, values_of

PATIENCE: Final = aiohttp.ClientTimeout(total=2.0)
"""A failed gate is acted on within 5 s: a pod that is slow to answer is left out of this look."""


async def look(now: float, addresses: Mapping[str, str]) -> Look:
    """Return what the pods at these addresses say; those that do not answer say nothing."""
    async with aiohttp.ClientSession(timeout=PATIENCE) as session:
        answers = await asyncio.gather(*(_values(session, address) for address in addresses.values()))
    return Look(now, {name: values for name, values in zip(addresses, answers, strict=True) if values is not None})


async def queried(address: str, query: str) -> float | None:
    """Return the value of a Prometheus query that gives one; ``None`` where there is none, or no answer."""
    try:
        async with (
            aiohttp.ClientSession(timeout=PATIENCE) as session,
            session.post(f"{address.rstrip('/')}/api/v1/query", data={"query": query}) as answer,
        ):
            told: dict[str, Any] = msgspec.json.decode(await answer.read())
            series = told["data"]["result"]
            value = float(series[0]["value"][1]) if len(series) == 1 else math.nan
    except (aiohttp.ClientError, OSError, TimeoutError, msgspec.DecodeError, KeyError, IndexError, ValueError):
        return None
    return None if math.isnan(value) else value


async def _values(session: aiohttp.ClientSession, address: str) -> dict[str, float] | None:
    host = f"[{address}]" if ":" in address else address
    try:
        async with session.get(f"http://{host}:{HEALTH_PORT}/metrics") as answer:
            return values_of(await answer.text()) if answer.status == 200 else None
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return None
