"""The index of what waits holds the play and the version too: what the console reads after every write."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"

_BEFORE = ("state", "kind", "expected", "owner", "cause", "account_id", "id", "closed_as_of")


def upgrade() -> None:
    """Make the index anew."""
    _make((*_BEFORE, "play", "version"))


def downgrade() -> None:
    """Make the earlier one."""
    _make(_BEFORE)


def _make(columns: tuple[str, ...]) -> None:
    is_open = sa.text("closed_as_of IS NULL")
    op.drop_index("episodes_waiting", "episodes")
    op.create_index("episodes_waiting", "episodes", columns, sqlite_where=is_open, postgresql_where=is_open)
