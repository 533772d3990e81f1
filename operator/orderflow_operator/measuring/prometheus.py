"""One number from a Prometheus server, for the pods of one revision."""

import math
import re
from typing import Final

import aiohttp
import msgspec

from orderflow_operator.measuring.values import Value

ANSWERED_WITHIN: Final = aiohttp.ClientTimeout(total=5.0)
_PLACE: Final = re.compile(r"\{\{\s*(selector|interval)\s*\}\}")


class _Series(msgspec.Struct):
    value: tuple[float, str]


class _Data(msgspec.Struct):
    resultType: str  # noqa: N815 - Prometheus' name
    result: msgspec.Raw


class _Answer(msgspec.Struct):
    status: str
    data: _Data | None = None
    error: str = ""


def selector(*, namespace: str, name: str, processor: str, revision: str) -> str:
    """Return the label matchers of a revision's pods, as the operator's PodMonitor labels what it scrapes."""
    labels = {"namespace": namespace, "orderflow": name, "component": processor, "revision": revision}
    return ",".join(f'{label}="{value}"' for label, value in labels.items())


def filled_in(query: str, selects: str, interval: float) -> str:
    """Return a gate's query for one revision. ``{{ interval }}`` becomes a time as PromQL writes it."""
    values = {"selector": selects, "interval": f"{max(1, math.ceil(interval))}s"}
    return _PLACE.sub(lambda place: values[place[1]], query)


async def asked(session: aiohttp.ClientSession, address: str, query: str) -> Value:
    """Return what the server at ``address`` answers to an instant query: one number, or why there is none."""
    try:
        async with session.get(
            f"{address.rstrip('/')}/api/v1/query", params={"query": query}, timeout=ANSWERED_WITHIN
        ) as response:
            answer = msgspec.json.decode(await response.read(), type=_Answer)
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        return Value(None, None, f"Prometheus at {address} does not answer ({type(error).__name__})")
    except msgspec.MsgspecError:
        return Value(None, None, f"what answers at {address} is no Prometheus")
    if answer.status != "success" or answer.data is None:
        return Value(None, None, f"Prometheus refuses the query: {answer.error}")
    return number(answer.data.resultType, answer.data.result)


def number(kind: str, result: msgspec.Raw) -> Value:
    """Return the number of a query's result."""
    if kind == "scalar":
        _, text = msgspec.json.decode(result, type=tuple[float, str])
        return _finite(text)
    if kind != "vector":
        return Value(None, None, f"the query gives a {kind}, expected one number")
    series = msgspec.json.decode(result, type=list[_Series])
    if len(series) != 1:
        return Value(None, None, f"the query gives {len(series)} series, expected one" if series else "no series")
    return _finite(series[0].value[1])


def _finite(text: str) -> Value:
    found = float(text)
    return Value(found) if math.isfinite(found) else Value(None, None, f"the query gives {text}")
