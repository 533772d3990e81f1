"""SQLite files for tests that come by the hundred: nobody waits for the disk, and no statement is compiled twice."""

from typing import Any

from sqlalchemy import Engine, event

from orderflow.runtime.database import readers_of


class _Compiled(dict[Any, Any]):
    """Compiled statements, shared by all engines of a test run: compiling them anew takes longer than most tests do.

    SQLAlchemy's keys begin with the dialect's instance, of which each engine has one; they are all alike.
    """

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(key[1:], default)

    def __setitem__(self, key: Any, compiled: Any) -> None:
        super().__setitem__(key[1:], compiled)


_COMPILED = _Compiled()


def spared(engine: Engine) -> Engine:
    """Return ``engine``, a new one on a SQLite file, to which a commit is done before it is on the disk.

    No test pulls the plug, and waiting for the disk is half of what a test takes.
    """
    for each in {engine, readers_of(engine)}:
        each.update_execution_options(compiled_cache=_COMPILED)
        event.listen(each, "connect", lambda driver, _record: driver.execute("PRAGMA synchronous = OFF"))
    return engine
