"""How many partitions this process's revision may have together, as whoever rolls it out has written it to a file.

The file holds a number or ``all``. It is read anew all the time: its writer changes it while the process runs. A file
that cannot be read is one that says none: what was started for a rollout does not join on its own account.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

SHARE_VARIABLE: Final = "ORDERFLOW_SHARE"
"""The environment variable that names the file. Without it a process has no limit."""
ALL: Final = "all"


class Share:
    """What the file says.

    Attributes:
        limit: how many partitions; ``None``: as many as there are.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self.limit = self._read()

    def look(self) -> bool:
        """Read the file; tell whether it says something else than before."""
        before, self.limit = self.limit, self._read()
        return self.limit != before

    @property
    def is_watched(self) -> bool:
        """Whether somebody rolls revisions out: without a file nobody does."""
        return self._file is not None

    @property
    def is_nothing(self) -> bool:
        """Whether the process has to stay out of the group."""
        return self.limit == 0

    def _read(self) -> int | None:
        if self._file is None:
            return None
        try:
            text = self._file.read_text(encoding="utf-8").strip()
            return None if text == ALL else max(0, int(text))
        except (OSError, ValueError):
            return 0


def share_of(environment: Mapping[str, str] = os.environ) -> Share:
    """Return the share that the environment names a file for."""
    named = environment.get(SHARE_VARIABLE)
    return Share(Path(named) if named else None)
