"""A site for each test: a database of its own with the tables of a small context, and processes that it starts."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness.process import Process, Site, make_database
from orderflow.runtime import processor


@pytest.fixture(scope="session")
def blank_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("blank") / "inventory.db"
    make_database(file)
    return file


@pytest.fixture
async def site(blank_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """Nobody waits between looks at a database that is away."""
    monkeypatch.setattr(processor, "PROBE", (0.0, 0.001))
    site = Site(Path(shutil.copy(blank_database, tmp_path / "inventory.db")))
    yield site
    await site.close()


@pytest.fixture
async def process(site: Site) -> Process:
    """A process that has all partitions."""
    return await site.joined()
