import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from api.order_system import OrderSystem, Time
from orderflow.contexts.order.tables import metadata as order_tables
from orderflow.gateway import store as store_module
from orderflow.gateway.store import Store
from orderflow.runtime.database import open_database
from orderflow.runtime.schema import metadata as runtime_tables


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty order database: the runtime's tables and the context's own."""
    file = tmp_path_factory.mktemp("template") / "order.db"
    engine = open_database(f"sqlite:///{file}")
    runtime_tables.create_all(engine)
    order_tables.create_all(engine)
    engine.dispose()
    return file


@pytest.fixture
def engine(template: Path, tmp_path: Path) -> Iterator[Engine]:
    """A database of this test's own."""
    file = shutil.copy(template, tmp_path / "order.db")
    engine = open_database(f"sqlite:///{file}")
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine: Engine) -> Iterator[Store]:
    store = Store(engine)
    yield store
    store.close()


@pytest.fixture
def system(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[OrderSystem]:
    """The order API. Nobody waits between attempts."""
    monkeypatch.setattr(store_module, "BACKOFF", 0.0)
    system = OrderSystem(engine, Time())
    yield system
    system.store.close()
