"""Messages of the old form survive the revision that adds claims and phases, and the way back."""

import contextlib

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from features.state import database

EPISODE = {"account_id": "A", "kind": "churn", "state": "open", "version": 1, "opened_as_of": 1, "last_as_of": 1}
MESSAGE = {
    "kind": "opened",
    "recipient": "a@owners.test",
    "subject": "s",
    "body": "b",
    "reason": None,
    "channel": "email",
    "attempts": 1,
    "position": 0,
    "created_at": 1,
    "next_try_at": 2,
    "sent_at": None,
}
OLD = ("pending", "sending", "uncertain", "sent", "failed", "withheld", "undeliverable")


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request, tmp_path):
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else f"sqlite:///{tmp_path}/state.db"
    made = database.connect(url)
    yield made
    made.dispose()


def migrate(engine, revision, way=command.upgrade):
    config = Config()
    config.set_main_option("script_location", str(database.MIGRATIONS))
    with engine.execution_options(writes=True).begin() as connection:
        config.attributes["connection"] = connection
        way(config, revision)


@contextlib.contextmanager
def reflected(engine, *names):
    with engine.execution_options(writes=True).begin() as connection:
        yield connection, [sa.Table(name, sa.MetaData(), autoload_with=connection) for name in names]


def test_messages_of_the_old_form_are_carried_over_and_back(engine):
    migrate(engine, "0007")
    with reflected(engine, "episodes", "outbox") as (connection, (episodes, outbox)):
        for number, state in enumerate(OLD):
            episode = EPISODE | {"id": state, "account_id": state, "opened_as_of": number}
            connection.execute(episodes.insert(), episode)
            connection.execute(outbox.insert(), MESSAGE | {"id": state, "episode_id": state, "state": state})
    migrate(engine, "0008")
    with reflected(engine, "outbox") as (connection, (outbox,)):
        rows = {row.id: row for row in connection.execute(sa.select(outbox))}
        assert {name: row.state for name, row in rows.items()} == {s: s for s in OLD} | {"uncertain": "failed"}
        assert (rows["pending"].doubts, rows["pending"].phase, rows["pending"].recipient) == (0, None, "a@owners.test")
        assert (rows["sending"].phase, rows["sending"].claimed_until) == ("final", 0)
        assert (rows["uncertain"].doubts, rows["uncertain"].reason) == (1, "it may have arrived: ")
        copy = MESSAGE | {"id": "copy", "episode_id": None, "state": "sent", "copy_of": "sent", "doubts": 0}
        again = MESSAGE | {"id": "again", "episode_id": "sent", "state": "pending", "created_at": 9, "doubts": 0}
        connection.execute(outbox.insert(), [copy | {"html": None}, again | {"copy_of": None, "html": "<p>"}])
    migrate(engine, "0007", command.downgrade)
    with reflected(engine, "outbox") as (connection, (outbox,)):
        rows = {row.id: row.state for row in connection.execute(sa.select(outbox))}
        assert rows == {s: s for s in OLD} | {"sending": "uncertain"}
