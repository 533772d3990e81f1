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
def url(template: Path, tmp_path: Path) -> str:
    """The address of a database of this test's own."""
    return f"sqlite:///{shutil.copy(template, tmp_path / 'order.db')}"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = Store(url)
    yield store
    store.close()


@pytest.fixture
def engine(store: Store) -> Engine:
    """What somebody else does in the database goes through here."""
    return store.engine


@pytest.fixture
def system(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[OrderSystem]:
    """The order API. Nobody waits between attempts."""
    monkeypatch.setattr(store_module, "BACKOFF", 0.0)
    system = OrderSystem(url, Time())
    yield system
    system.store.close()
