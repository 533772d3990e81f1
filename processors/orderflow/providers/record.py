"""What a simulated provider remembers, in a store of its own, as a real one would.

No other code writes this store and no transaction of ours spans it, so it is a second opinion on what happened. Each
call is settled in one short transaction: everything recorded on its subject (the charge or booking it concerns) is
read, the answer decided, and the row written, with nobody else at work on that subject. SQLite takes its one write
lock at the start of the transaction, PostgreSQL an advisory lock on the subject. The caller's event loop never waits
for the database: one thread per store does.

If the store is away, a call that was to be settled is unclear (its commit may have worked) and a question is
unavailable; nothing else is raised for it.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec
from sqlalchemy import (
    Column,
    Connection,
    Dialect,
    Engine,
    Index,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    TypeDecorator,
    bindparam,
    func,
    insert,
    make_url,
    select,
)
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.types import TypeEngine

from orderflow.contracts.money import amount as exact
from orderflow.providers.protocol import ProviderAnswer, Unavailable, Unclear
from orderflow.runtime.columns import Moment
from orderflow.runtime.database import is_infrastructure_failure, open_database, reading
from orderflow.runtime.sql_thread import Sql, SqlOnLoop, SqlThread
from orderflow.runtime.statements import Statement

SCHEMA_ATTEMPTS: Final = 100
"""Attempts, 20 ms apart, at creating the schema: SQLite refuses at once, whatever its patience, the second process
that switches a new file to WAL."""


class Amount(TypeDecorator[Decimal]):
    """An exact amount of money: NUMERIC(12, 2), and text on SQLite, whose numbers are binary fractions."""

    impl = Numeric(12, 2)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column type."""
        return dialect.type_descriptor(String(16) if dialect.name == "sqlite" else Numeric(12, 2))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """Refuse what is no amount of whole cents."""
        if value is None:
            return None
        return str(exact(value)) if dialect.name == "sqlite" else exact(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """Return the amount with its two places."""
        return None if value is None else exact(value)


metadata = MetaData()

provider_records = Table(
    "provider_records",
    metadata,
    Column("provider", String(64), primary_key=True),
    Column("operation", String(64), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("subject", String(200), nullable=False, comment="key of the charge, booking or delivery concerned"),
    Column("status", String(64), nullable=False),
    Column("reference", String(200), nullable=True),
    Column("detail", Text, nullable=False, comment="JSON: the rest of the answer"),
    Column("amount", Amount, nullable=True, comment="money moved by this row; empty where none was"),
    Column("order_id", String(200), nullable=False),
    Column("at", Moment, nullable=False),
    Index("provider_records_of_subject", "subject", "provider"),
)

# Built once: building a statement costs more than running it.
_COLUMNS = [column.name for column in provider_records.columns]
_INSERT = Statement(insert(provider_records))
_BY_SUBJECT = Statement(
    select(provider_records).where(
        provider_records.c.provider == bindparam("of_provider"), provider_records.c.subject == bindparam("on_subject")
    )
)
_BY_KEY = Statement(
    select(provider_records).where(
        provider_records.c.provider == bindparam("of_provider"),
        provider_records.c.operation == bindparam("of_operation"),
        provider_records.c.key == bindparam("under_key"),
    )
)
_LOCK = select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("name"), 0)))
_ALL = select(provider_records).order_by(*provider_records.primary_key.columns)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One request that was settled, and its answer for ever. ``order_id`` is empty if the caller gave none."""

    provider: str
    operation: str
    key: str
    subject: str
    status: str
    at: datetime
    reference: str | None = None
    detail: dict[str, str] = {}
    amount: Decimal | None = None
    order_id: str = ""

    @property
    def answer(self) -> ProviderAnswer:
        """What the provider says whenever it is asked."""
        return ProviderAnswer(status=self.status, reference=self.reference, detail=self.detail)


class Store:
    """The record of one or several providers. Opened, and its table created, at first use; several processes may.

    Args:
        url: of a database as :func:`orderflow.runtime.database.open_database` takes it.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine: Engine | None = None
        self._has_schema = False
        self._sql: Sql = SqlOnLoop() if make_url(url).get_backend_name() == "sqlite" else SqlThread("provider")

    async def settle(
        self, provider: str, operation: str, key: str, subject: str, decide: Callable[[Sequence[Record]], Record]
    ) -> Record:
        """Return the record under ``operation`` and ``key``; if there is none, write what ``decide`` makes of it.

        ``decide`` is given what is recorded on ``subject``, in no order, and runs while nobody else settles anything
        on it. What it raises is passed on, and nothing is written.

        Raises:
            Unclear: the store went away, perhaps after the record was written.
        """
        try:
            return await self._sql.run(self._settle, provider, operation, key, subject, decide)
        except (SQLAlchemyError, OSError) as error:
            if not is_infrastructure_failure(error):
                raise
            raise Unclear(f"{provider} lost its record while at {operation} {key}: {error}") from error

    async def find(self, provider: str, operation: str, key: str) -> Record | None:
        """Return what is recorded under ``operation`` and ``key``.

        Raises:
            Unavailable: the store is away.
        """
        try:
            return await self._sql.run(self._find, provider, operation, key)
        except (SQLAlchemyError, OSError) as error:
            if not is_infrastructure_failure(error):
                raise
            raise Unavailable(f"{provider} cannot read its record: {error}") from error

    def close(self) -> None:
        """Finish what is being settled and let go of the database. Safe to call twice."""
        self._sql.close()
        if self._engine is not None:
            self._engine.dispose()

    def _settle(
        self, provider: str, operation: str, key: str, subject: str, decide: Callable[[Sequence[Record]], Record]
    ) -> Record:
        with self._open().begin() as connection:
            _lock(connection, f"{provider}/{subject}")
            known = _on_subject(connection, provider, subject)
            for record in known:
                if (record.operation, record.key) == (operation, key):
                    return record
            record = decide(known)
            _INSERT.run(connection, _values(record))
            return record

    def _find(self, provider: str, operation: str, key: str) -> Record | None:
        wanted = {"of_provider": provider, "of_operation": operation, "under_key": key}
        with reading(self._open()) as connection:
            found = _BY_KEY.rows(connection, wanted)
            return _record(found[0]) if found else None

    def _open(self) -> Engine:
        if self._engine is None:
            self._engine = open_database(self._url)
        if not self._has_schema:
            create_schema(self._engine)
            self._has_schema = True
        return self._engine


def create_schema(engine: Engine) -> None:
    """Create the table unless it is there; several processes may do so at once."""
    for attempt in range(1, SCHEMA_ATTEMPTS + 1):
        try:
            _create_schema(engine)
            return
        except OperationalError as error:
            if attempt == SCHEMA_ATTEMPTS or "database is locked" not in str(error):
                raise
            time.sleep(0.02)


def records(engine: Engine) -> Iterator[Record]:
    """Yield every record of the store as it stood at one moment, by provider, operation and key."""
    with reading(engine) as connection:
        for row in connection.execution_options(yield_per=500).execute(_ALL):
            yield _record(row)


def _create_schema(engine: Engine) -> None:
    with engine.begin() as connection:
        _lock(connection, "schema")
        metadata.create_all(connection)


def _lock(connection: Connection, name: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(_LOCK, {"name": name})


def _on_subject(connection: Connection, provider: str, subject: str) -> list[Record]:
    found = _BY_SUBJECT.rows(connection, {"of_provider": provider, "on_subject": subject})
    return [_record(row) for row in found]


def _record(row: Sequence[Any]) -> Record:
    values: dict[str, Any] = dict(zip(_COLUMNS, row, strict=True))
    detail = msgspec.json.decode(values.pop("detail"), type=dict[str, str])
    return Record(detail=detail, **values)


def _values(record: Record) -> dict[str, Any]:
    return {**msgspec.structs.asdict(record), "detail": msgspec.json.encode(record.detail).decode()}
