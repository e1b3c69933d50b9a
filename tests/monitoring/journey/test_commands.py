"""The map of topics by its commands: built from texts, decided about by people, kept over rebuilds, warned about."""

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from features.settings.load import load_settings
from features.sources.history import History
from features.state import database
from features.state.tables import OUTBOX
from monitoring.__main__ import app
from monitoring.journey import nightly
from monitoring.journey.topic import NEW
from monitoring.journey.topics import read_ticket_topics, read_topics
from tests.support.ticket_texts import ACCOUNTS, PROBLEMS, write_company

AT = "2026-01-01"


def run(folder, *arguments, status=0):
    result = CliRunner().invoke(app, ["journey", *arguments, "--config", str(folder / "garrison.toml")])
    assert result.exit_code == status, result.output
    return result.output


def read(folder):
    settings = load_settings(folder / "garrison.toml")
    with closing(database.open(settings)) as store:
        return read_topics(settings, store), read_ticket_topics(settings, store)


@pytest.fixture(scope="module")
def company(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_company(folder)
        run(folder, "build", "--as-of", AT, "--json", "map.json")
        yield folder


@pytest.fixture
def scene(company, monkeypatch):
    monkeypatch.chdir(company)
    return company


def find_problem(subject):
    """Return the problem of a ticket by its own words."""
    words = {
        "export": ("xcel",),
        "login": ("ingle sign-on", "单点登录"),
        "invoice": ("invoice", "发票"),
        "theme": ("theme", "主题"),
    }
    return next(problem for problem, marks in words.items() if any(mark in subject for mark in marks))


def test_each_topic_holds_one_problem_and_money_adds_up(scene):
    topics, assigned = read(scene)
    with History.open(load_settings(scene / "garrison.toml")) as history:
        tickets = history.query("SELECT ticket_id, account_id, subject, opened_at FROM tickets")
    joined = tickets.merge(assigned, on="ticket_id")
    joined["problem"] = joined["subject"].map(find_problem)
    told = joined[joined["topic_id"] != NEW]
    assert len(told) > 0.95 * len(joined)
    purity = told.groupby("topic_id")["problem"].agg(lambda some: some.value_counts().iloc[0]).sum() / len(told)
    assert purity > 0.9
    assert len(topics) >= len(PROBLEMS)
    found = json.loads((scene / "map.json").read_text(encoding="utf-8"))
    cost = found["topics"][0]
    assert cost["hours"] == pytest.approx(cost["tickets"] * 0.5)
    assert cost["service"] == pytest.approx(cost["hours"] * 60)
    assert sum(stage["tickets"] for stage in cost["stages"].values()) == cost["tickets"]
    assert sum(one["accounts"] for one in found["partners"].values()) == ACCOUNTS
    assert found["effects"] is None
    assert any("scores" in note for note in found["notes"])
    wishes = told[told["topic_id"].isin([t.topic_id for t in topics if t.tab == "wishes"])]
    assert (wishes["problem"] == "theme").mean() > 0.9
    assert any({"theme", "主题", "深色"} & set(" ".join(t.names.values()).split()) for t in topics)
    assert "words alone" in run(scene, "show")


def test_decisions_outlast_a_rebuild(scene):
    before, assigned = read(scene)
    kept, gone, split = before[0], before[1], before[2]
    run(scene, "rename", kept.topic_id, "Our own name")
    run(scene, "team", kept.topic_id, "team@harbour.test")
    run(scene, "tab", kept.topic_id, "complaints")
    run(scene, "pin", "Our own name")
    run(scene, "merge", gone.topic_id, kept.topic_id)
    said = run(scene, "split", split.topic_id, "--parts", "2")
    run(scene, "rename", "no such topic", "X", status=1)
    run(scene, "build", "--as-of", AT)
    after, assigned_after = read(scene)
    topic = next(t for t in after if t.topic_id == kept.topic_id)
    assert (topic.get_name("zh_Hans"), topic.team, topic.tab, topic.is_pinned) == (
        "Our own name", "team@harbour.test", "complaints", True,
    )  # fmt: skip
    ids = {t.topic_id for t in after}
    assert gone.topic_id not in ids
    parts = [part.strip(" .") for part in said.partition("into ")[2].partition(". The")[0].split(",")]
    assert len(parts) == 2
    assert set(parts) <= ids
    # Topics that nobody decided about keep their ids and most of their tickets.
    both = assigned.merge(assigned_after, on="ticket_id", suffixes=("_before", "_after"))
    others = both[~both["topic_id_before"].isin([kept.topic_id, gone.topic_id, split.topic_id])]
    assert (others["topic_id_before"] == others["topic_id_after"]).mean() > 0.9


def test_a_rise_is_told_once_until_it_is_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = write_company(tmp_path, late=40)
    settings, at = load_settings(file), datetime(2026, 1, 1, tzinfo=UTC)
    with closing(database.open(settings)) as store, History.open(settings) as history:
        assert nightly.run(settings, history, store, at) is None
        run(tmp_path, "build", "--as-of", AT)
        first = nightly.run(settings, history, store, at)
        assert first.warned.began
        again = nightly.run(settings, history, store, at + timedelta(days=1))
        assert again.warned.began == ()
        later = nightly.run(settings, history, store, at + timedelta(days=9))
        assert later.warned.ended == len(first.warned.began)
        with store.reading() as connection:
            rows = connection.execute(
                sa.select(OUTBOX.c.recipient, OUTBOX.c.body).where(OUTBOX.c.kind == "topic_rising")
            )
            letters = rows.all()
    assert len(letters) == len(first.warned.began)
    assert {letter.recipient for letter in letters} == {"service@harbour.test"}
    assert any("through partner P1" in " ".join(letter.body.split()) for letter in letters)
    assert not any("through partner P2" in " ".join(letter.body.split()) for letter in letters)
