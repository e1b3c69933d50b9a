"""Episodes of several kinds with every change kept, what each run chose and why, and what is muted."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_ADDED = (
    ("spoken_score", sa.Double),
    ("expected", sa.Double),
    ("cause", sa.String),
    ("play", sa.String),
    ("owner", sa.String),
    ("message_id", sa.String),
    ("acknowledged_at", sa.BigInteger),
    ("acknowledged_by", sa.String),
    ("snoozed_until", sa.BigInteger),
    ("closed_at", sa.BigInteger),
    ("outcome_reason", sa.String),
    ("exited_as_of", sa.BigInteger),
)
# Of a score alone: kinds without one leave them empty.
_LOOSENED = (("horizon", sa.Integer), ("opened_score", sa.Double), ("peak_score", sa.Double), ("model", sa.String))


def upgrade() -> None:
    """Rebuild episodes; make episode_events, alert_choices and mutes. Episodes of before are carried over."""
    op.drop_index("episodes_open", "episodes")
    with op.batch_alter_table("episodes") as batch:
        batch.drop_constraint("episodes_opened", type_="unique")
    with op.batch_alter_table("episodes") as batch:
        batch.alter_column("target", new_column_name="kind", existing_type=sa.String, existing_nullable=False)
        batch.add_column(sa.Column("state", sa.String, nullable=False, server_default="open"))
        batch.add_column(sa.Column("version", sa.Integer, nullable=False, server_default="1"))
        for name, kind in _ADDED:
            batch.add_column(sa.Column(name, kind))
        for name, loose in _LOOSENED:
            batch.alter_column(name, existing_type=loose(), nullable=True)
    with op.batch_alter_table("episodes") as batch:
        batch.create_unique_constraint("episodes_opened", ["account_id", "kind", "opened_as_of"])
        batch.alter_column("state", existing_type=sa.String(), existing_nullable=False, server_default=None)
        batch.alter_column("version", existing_type=sa.Integer(), existing_nullable=False, server_default=None)
    _index_open("kind")
    events = op.create_table(
        "episode_events",
        sa.Column("episode_id", sa.String, sa.ForeignKey("episodes.id"), primary_key=True),
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("as_of", sa.BigInteger),
        sa.Column("event", sa.String, nullable=False),
        sa.Column("by", sa.String, nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
    )
    op.create_table(
        "alert_choices",
        sa.Column("as_of", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String, primary_key=True),
        sa.Column("account_id", sa.String, primary_key=True),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("score", sa.Double),
        sa.Column("value", sa.Double),
        sa.Column("expected", sa.Double, nullable=False),
        sa.Column("threshold", sa.Double),
        sa.Column("capacity", sa.Double),
        sa.Column("owner", sa.String),
        sa.Column("play", sa.String),
        sa.Column("chosen", sa.Boolean, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
    )
    op.create_table(
        "mutes",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("account_id", sa.String, nullable=False),
        sa.Column("kind", sa.String),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("by", sa.String, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_index("mutes_account", "mutes", ["account_id"])
    _carry_over(events)


def downgrade() -> None:
    """Go back to episodes of risk alone; those of other kinds go, with their messages and all that only 0007 holds."""
    for table in ("mutes", "alert_choices", "episode_events"):
        op.drop_table(table)
    op.execute("DELETE FROM outbox WHERE episode_id IN (SELECT id FROM episodes WHERE kind <> 'churn')")
    op.execute("DELETE FROM episodes WHERE kind <> 'churn'")
    op.drop_index("episodes_open", "episodes")
    with op.batch_alter_table("episodes") as batch:
        batch.drop_constraint("episodes_opened", type_="unique")
    with op.batch_alter_table("episodes") as batch:
        batch.alter_column("kind", new_column_name="target", existing_type=sa.String, existing_nullable=False)
        for name in ("state", "version", *(name for name, _ in _ADDED)):
            batch.drop_column(name)
        for name, loose in _LOOSENED:
            batch.alter_column(name, existing_type=loose(), nullable=False)
    with op.batch_alter_table("episodes") as batch:
        batch.create_unique_constraint("episodes_opened", ["account_id", "target", "opened_as_of"])
    _index_open("target")


def _index_open(kind: str) -> None:
    """Let the database itself refuse an account's second open episode of a kind."""
    still_open = sa.text("closed_as_of IS NULL")
    op.create_index(
        "episodes_open",
        "episodes",
        ["account_id", kind],
        unique=True,
        sqlite_where=still_open,
        postgresql_where=still_open,
    )


def _carry_over(events: sa.Table) -> None:
    """Give the episodes of before the state that their message and their end say, and the events that are known."""
    op.execute(
        "UPDATE episodes SET state = 'closed', closed_at = closed_as_of, exited_as_of = closed_as_of, version = 2 "
        "WHERE closed_as_of IS NOT NULL"
    )
    op.execute(
        "UPDATE episodes SET state = 'notified' WHERE closed_as_of IS NULL AND EXISTS "
        "(SELECT 1 FROM outbox WHERE outbox.episode_id = episodes.id AND outbox.state = 'sent')"
    )
    op.execute("UPDATE episodes SET spoken_score = opened_score")
    op.execute(
        "UPDATE episodes SET message_id = (SELECT min(outbox.id) FROM outbox WHERE outbox.episode_id = episodes.id)"
    )
    names = ("id", "opened_as_of", "opened_score", "closed_as_of", "outcome", "last_score")
    rows: list[dict[str, Any]] = []
    row: Any
    for row in op.get_bind().execute(sa.select(*map(sa.column, names)).select_from(sa.table("episodes"))).all():
        shared = {"episode_id": row.id, "by": "run"}
        opened = {"seq": 1, "at": row.opened_as_of, "as_of": row.opened_as_of, "event": "opened"}
        rows.append(shared | opened | {"details": {"score": row.opened_score}})
        if row.closed_as_of is not None:
            closed = {"seq": 2, "at": row.closed_as_of, "as_of": row.closed_as_of, "event": "closed"}
            rows.append(shared | closed | {"details": {"outcome": row.outcome, "score": row.last_score}})
    if rows:
        op.bulk_insert(events, rows)
