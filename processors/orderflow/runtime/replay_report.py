"""What a replay of one partition has found: counts of all of it, and the first things that somebody has to look at."""

from typing import Final, Literal

import msgspec

Verdict = Literal["same", "unlike", "unknown", "applied", "passed-by", "dropped"]
"""What reading a message again has shown.

``same``: as recorded. ``unlike``: recorded, and otherwise. ``unknown``: below the ledger, and not in the inbox.
``applied``: was unknown, and has been decided now. ``passed-by``: means nothing to the context. ``dropped``: not in the
inbox, and so old that it may have been dropped from it.
"""

SHOWN: Final = 100
"""Findings kept per partition; all are counted."""


class Finding(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One message that is not as recorded, or not recorded. It quotes no payload."""

    offset: int
    verdict: Verdict
    event_type: str
    event_id: str
    key: str
    detail: str


class PartReport(msgspec.Struct, kw_only=True, rename="camel"):
    """What was found in one partition.

    Attributes:
        first: the offset that it began at; ``end`` the one before which it ended or is to end.
        decided_again: of the messages that are the same, how many had a recorded decision, which was made again.
        outputs: rows of outbox, tasks and audit trail that were compared with those decisions.
        outputs_dropped: such rows that were not there, and may have been dropped.
        reason: why it could not be done; empty if it could.
    """

    first: int | None = None
    end: int | None = None
    read: int = 0
    same: int = 0
    unlike: int = 0
    unknown: int = 0
    applied: int = 0
    passed_by: int = 0
    dropped: int = 0
    decided_again: int = 0
    outputs: int = 0
    outputs_dropped: int = 0
    findings: list[Finding] = []
    reason: str = ""

    def add(self, verdict: Verdict, finding: Finding | None = None) -> None:
        """Count one message."""
        name = verdict.replace("-", "_")
        setattr(self, name, getattr(self, name) + 1)
        self.read += 1
        if finding is not None and len(self.findings) < SHOWN:
            self.findings.append(finding)

    @property
    def is_clean(self) -> bool:
        """Whether everything was read and nothing is left for anybody to look at."""
        return not self.reason and not self.unlike and not self.unknown
