import csv
import json
import re
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from tests.support.commands import run_command
from tests.support.past_company import LEAVING, MONDAYS, copy_past_company

PERIOD = ("--from", f"{MONDAYS[0]:%Y-%m-%d}", "--to", "2025-09-30")
HORIZON, WITHIN = timedelta(days=90), timedelta(days=120)


@pytest.fixture(scope="module")
def config(past, tmp_path_factory):
    return copy_past_company(past, tmp_path_factory.mktemp("command") / "company")


@pytest.fixture(scope="module")
def replayed(config):
    """What the command prints and writes: (standard output, JSON, page)."""
    out, page = config.with_name("replay.json"), config.with_name("replay.html")
    done = run_command("monitoring", "replay", *PERIOD, "--json", out, "--page", page, "--config", config)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(out.read_text(encoding="utf-8")), page.read_text(encoding="utf-8")


def read_purchases(config):
    with config.with_name("purchases.csv").open(encoding="utf-8") as file:
        rows = [(r["account_id"], datetime.fromisoformat(r["purchased_at"])) for r in csv.DictReader(file)]
    return {account: [at for a, at in rows if a == account] for account in {a for a, _ in rows}}


def test_each_alert_is_held_against_what_the_tables_say_came_true(config, replayed):
    bought = read_purchases(config)
    alerts = replayed[1]["alerts"]
    assert len(alerts) > 10
    assert {alert["verdict"] for alert in alerts} == {"right", "wrong"}
    for alert in alerts:
        day = datetime.fromisoformat(alert["day"]).replace(tzinfo=UTC)
        stays = any(day <= at < day + HORIZON for at in bought[alert["account_id"]])
        assert alert["verdict"] == ("wrong" if stays else "right"), alert
    figures = replayed[1]["figures"]
    assert figures["right"] + figures["wrong"] == figures["alerts"] == len(alerts)


def test_who_left_when_and_whether_the_owner_was_told_before(config, replayed):
    bought, data = read_purchases(config), replayed[1]
    told = {(a["account_id"], a["day"]) for a in data["alerts"] if a["recipient"]}
    departed = {gone["account_id"]: gone for gone in data["departed"]}
    buys = lambda account, since: any(since <= at < since + HORIZON for at in bought[account])  # noqa: E731  # of one test
    assert set(departed) == {a for a in bought if not all(buys(a, monday) for monday in MONDAYS)} != set()
    assert set(departed) <= set(LEAVING)
    for account, gone in departed.items():
        last = max(bought[account])
        assert gone["lost"] == f"{last + timedelta(days=1) + WITHIN:%Y-%m-%d}"
        days = [day for a, day in told if a == account]
        assert (gone["told"] is not None) == bool(days)
        if days:
            lead = datetime.fromisoformat(gone["lost"]) - datetime.fromisoformat(min(days))
            assert gone["lead_days"] == lead.days
    leads = pd.Series([gone["lead_days"] for gone in departed.values() if gone["told"]])
    assert data["figures"]["lead_days"] == leads.median()
    assert data["figures"]["caught"] == pytest.approx(sum(g["value"] for g in departed.values() if g["told"]))
    assert data["figures"]["missed"] == pytest.approx(sum(g["value"] for g in departed.values() if not g["told"]))


def test_groups_add_up_to_all_and_everybody_unannounced_has_a_cause(replayed):
    data = replayed[1]
    for by in ("owner", "tier", "week"):
        groups = [g for g in data["groups"] if g["by"] == by]
        for key in ("alerts", "right", "left", "told"):
            assert sum(g[key] for g in groups) == data["figures"][key], (by, key)
    kinds = [g for g in data["groups"] if g["by"] == "kind"]
    assert sum(g["alerts"] for g in kinds) == data["figures"]["alerts"]
    missed = sorted(g["account_id"] for g in data["departed"] if not g["told"])
    assert sorted(u["account_id"] for u in data["unannounced"]) == missed != []
    assert {u["cause"] for u in data["unannounced"]} <= {"capacity", "threshold", "no signal"}


def test_more_of_owners_time_catches_no_less_and_the_least_good_load_is_chosen(replayed):
    curve = replayed[1]["curve"]
    assert [p["hours"] for p in curve["points"]] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0]
    caught = [p["figures"]["caught"] for p in curve["points"]]
    loads = [p["alerts_a_week"] for p in curve["points"]]
    assert loads == sorted(loads)
    assert loads[0] < loads[-1]
    least = next(p["hours"] for p in curve["points"] if p["figures"]["caught"] >= 0.9 * max(caught))
    assert (curve["chosen_hours"], curve["current_hours"]) == (least, 1.0)
    assert not curve["is_of_one"]


def test_the_terminal_and_the_page_say_it(replayed):
    said, data, page = replayed
    figures = data["figures"]
    assert "8 runs that took place, on their stored scores" in said
    assert "the replay is the same, message by message" in said
    assert f"{figures['left']:,} accounts left, {figures['told']:,} of them after an alert" in said
    assert re.search(rf"^all +{figures['alerts']} ", said, re.MULTILINE)
    assert "Load of one owner a week" in said
    assert "<svg" in page
    assert page.count("<h1>") == 1
    assert "http://" not in page.replace("http://www.w3.org", "")
    for gone in data["unannounced"]:
        assert gone["account_id"] in page


def test_hours_are_written_only_when_asked_and_the_change_is_shown(past, tmp_path):
    config = copy_past_company(past, tmp_path / "company")
    before = config.read_text(encoding="utf-8")
    run_command("monitoring", "replay", *PERIOD, "--no-curve", "--config", config)
    assert config.read_text(encoding="utf-8") == before
    out = tmp_path / "replay.json"
    done = run_command("monitoring", "replay", *PERIOD, "--write", "--json", out, "--config", config)
    hours = json.loads(out.read_text(encoding="utf-8"))["curve"]["chosen_hours"]
    assert hours != 1.0
    line = f"hours = {hours:.1f}  # two alerts a week"
    assert config.read_text(encoding="utf-8") == before.replace("hours = 1.0  # two alerts a week", line)
    assert f"+{line}" in done.stdout


def learn_until(config, day):
    """Let the champion have learned until a day."""
    bundle = config.with_name("mlruns") / "model" / "bundle.json"
    manifest = json.loads(bundle.read_text(encoding="utf-8")) | {"learned_until": f"{day}T00:00:00+00:00"}
    bundle.write_text(json.dumps(manifest), encoding="utf-8")


def test_before_the_first_run_a_model_scores_only_what_lies_after_all_that_it_learned(past, tmp_path):
    config, out = copy_past_company(past, tmp_path / "company"), tmp_path / "replay.json"
    words = ("replay", "--from", "2025-07-01", "--to", "2025-07-15", "--no-curve", "--json", out, "--config", config)
    learn_until(config, "2025-07-02")
    assert "no model could have been trained by 2025-07-01" in " ".join(
        run_command("monitoring", *words).stderr.split()
    )
    learn_until(config, "2025-07-01")
    said = run_command("monitoring", *words).stdout
    data = json.loads(out.read_text(encoding="utf-8"))
    assert "2 looks by models of that time (churn-1)" in said
    assert data["instants_by_model_of_then"] == {"churn-1": 2}
    assert (data["runs_that_took_place"], data["equality"]) == (0, None)
    assert {alert["day"] for alert in data["alerts"]} <= {"2025-07-01", "2025-07-08"} != set()


def test_what_is_not_known_yet_is_open_and_counts_neither_way(past, tmp_path):
    config, out = copy_past_company(past, tmp_path / "company"), tmp_path / "replay.json"
    learn_until(config, "2025-09-01")
    words = ("--from", "2025-10-02", "--to", "2025-10-17", "--no-curve", "--json", out, "--config", config)
    said = run_command("monitoring", "replay", *words).stdout
    data = json.loads(out.read_text(encoding="utf-8"))
    days = {
        verdict: {a["day"] for a in data["alerts"] if a["verdict"] == verdict} for verdict in ("right", "wrong", "open")
    }
    assert days["open"] == {"2025-10-09", "2025-10-16"}
    assert days["right"] | days["wrong"] == {"2025-10-02"}
    assert f"{data['figures']['open']} are still open" in said
    assert "scored until 2025-10-03, not later" in said


@pytest.mark.parametrize(
    ("since", "until", "problem"),
    [
        ("2025-09-01", "2025-08-01", "the time to replay ends before it begins"),
        ("2024-09-01", "2025-08-01", "there are no data to replay 2024-09-01 with"),
        ("2025-09-01", "2026-08-01", "there are no data until 2026-08-01 yet"),
        ("2025-02-01", "2025-03-01", "no model could have been trained by 2025-02-01"),
    ],
)
def test_what_can_not_be_replayed_is_said(config, since, until, problem):
    done = run_command("monitoring", "replay", "--from", since, "--to", until, "--config", config)
    assert done.returncode == 1
    assert problem in " ".join(done.stderr.split())
