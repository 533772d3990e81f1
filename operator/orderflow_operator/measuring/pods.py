"""Reading pods over HTTP."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final

import aiohttp

from orderflow_operator.measuring.readings import Reading, reading

ANSWERED_WITHIN: Final = aiohttp.ClientTimeout(total=2.0)


async def read_pods(
    session: aiohttp.ClientSession, roots: Mapping[str, str], clock: Callable[[], float] = time.time
) -> dict[str, Reading]:
    """Return what each pod says of itself; one that does not answer in time is left out.

    Args:
        roots: by pod, the root of its server: ``http://10.1.2.3:8081``.
    """
    readings = await asyncio.gather(*(_read(session, root, clock) for root in roots.values()))
    return {pod: one for pod, one in zip(roots, readings, strict=True) if one is not None}


async def _read(session: aiohttp.ClientSession, root: str, clock: Callable[[], float]) -> Reading | None:
    try:
        async with session.get(f"{root}/metrics", timeout=ANSWERED_WITHIN) as response:
            if response.status != 200:
                return None
            return reading(await response.text(), clock())
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
        return None
