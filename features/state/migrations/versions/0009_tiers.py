"""Tiers with frozen cuts, their history, overrides, and who is away."""

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Make the tables of tiers and absences."""


def downgrade() -> None:
    """Drop them."""
