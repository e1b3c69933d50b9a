"""Episodes of the old form, open and closed, survive the revision that gives them kinds, and the way back."""

import sqlalchemy as sa
from alembic import command

from tests.features.state.test_outbox_revision import MESSAGE, engine, migrate, reflected

__all__ = ["engine"]
OLD = {"target": "churn", "horizon": 90, "opened_score": 0.5, "peak_score": 0.6, "last_as_of": 3, "value": 100.0}
OLD |= {"model": "churn-1", "last_score": 0.55, "closed_as_of": None, "outcome": None}
EPISODES = (
    OLD | {"id": "waits", "account_id": "A", "opened_as_of": 1},
    OLD | {"id": "told", "account_id": "B", "opened_as_of": 1},
    OLD | {"id": "over", "account_id": "A", "opened_as_of": 0, "closed_as_of": 3, "outcome": "recovered"},
)


def test_episodes_of_the_old_form_are_carried_over_and_back(engine):  # the fixture
    migrate(engine, "0006")
    with reflected(engine, "episodes", "outbox") as (connection, (episodes, outbox)):
        connection.execute(episodes.insert(), EPISODES)
        for episode, state in (("waits", "pending"), ("told", "sent"), ("over", "sent")):
            connection.execute(outbox.insert(), MESSAGE | {"id": episode, "episode_id": episode, "state": state})
        before = connection.execute(sa.select(episodes).order_by(episodes.c.id)).all()
    migrate(engine, "0007")
    with reflected(engine, "episodes", "episode_events", "outbox") as (connection, (episodes, events, outbox)):
        rows = {row.id: row for row in connection.execute(sa.select(episodes))}
        assert {i: (r.kind, r.state, r.version) for i, r in rows.items()} == {
            "waits": ("churn", "open", 1),
            "told": ("churn", "notified", 1),
            "over": ("churn", "closed", 2),
        }
        assert (rows["over"].exited_as_of, rows["waits"].exited_as_of, rows["waits"].spoken_score) == (3, None, 0.5)
        course = connection.execute(sa.select(events.c.episode_id, events.c.seq, events.c.event, events.c.by))
        assert {tuple(row) for row in course} == {
            *((episode, 1, "opened", "run") for episode in rows),
            ("over", 2, "closed", "run"),
        }
        assert len(connection.execute(sa.select(outbox)).all()) == 3
        other = {c.name: getattr(rows["over"], c.name) for c in episodes.c}
        other |= {
            "id": "new",
            "kind": "upsell",
            "horizon": None,
            "opened_score": None,
            "peak_score": None,
            "model": None,
        }
        connection.execute(episodes.insert(), other)
    migrate(engine, "0006", command.downgrade)
    with reflected(engine, "episodes") as (connection, (episodes,)):
        assert connection.execute(sa.select(episodes).order_by(episodes.c.id)).all() == before
    migrate(engine, "head")
