"""Every provider is slow, or fails, or answers after the time-out: orders wait for it, and it does nothing twice."""

from typing import Any

import pytest

from harness.drill import Stage

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(900)]

EVERYBODY = ("card", "carrier", "email", "sms", "push")
FAULTS: dict[str, dict[str, Any]] = {
    # A call counts as lost after 10 s: one in six is.
    "slow": {"latencySeconds": [3, 11.5]},
    "failing": {"errorRate": 0.3, "latencySeconds": [2, 4]},
    "answering-late": {"timeoutAfterSuccessRate": 0.2, "timeoutBeforeRate": 0.1, "latencySeconds": [2, 4]},
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_every_provider_is_unwell(stage: Stage, fault: str) -> None:
    spec = {"simulation": {provider: {"errorRate": 0.0, **FAULTS[fault]} for provider in EVERYBODY}}
    with stage(f"providers-{fault}", spec) as drill, drill.ordering():
        drill.enough_in_flight()
        lost = drill.books.retried_calls()
        drill.saw(**{f"calls_of_the_{outside}_lost_by_then": number for outside, number in lost.items()})
        assert lost["card"] > 0
        assert lost["carrier"] > 0
