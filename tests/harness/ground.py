"""The files of a system that stands still: to be spoiled, verified, and brought back."""

import shutil
import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from harness.pump import PROVIDERS, all_contexts, files_in, open_databases, open_store
from orderflow.verification import Report, verify


class Ground:
    """A copy of the files in ``pristine``. Its engines stay open: they keep the statements that they have compiled.

    Args:
        now: when the system came to rest.
    """

    def __init__(self, pristine: Path, folder: Path, now: datetime) -> None:
        self.now = now
        self.folder = Path(shutil.copytree(pristine, folder))
        self.contexts = all_contexts()
        self.databases: dict[str, Engine] = open_databases(files_in(folder), self.contexts)
        self.store = open_store(files_in(folder))
        self.pristine = pristine
        self._touched: set[str] = set()

    def spoil(self, database: str, statement: str) -> int:
        """Run a statement in a context's database or the providers' record; return how many rows it changed."""
        self._touched.add(database)
        connection = sqlite3.connect(self.file(database))
        changed = connection.execute(statement).rowcount
        connection.commit()
        connection.close()
        return changed

    def remove(self, database: str) -> None:
        """Delete a database."""
        self._touched.add(database)
        self._forget(database)

    def verify(self, **how: Any) -> Report:
        """Verify what is there."""
        return verify(self.databases, [self.store], self.contexts, **{"now": self.now, **how})

    def restore(self) -> None:
        """Bring back what was touched."""
        for name in self._touched:
            self._forget(name)
            shutil.copy(self.pristine / self.file(name).name, self.folder)
        self._touched.clear()

    def file(self, database: str) -> Path:
        """Where a database is."""
        return self.folder / f"{database}.sqlite"

    def _forget(self, name: str) -> None:
        (self.databases | {PROVIDERS: self.store})[name].dispose()
        for suffix in ("", "-wal", "-shm"):
            self.file(name).with_suffix(f".sqlite{suffix}").unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the files."""
        for engine in (*self.databases.values(), self.store):
            engine.dispose()
