"""What people do to a running system: requests about dead letters, and acts in the audit trail."""

import sqlalchemy as sa
from alembic import op

from orderflow.runtime.columns import Moment

revision = "runtime_0003_acts"
down_revision = "runtime_0002_replays"
branch_labels = None
depends_on = None


def upgrade() -> None:
    failed = sa.Column(
        "replays", sa.Integer, nullable=False, server_default=sa.text("0"), comment="how often a replay has failed"
    )
    op.add_column("dead_letters", failed)
    op.add_column(
        "dead_letters", sa.Column("tried_at", Moment, nullable=True, comment="when it was last replayed, or let go")
    )
    is_open = sa.text("status = 'open'")
    op.create_index("dead_letters_open", "dead_letters", ["created_at"], sqlite_where=is_open, postgresql_where=is_open)
    op.add_column(
        "audit_trail",
        sa.Column("actor", sa.String(200), nullable=True, comment="whose act it was; empty for a decision"),
    )
    op.create_table(
        "letter_requests",
        sa.Column("letter_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("action", sa.String(64), nullable=False, comment="replay or discard"),
        sa.Column("forced", sa.Boolean, nullable=False, comment="also out of quarantine"),
        sa.Column("asked_by", sa.String(200), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("asked_at", Moment, nullable=False),
        sa.Column("due_at", Moment, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False, comment="how often a process has begun to carry it out"),
    )


def downgrade() -> None:
    op.drop_table("letter_requests")
    op.drop_column("audit_trail", "actor")
    op.drop_index("dead_letters_open", "dead_letters")
    op.drop_column("dead_letters", "tried_at")
    op.drop_column("dead_letters", "replays")
