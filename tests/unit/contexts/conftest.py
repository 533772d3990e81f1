"""A database of its own for each test that asks for one, with the tables of a context."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, MetaData

from harness.databases import spared
from orderflow.runtime.database import open_database


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Callable[[MetaData], Path]:
    """Gives a file that has these tables, to be copied: making tables takes longer than most tests do."""
    made: dict[MetaData, Path] = {}

    def of(tables: MetaData) -> Path:
        if tables not in made:
            file = tmp_path_factory.mktemp("template") / "context.db"
            engine = open_database(f"sqlite:///{file}")
            tables.create_all(engine)
            engine.dispose()
            made[tables] = file
        return made[tables]

    return of


@pytest.fixture
def database(template: Callable[[MetaData], Path], tmp_path: Path) -> Iterator[Callable[[MetaData], Engine]]:
    """Opens the test's database, empty but for these tables."""
    engines: list[Engine] = []

    def opened(tables: MetaData) -> Engine:
        file = shutil.copy(template(tables), tmp_path / "context.db")
        engines.append(spared(open_database(f"sqlite:///{file}")))
        return engines[-1]

    yield opened
    for engine in engines:
        engine.dispose()
