"""A desk: the database of one context with what may lie in it, and the commands on it."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from sqlalchemy import Engine, Table, select

from harness.fakes import StillClock
from harness.tally import COMMANDS, NOON, TALLY
from orderflow.cli import main
from orderflow.contracts import codec
from orderflow.contracts.envelope import Message
from orderflow.runtime.clock import SystemClock
from orderflow.runtime.database import reading
from orderflow.runtime.incoming import Record, read
from orderflow.runtime.readmission import Readmission
from orderflow.runtime.unit_of_work import UnitOfWork

RESOURCE = """
apiVersion: orderflow.dev/v1alpha1
kind: OrderFlow
metadata: {name: desk}
spec: {deadLetters: {quarantineAfter: 3}}
"""


class Desk:
    """Commands on the inventory context's database, which a small context has written."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.folder = folder
        self.engine = engine
        self.unit = UnitOfWork(TALLY, engine, owner="inventory-0/a", revision="r1", clock=StillClock(NOON))
        self.unit.claim([(COMMANDS, 0)])
        self._offset = -1

    def take(self, *messages: Message) -> None:
        """Have messages arrive."""
        for message in messages:
            record = Record(COMMANDS, 0, self._offset + 1, message.key, codec.encode(message), {"ce_id": "x"})
            step = (self._offset, record.offset, message.event_id)
            self.unit.process([read(record)], {(COMMANDS, 0): step}, cached={})
            self._offset += 1

    def carry_out(self) -> list[str]:
        """Do what was asked for, as the owner of the partition does; return what became of it."""
        # People ask by the clock of their machine.
        owner = UnitOfWork(TALLY, self.engine, owner=self.unit.owner, revision="r1", clock=SystemClock())
        readmission = Readmission(owner)
        return [readmission.carry_out(request)[1].outcome for request in readmission.due([(COMMANDS, 0)])]

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run a command; return its exit status and what it prints."""
        done = CliRunner().invoke(main, [*arguments, "--deployment", str(self.folder / "run.json")])
        return done.exit_code, done.output

    def told(self, *arguments: str) -> Any:
        """What a command prints as JSON."""
        return json.loads(self.run(*arguments, "--json")[1])

    def rows(self, table: Table) -> list[dict[str, Any]]:
        with reading(self.engine) as connection:
            found = connection.execute(select(table).order_by(*table.primary_key.columns))
            return [dict(row) for row in found.mappings()]
