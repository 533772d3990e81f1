"""How the outside is while something else is broken."""

from typing import Any, Final

UNHURRIED: Final[dict[str, Any]] = {
    "simulation": {"card": {"latencySeconds": [3, 5]}, "carrier": {"latencySeconds": [3, 5], "errorRate": 0.15}}
}
"""It takes so long that an order is in flight for some ten seconds: hundreds are, at some 50 a second."""
