"""The gate before alerts, from the commands inwards: what is held, who hears of it, and what people decide."""

import json
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from features.state.tables import ALERT_RUNS, EPISODES, OUTBOX, RUN_DECISIONS, RUN_VERDICTS
from monitoring.gate import check
from serving.gate.verdict import Reason

AT, LATER = "2024-06-01", "2025-02-01"
STALE = "purchases: last event 2024-12-31, silent for 31 days"


@pytest.fixture
def alert(company, finish):
    """Run `monitoring alert` on the company; gives (exit status, standard output, standard error)."""
    company.promote()
    return lambda *words: finish(company, "alert", *words)


def name_data_team(company, address="data@harbour.test"):
    with company.file.open("a") as toml:
        toml.write(f'[monitoring]\ndata_team = "{address}"\n')


def test_a_healthy_run_is_ok_and_its_verdict_is_stored(company, alert):
    company.score(AT, {"A": 0.7})
    status, out, _ = alert("--as-of", AT, "--json", company.folder / "alert.json")
    assert status == 0
    assert "as of 2024-06-01: ok." in out
    assert "1 opened" in out
    assert json.loads((company.folder / "alert.json").read_text())["verdict"]["state"] == "ok"
    assert company.rows(RUN_VERDICTS, "state", "compared_with") == [("ok", None)]


def test_stale_data_wake_nobody(company, alert):
    company.score(LATER, {"A": 0.7})
    status, out, err = alert("--as-of", LATER, "--json", company.folder / "alert.json")
    assert status == 1
    assert f"hold: {STALE}" in out
    assert "Nobody is informed: the settings name no monitoring.data_team." in out
    assert err.startswith("error: no alerts may go out now. found: run ")
    assert f"is held: {STALE}" in err
    assert err.count("\n") == 1
    written = json.loads((company.folder / "alert.json").read_text())["verdict"]
    assert (written["state"], written["accepted"], written["reasons"][0]["subject"]) == ("hold", False, "purchases")
    assert [company.rows(table) for table in (ALERT_RUNS, EPISODES, OUTBOX)] == [[], [], []]


def test_the_data_team_hears_of_a_hold_once_and_by_mail(company, alert, post, finish):
    company.mail_to(post)
    name_data_team(company)
    company.score(LATER, {"A": 0.7})
    assert "A message to the data team is in the outbox." in alert("--as-of", LATER)[1]
    assert "The data team has been informed already." in alert("--as-of", LATER)[1]
    assert finish(company, "deliver")[0] == 0
    assert post.recipients == ["data@harbour.test"]
    [(_, content)] = post.received
    assert b"Subject: Held: Harbour's scores as of 1 February 2025, for purchases" in content
    assert b"monitoring release " in content
    [(run, kind, body)] = company.rows(OUTBOX, "run", "kind", "body")
    assert (kind, company.rows(RUN_VERDICTS, "run")) == ("held", [(run,)])
    assert "  1. purchases: last event 2024-12-31, silent for 31 days; in 12 months\n" in body
    assert finish(company, "episodes")[1].startswith("0 episodes")


def test_a_message_to_the_data_team_that_can_not_be_sent_needs_attention(company, alert, post, finish):
    company.mail_to(post)
    name_data_team(company)
    company.score(LATER, {"A": 0.7})
    alert("--as-of", LATER)
    [(message, run)] = company.rows(OUTBOX, "id", "run")
    with company.state.writing() as connection:
        connection.execute(OUTBOX.update().values(state="failed", reason="the server said no"))
    out = finish(company, "deliver")[1]
    assert f"failed: {message}, run {run}: the server said no" in out


def test_an_address_of_the_data_team_that_is_none_is_named(company, alert):
    name_data_team(company, "data team")
    company.score(LATER, {"A": 0.7})
    status, _, err = alert("--as-of", LATER)
    assert (status, "monitoring.data_team: 'data team' is not an e-mail address" in err) == (1, True)
    assert company.rows(OUTBOX) == []


def test_a_dry_run_shows_the_verdict_and_writes_nothing(company, alert):
    name_data_team(company)
    company.score(LATER, {"A": 0.7})
    status, out, err = alert("--as-of", LATER, "--dry-run")
    assert (status, STALE in out, "no alerts may go out" in err) == (1, True, True)
    assert [company.rows(table) for table in (RUN_VERDICTS, EPISODES, OUTBOX)] == [[], [], []]


def test_without_as_of_data_are_held_against_the_clock(company, alert):
    company.score("2025-01-01", {"A": 0.7})
    err = alert()[2]
    assert "purchases: last event 2024-12-31, silent for" in err
    assert "give --as-of 2025-01-01" in err
    today = datetime.now(UTC).date()
    company.purchases([f"A,{today - timedelta(days=d)},10" for d in (20, 10, 1)])
    company.score(today.isoformat(), {"A": 0.7})
    assert "1 opened" in alert()[1]


def test_one_table_that_stopped_closes_the_gate_though_another_goes_on(company, alert):
    company.usage([f"A,{at:%Y-%m-%d}" for at in pd.date_range("2024-01-01", "2024-10-31")])
    company.score("2025-01-01", {"A": 0.7})
    err = alert("--as-of", "2025-01-01")[2]
    assert "usage: last event 2024-10-31, silent for 61 days" in err
    assert "purchases" not in err
    company.usage([f"A,{at:%Y-%m-%d}" for at in pd.date_range("2024-01-01", "2024-12-31")])
    assert "1 opened" in alert("--as-of", "2025-01-01")[1]


def test_what_is_only_watched_goes_into_each_letter(company, alert, monkeypatch):
    odd = Reason("source", "purchases", "watch", "3% of kind are empty, usually 0%")
    monkeypatch.setattr("serving.gate.judge._judge_sources", lambda *_: [odd])
    company.score(AT, {"A": 0.7})
    status, out, _ = alert("--as-of", AT)
    assert (status, "watch: purchases: 3% of kind are empty, usually 0%" in out) == (0, True)
    [(body,)] = company.rows(OUTBOX, "body")
    assert "\nNote on the data: purchases: 3% of kind are empty, usually 0%\n" in body


def test_a_released_run_goes_out_and_its_letters_say_so(company, alert, finish):
    company.score(LATER, {"A": 0.7})
    alert("--as-of", LATER)
    status, out, _ = finish(company, "release", "latest", "--reason", "the shop was closed", "--json", "r.json")
    assert (status, "is released by " in out) == (0, True)
    assert json.loads((company.folder / "r.json").read_text())["accepted"] is True
    status, out, _ = alert("--as-of", LATER)
    assert (status, "1 opened" in out, "the shop was closed" in out) == (0, True, True)
    [(body,)] = company.rows(OUTBOX, "body")
    assert "this run was held for purchases" in " ".join(body.split())
    [(decision, reason)] = company.rows(RUN_DECISIONS, "decision", "reason")
    assert (decision, reason) == ("released", "the shop was closed")


def test_no_alert_goes_out_on_a_discarded_run(company, alert, finish):
    company.score(AT, {"A": 0.7})
    assert alert("--as-of", AT, "--dry-run")[0] == 0
    assert finish(company, "discard", "latest", "--reason", "x")[2].startswith("error: there is no judged run latest")
    company.score("2024-05-01", {"A": 0.1})
    alert("--as-of", "2024-05-01")
    [(run,)] = company.rows(RUN_VERDICTS, "run")
    assert finish(company, "discard", run[:6], "--reason", "a test export")[0] == 0
    status, _, err = alert("--as-of", "2024-05-01")
    assert (status, "was discarded by" in err, "a test export. Score again" in err) == (1, True, True)


def test_a_decision_without_a_reason_is_wrong_usage(company, finish):
    assert finish(company, "release", "latest")[0] == 2


def test_verdicts_lists_the_judged_runs_with_what_people_decided(company, alert, finish):
    assert "No run has been judged yet" in finish(company, "verdicts")[1]
    for at in (AT, LATER):
        company.score(at, {"A": 0.7})
        alert("--as-of", at)
    finish(company, "release", "latest", "--reason", "the shop was closed")
    status, out, _ = finish(company, "verdicts", "--json", "v.json")
    assert status == 0
    lines = [line.split() for line in out.splitlines() if line.startswith("20")]
    assert [(line[0], line[2], line[3:4]) for line in lines] == [(LATER, "hold", ["released"]), (AT, "ok", [])]
    runs = json.loads((company.folder / "v.json").read_text())["runs"]
    assert [(run["state"], run["accepted"]) for run in runs] == [("hold", True), ("ok", True)]
    assert len(finish(company, "verdicts", "--limit", "1")[1].splitlines()) == 3


def test_scores_stored_on_another_machine_keep_their_run(company):
    company.promote()
    company.score(AT, {"A": 0.7, "B": {"score": 0.2, "in_cohort": False}})
    run = check.ScoredRun.read(company.settings, company.state, datetime(2024, 6, 1, tzinfo=UTC))
    assert (list(run.accounts), run.cohorts, run.models) == (["A", "B"], {"churn": 1}, {"churn": "churn-1"})
