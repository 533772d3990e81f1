"""Column types that mean the same on SQLite and PostgreSQL."""

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import BigInteger, DateTime, Dialect, Integer, TypeDecorator


class Moment(TypeDecorator[datetime]):
    """A point in time, always UTC in Python. SQLite keeps it without an offset, PostgreSQL with one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], datetime | str | None]:
        """Convert for SQLite here and at once: a message has seven moments."""
        return _as_text if dialect.name == "sqlite" else lambda value: self.process_bind_param(value, dialect)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a moment that does not say which offset it is in."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a moment needs an offset, got {value!r}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give SQLite's bare value its offset back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _as_text(value: datetime | None) -> str | None:
    """Return a moment as SQLAlchemy's own DateTime writes it."""
    if value is None:
        return None
    if value.tzinfo is not UTC:
        if value.tzinfo is None:
            raise ValueError(f"a moment needs an offset, got {value!r}")
        value = value.astimezone(UTC)
    return value.isoformat(" ", "microseconds")[:-6]


Serial = BigInteger().with_variant(Integer, "sqlite")
"""A primary key that counts up: SQLite does so for INTEGER alone."""
