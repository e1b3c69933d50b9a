"""From the letters that were sent to what owners did about them, by the command."""

import json
import re
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from features.core.timestamps import DAY
from features.samples import tidewater
from features.settings.load import load_settings
from features.state import database
from features.state.tables import EPISODE_EVENTS, EPISODES, OUTBOX
from tests.support.commands import run_command
from tests.support.episodes import find_illegal

EXAMPLE = Path(__file__).parents[3] / "docs/examples/tidewater.toml"
BEGAN = 20_362  # 2025-10-01, in days since 1970


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """A hundred accounts of which forty were told of on the first of October, and two weeks later."""
    folder = tmp_path_factory.mktemp("lived")
    toml = re.sub(r'(?m)^(\w+ += \{ path = )".*/tidewater/(\w+)"', r'\1"tidewater/\2"', EXAMPLE.read_text())
    (folder / "tidewater.toml").write_text(f'[paths]\nvar = "{folder}/var"\n{toml}')
    made = ("--accounts", "100", "--months", "9", "--until", "2025-10-01", "--out", folder / "tidewater")
    assert run_command("features", "sample", "tidewater", *made).returncode == 0
    accounts = pq.read_table(folder / "tidewater/accounts").to_pylist()[:50]
    settings = load_settings(folder / "tidewater.toml")
    with database.open(settings) as store, store.writing() as connection:
        for number, account in enumerate(accounts):
            at, sent = BEGAN * DAY, "sent" if number < 40 else "pending"
            letter = {"id": f"m{number}", "kind": "opened", "subject": "s", "body": "b", "state": sent, "attempts": 1}
            connection.execute(sa.insert(OUTBOX), letter | {"position": number, "created_at": at, "next_try_at": at})
            row = {"id": f"episode-{number:02}", "account_id": account["account_id"], "kind": "churn", "state": "open"}
            row |= {"opened_as_of": at, "last_as_of": at, "cause": "usage", "owner": account["owner_email"]}
            connection.execute(sa.insert(EPISODES), row | {"message_id": letter["id"], "version": 1})
            event = {"episode_id": row["id"], "seq": 1, "at": at, "as_of": at, "event": "opened", "by": "run"}
            connection.execute(sa.insert(EPISODE_EVENTS), event | {"details": {}})
    words = ("live-on", "--until", "2025-10-20", "--config", folder / "tidewater.toml", "--json", folder / "done.json")
    done = run_command("monitoring", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def read(folder, *columns):
    with database.open(load_settings(folder / "tidewater.toml")) as store, store.reading() as connection:
        return connection.execute(sa.select(*columns)).all()


def test_some_owners_act_on_letters_that_were_sent_and_only_on_those(lived):
    folder, said = lived
    figures = json.loads((folder / "done.json").read_text())
    assert "Tidewater has lived until 2025-10-20. Letters sent: 40" in said
    calls = pq.read_table(folder / "tidewater/truth_planned").to_pylist()
    assert 0 < len(calls) == figures["planned"] < 40
    assert {int(call["episode_id"][-2:]) for call in calls} <= set(range(40))
    touches = pq.read_table(folder / "tidewater/touches").to_pylist()
    assert 0 < len(touches) <= len(calls)
    assert {t["account_id"] for t in touches} <= {c["account_id"] for c in calls}
    acknowledged = read(folder, EPISODES.c.id, EPISODES.c.acknowledged_at).__iter__()
    assert sum(at is not None for _, at in acknowledged) == figures["acts"]["acknowledged"] == len(touches)


def test_their_acts_are_events_of_the_episodes_at_their_time(lived):
    folder, _ = lived
    with database.open(load_settings(folder / "tidewater.toml")) as store:
        assert find_illegal(store) == []
    events = read(folder, EPISODE_EVENTS.c.event, EPISODE_EVENTS.c.at, EPISODE_EVENTS.c.by)
    acts = [(event, at // DAY - BEGAN, by) for event, at, by in events if event != "opened"]
    assert all(0 < day < 19 for _, day, _ in acts)
    assert all(by.startswith("owner-") for *_, by in acts)
    outcomes = Counter(outcome for (outcome,) in read(folder, EPISODES.c.outcome) if outcome)
    assert set(outcomes) <= {"saved", "false_alarm"}
    assert outcomes["false_alarm"] > 0


def test_what_became_of_them_is_told_by_the_command(lived):
    folder, _ = lived
    words = ("outcomes", "--by", "cause", "--config", folder / "tidewater.toml", "--json", folder / "outcomes.json")
    done = run_command("monitoring", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "50 alerts" in done.stdout
    found = json.loads((folder / "outcomes.json").read_text())
    (usage,) = found["by_cause"]
    counts = usage["counts"]
    assert usage["name"] == "usage"
    assert counts["alerts"] == 50 == counts["open"] + counts["saved"] + counts["false_alarm"]
    assert set(found) == {"total", "least", "by_cause"}


def test_a_company_that_is_not_made_up_does_not_live_on(lived, tmp_path):
    folder, _ = lived
    tidewater.write_sample(tmp_path / "tidewater", accounts=100, months=3)
    toml = (folder / "tidewater.toml").read_text().replace(f"{folder}/var", f"{tmp_path}/var")
    (tmp_path / "tidewater.toml").write_text(toml)
    words = ("live-on", "--until", "2026-02-01", "--config", tmp_path / "tidewater.toml")
    done = run_command("monitoring", *words, cwd=tmp_path)
    assert (done.returncode, "only a made-up company can" in done.stderr) == (1, True)
