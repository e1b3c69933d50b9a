"""Messages with their channel, the phase that their sending reached, and their deadlines."""

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add to the outbox what delivery at least once needs."""


def downgrade() -> None:
    """Drop it."""
