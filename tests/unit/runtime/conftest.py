"""A site for each test: a database of its own with the tables of a small context, and processes that it starts."""

import logging
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from harness.process import Process, Site, make_database
from orderflow.runtime import processor


@pytest.fixture(scope="session")
def blank_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("blank") / "inventory.db"
    make_database(file)
    return file


@pytest.fixture
async def site(blank_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """Nobody waits between looks at a database that is away, and warnings alone are written: each line costs a test."""
    monkeypatch.setattr(processor, "PROBE", (0.0, 0.001))
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    site = Site(Path(shutil.copy(blank_database, tmp_path / "inventory.db")))
    yield site
    await site.close()
    structlog.configure(**before)


@pytest.fixture
async def process(site: Site) -> Process:
    """A process that has all partitions."""
    return await site.joined()
