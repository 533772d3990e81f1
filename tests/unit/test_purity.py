"""The same message gives the same decision, byte for byte, for ever: what decides reads no clock and draws no lots.

``lint-imports`` keeps modules such as ``time`` and ``random`` out; this looks for the calls that come with modules
which are needed (``datetime``, ``uuid``) or with none at all (``hash`` differs from process to process).
"""

import ast
from pathlib import Path

import pytest

import orderflow

PACKAGE = Path(orderflow.__file__).parent
PURE = sorted(
    module for pattern in ("contracts/*.py", "saga/*.py", "contexts/*/*.py") for module in PACKAGE.glob(pattern)
)

IMPURE = frozenset(
    {"now", "utcnow", "today", "time", "time_ns", "monotonic", "perf_counter"}
    | {"uuid1", "uuid4", "random", "randint", "choice", "shuffle", "urandom", "token_hex"}
    | {"hash"}
)


def impure_calls(source: str) -> list[str]:
    """Return the impure calls in ``source`` with their lines, also where a name was imported under another."""
    tree = ast.parse(source)
    original = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    calls = [(node.lineno, _called(node.func, original)) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [f"line {line}: {name}()" for line, name in calls if name in IMPURE]


def _called(function: ast.expr, original: dict[str, str]) -> str:
    match function:
        case ast.Name(id=name):
            return original.get(name, name)
        case ast.Attribute(attr="time", value=ast.Name(id="time")):
            return "time"
        case ast.Attribute(attr=name) if name != "time":
            return name
        case _:
            return ""


@pytest.mark.parametrize("module", PURE, ids=lambda module: str(module.relative_to(PACKAGE)))
def test_a_decision_depends_on_nothing_but_its_arguments(module: Path) -> None:
    assert impure_calls(module.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import UTC, datetime\ndatetime.now(UTC)",
        "import datetime\ndatetime.datetime.utcnow()",
        "from uuid import uuid4 as unique\nunique()",
        "import uuid\nuuid.uuid4()",
        "import time\ntime.time()",
        "from random import choice\nchoice([1, 2])",
        "def f(x):\n    return [hash(y) for y in x]",
    ],
)
def test_an_impure_call_is_found(source: str) -> None:
    assert len(impure_calls(source)) == 1


@pytest.mark.parametrize("source", ["message.occurred_at.time()", "def f(now):\n    return now", "row.now"])
def test_a_harmless_one_is_not(source: str) -> None:
    assert impure_calls(source) == []


def test_every_context_is_looked_at() -> None:
    looked_at = {module.parent.name for module in PURE if module.name == "decide.py"}
    assert looked_at == {"analytics", "fulfillment", "inventory", "notification", "order", "payment"}
