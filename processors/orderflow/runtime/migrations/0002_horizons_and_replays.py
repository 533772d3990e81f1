"""What is dropped after its time, and what somebody asked to be replayed."""

import sqlalchemy as sa
from alembic import op

from orderflow.runtime.columns import Moment

revision = "runtime_0002_replays"
down_revision = "runtime_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "horizons",
        sa.Column("table", sa.String(64), primary_key=True, comment="whose old rows are dropped"),
        sa.Column("until", Moment, nullable=False, comment="rows whose time is before may be gone"),
        sa.Column("dropped", sa.BigInteger, nullable=False, comment="how many rows, ever"),
    )
    op.create_table(
        "replays",
        sa.Column("replay_id", sa.String(64), primary_key=True),
        sa.Column("topic", sa.String(200), primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True),
        sa.Column("since", Moment, nullable=True, comment="messages from then on; empty: from the first"),
        sa.Column("until", Moment, nullable=True, comment="messages until then; empty: as far as the ledger"),
        sa.Column(
            "applies", sa.Boolean, nullable=False, comment="whether messages that the inbox does not know are decided"
        ),
        sa.Column("rate", sa.Integer, nullable=False, comment="messages per second at the most"),
        sa.Column("status", sa.String(64), nullable=False, comment="waiting, running, done, failed or cancelled"),
        sa.Column("claimed_by", sa.String(64), nullable=True),
        sa.Column("claimed_until", Moment, nullable=True),
        sa.Column("next_offset", sa.BigInteger, nullable=True, comment="where it goes on; empty before it has begun"),
        sa.Column("report", sa.Text, nullable=False, comment="what was found so far, as JSON"),
        sa.Column("requested_at", Moment, nullable=False),
        sa.Column("updated_at", Moment, nullable=False),
    )
    where = sa.text("status IN ('waiting', 'running')")
    op.create_index("replays_open", "replays", ["requested_at"], sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    op.drop_table("replays")
    op.drop_table("horizons")
