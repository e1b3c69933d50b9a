"""Whose a state database is: two companies with one address would mix their scores."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "owner",
        sa.Column("company", sa.String, primary_key=True),
        sa.Column("file", sa.String, nullable=False),
    )


def downgrade() -> None:
    """Remove the table."""
    op.drop_table("owner")
