"""A desk of its own for each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from harness.desk import RESOURCE, Desk
from harness.process import make_database
from orderflow.runtime.database import open_database
from orderflow.spec.deployment import process_names, resolve
from orderflow.spec.reading import parse_resource


@pytest.fixture(scope="session")
def blank_desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("desk")
    (folder / "databases").mkdir()
    make_database(folder / "databases" / "inventory.sqlite")
    return folder


@pytest.fixture
def desk(blank_desk: Path, tmp_path: Path) -> Iterator[Desk]:
    folder = Path(shutil.copytree(blank_desk, tmp_path / "desk"))
    resource = parse_resource(RESOURCE, "desk.yaml")
    ports = dict.fromkeys(process_names(resource), 1)
    deployment = resolve(resource, data_dir=folder, broker="b:1", ports=ports, revision="r1")
    (folder / "run.json").write_bytes(msgspec.json.encode(deployment))
    engine = open_database(deployment.database_url("inventory"))
    yield Desk(folder, engine)
    engine.dispose()
