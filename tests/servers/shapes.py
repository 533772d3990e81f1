"""What the tables of a database look like, so that two databases can be compared."""

from importlib import import_module
from pathlib import Path

from sqlalchemy import Engine, MetaData, inspect
from sqlalchemy.engine.interfaces import ReflectedColumn, ReflectedIndex

import orderflow

CONTEXTS = Path(orderflow.__file__).parent / "contexts"


def contexts_with_migrations() -> list[str]:
    """Return the contexts that have tables of their own."""
    return sorted(file.parents[1].name for file in CONTEXTS.glob("*/migrations/0001_*.py"))


def metadata_of(context: str) -> MetaData:
    """Return every table that the code of ``context`` expects in its database: the runtime's and its own."""
    both = MetaData()
    for module in ("orderflow.runtime.schema", f"orderflow.contexts.{context}.tables"):
        for table in import_module(module).metadata.tables.values():
            table.to_metadata(both)
    return both


def shape_of(engine: Engine) -> dict[str, object]:
    """Return the tables with their columns, keys and indexes; Alembic's own table is left out."""
    inspector = inspect(engine)
    return {
        table: {
            "columns": {column["name"]: _column(column) for column in inspector.get_columns(table)},
            "primary key": inspector.get_pk_constraint(table)["constrained_columns"],
            "unique": sorted(unique["column_names"] for unique in inspector.get_unique_constraints(table)),
            "indexes": {index["name"]: _index(index) for index in inspector.get_indexes(table)},
        }
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }


def _column(column: ReflectedColumn) -> tuple[object, ...]:
    return str(column["type"]), column["nullable"], column["default"], column.get("comment")


def _index(index: ReflectedIndex) -> tuple[object, ...]:
    conditions = {
        name: str(value) for name, value in index.get("dialect_options", {}).items() if name.endswith("_where")
    }
    return index["column_names"], index["unique"], conditions
