"""Indexes for the inbox: open episodes without a look at their rows, and those that were closed last."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

_IS_OPEN = sa.text("closed_as_of IS NULL")
_COLUMNS = ["state", "kind", "expected", "owner", "cause", "account_id", "id", "closed_as_of"]


def upgrade() -> None:
    """Make the indexes."""
    op.create_index("episodes_waiting", "episodes", _COLUMNS, sqlite_where=_IS_OPEN, postgresql_where=_IS_OPEN)
    op.create_index("episodes_closed", "episodes", ["closed_at"])


def downgrade() -> None:
    """Drop them."""
    op.drop_index("episodes_closed", "episodes")
    op.drop_index("episodes_waiting", "episodes")
