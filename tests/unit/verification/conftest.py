"""A system whose orders have met every fate, built once; each test gets its files as they were and may spoil them."""

import shutil
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from harness.pump import System, all_contexts, open_databases, open_store
from sqlalchemy import Engine

from orderflow.contexts.order.tables import idempotency_keys
from orderflow.contracts.commands import ChangeOrderStatus, CreateOrder
from orderflow.contracts.identity import derive
from orderflow.contracts.items import Customer, Recipient, RequestedItem
from orderflow.spec.products import Product
from orderflow.verification import Report, verify

LAMP = Product(id="lamp", name="Lamp", price=Decimal("10.00"), stock=100)
NAME = "Ada Lovelace"
MAIL = "ada@example.com"


def create(system: System, order_id: str, flow: str, customer: str = "ada", pieces: int = 1) -> None:
    command = CreateOrder(
        event_id=f"create {order_id}",
        order_id=order_id,
        customer_id=customer,
        customer=Customer(customer_id=customer, name=NAME),
        items=(RequestedItem(product_id="lamp", quantity=pieces),),
        requested_at=system.clock.now(),
        flow=flow,
        recipient=Recipient(customer_id=customer, email=MAIL),
    )
    system.ask(command)


def change(system: System, order_id: str, status: str) -> None:
    now = system.clock.now()
    system.ask(
        ChangeOrderStatus(event_id=f"{status} {order_id}", order_id=order_id, status=status, requested_at=now)
    )


def remember(system: System, order_id: str, key: str) -> None:
    now = system.clock.now()
    row = {
        "principal": "ada",
        "key": key,
        "request_hash": "h",
        "status_code": 200,
        "response": b"{}",
        "headers": "{}",
        "order_id": order_id,
        "created_at": now,
        "expires_at": now,
    }
    with system.databases["order"].begin() as connection:
        connection.execute(idempotency_keys.insert().values(row))


def live_through_everything(system: System) -> None:
    """Lead one order to each end that there is, and along some of the ways there."""
    system.declare(LAMP)
    system.settle()
    create(system, "late", "payment-first")
    create(system, "withdrawn", "order-to-delivery")
    create(system, "reported", "ship-only")
    system.settle(resting={"payment", "fulfillment"})
    change(system, "withdrawn", "Cancelled")
    change(system, "reported", "Shipped")
    system.wait(11, resting={"payment"})
    create(system, "shipped", "order-to-delivery", pieces=2)
    remember(system, "shipped", "first")
    create(system, "sold", "payment-first")
    create(system, "collected", "reserve-first")
    create(system, "posted", "ship-only")
    create(system, "declined", "order-to-delivery", customer="customer-declined")
    create(system, "rejected", "order-to-delivery", customer="carrier-rejects")
    create(system, "refused", "ship-only", customer="carrier-rejects")
    create(system, "short", "order-to-delivery", pieces=1000)
    system.settle()
    system.wait(70)


class Ground:
    """A copy of a system's files, and what it takes to spoil and to verify it."""

    def __init__(self, pristine: Path, folder: Path, now: datetime) -> None:
        self.pristine = pristine
        self.folder = folder
        self.now = now
        shutil.copytree(pristine, folder)
        self.contexts = all_contexts()
        self.databases: dict[str, Engine] = open_databases(folder, self.contexts)
        self.store = open_store(folder)
        self._touched: set[str] = set()

    def spoil(self, database: str, statement: str) -> int:
        """Run one statement in a database (``providers``: the providers' record); return how many rows it changed."""
        self._touched.add(database)
        connection = sqlite3.connect(self.folder / f"{database}.sqlite")
        changed = connection.execute(statement).rowcount
        connection.commit()
        connection.close()
        return changed

    def verify(self, **how: Any) -> Report:
        return verify(self.databases, [self.store], self.contexts, **{"now": self.now, **how})

    def restore(self) -> None:
        """Bring back what was touched."""
        for name in self._touched:
            (self.databases | {"providers": self.store})[name].dispose()
            for suffix in ("-wal", "-shm"):
                (self.folder / f"{name}.sqlite{suffix}").unlink(missing_ok=True)
            shutil.copy(self.pristine / f"{name}.sqlite", self.folder)
        self._touched.clear()

    def close(self) -> None:
        for engine in (*self.databases.values(), self.store):
            engine.dispose()


@pytest.fixture(scope="session")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """One copy for all tests: engines that stay keep the statements that they have compiled."""
    folder = tmp_path_factory.mktemp("verification")
    pristine = folder / "pristine"
    pristine.mkdir()
    system = System(pristine)
    live_through_everything(system)
    now = system.clock.now()
    system.close()
    ground = Ground(pristine, folder / "copy", now)
    yield ground
    ground.close()


@pytest.fixture
def ground(lived: Ground) -> Iterator[Ground]:
    """The system, as it was when all was done."""
    yield lived
    lived.restore()


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """A system that has stock and no orders yet."""
    system = System(tmp_path)
    system.declare(LAMP)
    system.settle()
    yield system
    system.close()


__all__ = ["Ground", "change", "create", "derive"]
