"""Messages with their channel, the phase that their sending reached, and their deadlines."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_ADDED = (
    ("copy_of", sa.String),
    ("html", sa.String),
    ("phase", sa.String),
    ("claimed_by", sa.String),
    ("claimed_until", sa.BigInteger),
    ("deliver_after", sa.BigInteger),
    ("expires_at", sa.BigInteger),
    ("tried_at", sa.BigInteger),
)


def upgrade() -> None:
    """Add to the outbox what delivery at least once needs; an episode may have several messages of a kind."""
    with op.batch_alter_table("outbox") as batch:
        batch.drop_constraint("outbox_episode", type_="unique")
        batch.add_column(sa.Column("doubts", sa.Integer, nullable=False, server_default="0"))
        for name, kind in _ADDED:
            batch.add_column(sa.Column(name, kind))
    op.create_index("outbox_tried", "outbox", ["tried_at"])
    # A process that ended while it sent: the next delivery finds the claim expired and sends the message once more.
    op.execute(
        "UPDATE outbox SET phase = 'final', claimed_by = 'before revision 0008', claimed_until = 0 "
        "WHERE state = 'sending'"
    )
    # Those that a person has not decided on may be months old: they stay a person's, under the name of today.
    op.execute(
        "UPDATE outbox SET state = 'failed', doubts = 1, reason = 'it may have arrived: ' || coalesce(reason, '') "
        "WHERE state = 'uncertain'"
    )


def downgrade() -> None:
    """Go back to one message an episode and kind; what is in doubt becomes uncertain, copies for channels go."""
    op.execute("DELETE FROM outbox WHERE copy_of IS NOT NULL")
    op.execute(
        "DELETE FROM outbox WHERE EXISTS (SELECT 1 FROM outbox AS earlier WHERE earlier.kind = outbox.kind AND "
        "earlier.episode_id = outbox.episode_id AND (earlier.created_at < outbox.created_at OR "
        "(earlier.created_at = outbox.created_at AND earlier.id < outbox.id)))"
    )
    op.execute("UPDATE outbox SET state = 'uncertain' WHERE doubts > 0 AND state IN ('pending', 'failed')")
    op.execute("UPDATE outbox SET state = 'uncertain' WHERE state = 'sending' AND phase = 'final'")
    op.execute("UPDATE outbox SET state = 'pending' WHERE state = 'sending'")
    op.execute("UPDATE outbox SET state = 'failed' WHERE state IN ('bounced', 'expired')")
    op.drop_index("outbox_tried", "outbox")
    with op.batch_alter_table("outbox") as batch:
        batch.drop_column("doubts")
        for name, _ in _ADDED:
            batch.drop_column(name)
        batch.create_unique_constraint("outbox_episode", ["episode_id", "kind"])
