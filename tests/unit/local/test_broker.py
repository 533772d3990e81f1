"""The embedded Kafka, as far as it can be told without starting it."""

from uuid import UUID

import pytest

from orderflow.local import broker


def test_a_clusters_id_does_not_look_like_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([UUID(bytes=b"\xf8" + bytes(15)), UUID(bytes=b"\x04" + bytes(15))])
    monkeypatch.setattr(broker, "uuid4", lambda: next(drawn))
    assert broker._cluster_id() == "BAAAAAAAAAAAAAAAAAAAAA"
