"""From the alerts' lots to the command that says what they have shown."""

import json

import pandas as pd
import pytest

from features.settings.load import load_settings
from features.state.tables import ALERT_CHOICES, EXPERIMENT_DRAWS
from monitoring.alerts.choice import CHOSEN, NOT_DRAWN
from tests.support.commands import run_command

ACCOUNTS = [f"a{n:02}" for n in range(40)]
LOTS = """
[experiment]
name = "spring"
band = 5
[capacity]
hours = 5
"""
AT = "2024-04-01"


@pytest.fixture
def drawn(company):
    """Forty accounts of one owner who has time for ten; half of the accounts buy on."""
    company.accounts(dict.fromkeys(ACCOUNTS, "one@owners.test"))
    company.purchases(
        [f"{a},{at:%Y-%m-%d},10" for a in ACCOUNTS for at in pd.date_range("2024-01-02", "2024-03-30", freq="7D")]
        + [
            f"{a},{at:%Y-%m-%d},10"
            for a in ACCOUNTS[::2]
            for at in pd.date_range("2024-04-02", "2024-12-31", freq="7D")
        ]
    )
    company.file.write_text(company.file.read_text() + LOTS)
    company.settings = load_settings(company.file)
    company.score(AT, {a: {"score": 0.9 - n / 100, "value": 1_000.0} for n, a in enumerate(ACCOUNTS)})
    company.alert(AT)
    return company


def test_lots_decide_around_the_line_and_as_many_are_told_as_without(drawn):
    draws = drawn.rows(EXPERIMENT_DRAWS, "unit", "treated", "probability", "rank")
    assert sorted(rank for *_, rank in draws) == [*range(6, 16)]
    assert sum(treated for _, treated, *_ in draws) == 5
    assert {p for *_, p, _ in draws} == {0.5}
    reasons = [reason for (reason,) in drawn.rows(ALERT_CHOICES, "reason")]
    assert (reasons.count(CHOSEN), reasons.count(NOT_DRAWN)) == (10, 5)


def test_the_first_draw_of_a_family_counts(drawn):
    before = drawn.rows(EXPERIMENT_DRAWS)
    drawn.score("2024-04-20", {a: {"score": 0.9 - n / 100, "value": 1_000.0} for n, a in enumerate(ACCOUNTS)})
    drawn.alert("2024-04-20")
    after = drawn.rows(EXPERIMENT_DRAWS)
    assert set(map(repr, before)) <= set(map(repr, after))


def test_the_status_tells_both_arms_and_what_may_be_said(drawn, finish):
    page = drawn.folder / "experiment.html"
    status, out, error = finish(drawn, "experiment", "status", "--json", drawn.folder / "status.json", "--page", page)
    assert status == 0, error
    assert "Experiment spring: runs since 2024-04-01, planned until 2026-04-01" in out
    assert "Lottery at the line of owners' time: 10 families drawn, 0 wait for their outcome" in out
    assert "You may say: Whether alerts save accounts can't be told yet" in out
    # Five families a month are few.
    assert "At this rate not even an effect of 20 points would show within five years" in out
    (found,) = json.loads((drawn.folder / "status.json").read_text())["comparisons"]
    kept, estimate = set(ACCOUNTS[::2]), found["estimate"]
    control = [unit for unit, treated in drawn.rows(EXPERIMENT_DRAWS, "unit", "treated") if not treated]
    assert estimate["kept_control"] == pytest.approx(sum(unit in kept for unit in control) / 5)
    assert (estimate["treated"], estimate["control"], estimate["verdict"]) == (5, 5, "open")
    assert found["statement"]["say"].replace("'", "&#39;") in page.read_text()


def test_without_lots_the_command_says_how_to_have_some(company, finish):
    status, out, _ = finish(company, "experiment", "status")
    assert (status, "set experiment.band" in out) == (0, True)


def test_the_plan_is_a_table_of_chances(company):
    done = run_command("monitoring", "experiment", "plan", "--units", "40", "--json", company.folder / "plan.json")
    assert (done.returncode, "+20 points" in done.stdout) == (0, True)
    plan = json.loads((company.folder / "plan.json").read_text())
    assert [e["effect"] for e in plan["effects"]] == [0.02, 0.05, 0.1, 0.2]
