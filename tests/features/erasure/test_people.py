"""A person who is erased is in no byte, while the account's figures stay; users can have pseudonyms from the start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from features.erasure.erase import erase, verify
from features.settings import Settings
from features.settings.load import load_settings
from features.sources.history import History
from features.state import database
from features.state.tables import EPISODES, EVENT_LOG
from serving.events.log import store_events
from serving.schemas.event_requests import EventRequestReader
from tests.features.erasure.test_erase import REASON, fill, fill_tables
from tests.support.scored_company import write_company

ONE, OTHER, MAIL = "jo 乔@harbour.example", "ann@harbour.example", "jo@private.example"
MORE = """
[quality]
max_quarantine = 1.0
[sources.usage]
path = "usage.csv"
[sources.people]
path = "people.csv"
[tables.usage]
source = "usage"
columns = { account_id = "account", used_at = "at", user_id = "user" }
[tables.people]
source = "people"
columns = { person_id = "id", account_id = "account", since = "since", name = "name", email = "email" }
"""


def write_people(folder: Path, more: str = "") -> Settings:
    """Write a company of one account, with two users who are its people."""
    settings = write_company(folder, [{"id": "A-1", "name": "Pier"}], MORE + more)
    users = [f"A-1,2024-01-0{day},{user}" for day, user in ((2, ONE), (3, OTHER), (4, ONE))]
    # The last is a bad row: its raw form goes to quarantine.
    (folder / "usage.csv").write_text("\n".join(["account,at,user", *users, f"A-9,2024-01-05,{ONE}"]) + "\n")
    rows = [f"{ONE},A-1,2023-01-02,Jo Quay,{MAIL}", f"{OTHER},A-1,2023-01-02,Ann Pier,{OTHER}"]
    (folder / "people.csv").write_text("\n".join(["id,account,since,name,email", *rows]) + "\n")
    return load_settings(settings.file)


def find_bytes(settings: Settings, text: str) -> list[Path]:
    return [f for f in settings.var.rglob("*") if f.is_file() and text.encode() in f.read_bytes()]


def test_an_erased_person_is_nowhere_and_the_usage_stays(tmp_path: Path) -> None:
    settings = write_people(tmp_path)
    with History.open(settings) as history:
        assert history.count_rows("usage") == 3
    with database.open(settings) as store, store.writing() as connection:
        fill_tables(connection, ONE)
        theirs = {column.name: fill(column, ONE, 5) for column in EPISODES.c} | {"account_id": "A-1"}
        connection.execute(sa.insert(EPISODES), theirs)
    assert find_bytes(settings, ONE)
    assert len(verify(settings, "person", ONE)) > 20
    assert erase(settings, "person", ONE, reason=REASON).counts
    with History.open(settings) as history:
        assert history.query("SELECT person_id FROM people")["person_id"].to_list() == [OTHER]
        users = history.query("SELECT count(*) AS n, count(user_id) AS known FROM usage")
        assert users.iloc[0].to_list() == [3, 1]
    assert find_bytes(settings, ONE) + find_bytes(settings, "Jo Quay") + find_bytes(settings, MAIL) == []
    assert verify(settings, "person", ONE) == []
    with database.open(settings) as store, store.reading() as connection:
        # The episode stays under another version: a running console reads it anew.
        assert connection.execute(sa.select(EPISODES.c.owner, EPISODES.c.version)).all() == [(None, 6)]


def test_users_have_the_same_pseudonym_every_night_and_in_posts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GARRISON_PRIVACY_KEY", "k" * 32)
    settings = write_people(tmp_path, '[privacy]\nuser_ids = "hash"\n')
    with History.open(settings) as history:
        first = history.query("SELECT user_id FROM usage ORDER BY used_at")["user_id"].to_list()
    assert first[0] == first[2] != first[1]
    assert len(first[0]) == 16
    assert find_bytes(settings, ONE) == [f for f in find_bytes(settings, ONE) if f.suffix == ".duckdb"]  # of people
    use = {"event_id": "e", "account_id": "A-1", "used_at": "2024-01-06T00:00:00Z", "user_id": ONE, "feature": "x"}
    events = EventRequestReader(settings).read(json.dumps({"usage": [use]}).encode())
    with database.open(settings) as store:
        store_events(settings, store, events)
        with store.reading() as connection:
            content = json.loads(str(connection.scalar(sa.select(EVENT_LOG.c.content))))
        assert content["user_id"] == first[0]
        assert [row["fate"] for row in store_events(settings, store, events)["usage"]] == ["duplicate"]
    erase(settings, "person", ONE, reason=REASON)
    assert find_bytes(settings, first[0]) == []
    with database.open(settings) as store:
        answer = store_events(settings, store, events)["usage"][0]
    assert (answer["fate"], answer["error"]["details"][0]["at"]) == ("rejected", "user_id")
