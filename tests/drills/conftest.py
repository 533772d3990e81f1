"""What a drill is given: a stage, which keeps a record of every drill that comes to its end."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.drill import Drill, Stage
from orderflow.local.processes import PROGRAM, Program


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Bring a system up for a drill, by the drill's name and the resource's ``spec``."""
    records = Path(os.environ.get("DRILL_RECORDS") or tmp_path)

    @contextmanager
    def staged(
        name: str, spec: dict[str, Any], *, program: Program = PROGRAM, database: str | None = None
    ) -> Iterator[Drill]:
        drill = Drill(name, tmp_path, spec, program, database)
        with drill.running():
            yield drill
        record = msgspec.json.format(msgspec.json.encode(drill.seen)) + b"\n"
        (records / f"{name}.json").write_bytes(record)
        print(record.decode())

    return staged
