"""Episodes of several kinds with every change kept, what each run chose and why, and what is muted."""

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Rebuild episodes; make episode_events, alert_choices and mutes."""


def downgrade() -> None:
    """Go back to one kind of episode."""
