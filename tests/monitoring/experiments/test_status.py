"""What the status says of two years of draws with a known truth, and how an experiment is stopped."""

import json
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from features.core.timestamps import DAY
from features.state.experiment_tables import EXPERIMENTS
from features.state.tables import EPISODES, EXPERIMENT_DRAWS
from tests.support.lots import simulate_draws, write_experiment

TOUCHED = int(datetime(2023, 3, 5, tzinfo=UTC).timestamp()) * 1_000_000
TOUCHES = """
[sources.touches]
path = "touches.csv"
[tables.touches]
source = "touches"
columns = { account_id = "id", touched_at = "at", kind = "kind" }
"""


@pytest.fixture
def look(company, finish):
    def run(*words):
        file = company.folder / "status.json"
        status, out, error = finish(company, "experiment", "status", "--json", file, *words)
        assert status == 0, error
        return out, json.loads(file.read_text())

    return run


def test_a_known_effect_is_found_with_its_money_and_its_page(company, look):
    made = simulate_draws(0.25, units=40, seed=4)
    write_experiment(company, made, band=5)
    page = company.folder / "page.html"
    out, data = look("--page", page)
    (found,) = data["comparisons"]
    estimate = found["estimate"]
    assert estimate["verdict"] == "saves"
    assert estimate["low"] < made["truth"].mean() < estimate["high"]
    assert (found["drawn"], found["waiting"], len(estimate["looks"])) == (960, 0, 24)
    (saved,) = found["saved"]
    assert saved["treated_value"] == pytest.approx(made.loc[made["treated"], "value"].sum())
    assert saved["low"] == pytest.approx(estimate["low"] * saved["treated_value"])
    assert f"that is EUR {saved['low']:,.0f} to {saved['high']:,.0f} a year" in out
    assert "Warning" not in out
    text = page.read_text()
    assert text.count("<svg") == 1
    assert "Power so far" in text
    assert "Balance at the draw" in text
    assert f"EUR {saved['saved']:,.0f}" in text


def test_without_an_effect_it_says_how_long_to_go(company, look):
    write_experiment(company, simulate_draws(0.0, units=40, months=6, seed=5), band=5)
    out, data = look()
    (found,) = data["comparisons"]
    assert found["estimate"]["verdict"] == "open"
    assert found["months_to_go"] > 1
    effect = 100 * found["effect_to_go"]
    assert f"{found['months_to_go']} months to go at this rate for an effect of {effect:.0f} points" in out
    assert "Power so far, the chance that an effect would have shown by now" in out


def test_a_forced_imbalance_is_named(company, look):
    made = simulate_draws(0.0, seed=6)
    made["treated"] |= made.index % 5 == 0
    write_experiment(company, made, band=5)
    out, data = look()
    assert data["comparisons"][0]["balance"]["p_value"] < 0.001
    assert "Warning: The arms are not as the lots say" in out


def test_alerts_and_touches_of_those_not_drawn_are_named(company, look):
    made = simulate_draws(0.0, months=3, seed=7)
    control = [*made.loc[~made["treated"], "unit"]]
    touched = [f"{unit},2023-03-05,phone call" for unit in control[:7]]
    (company.folder / "touches.csv").write_text(
        "\n".join(["id,at,kind", *touched, f"{control[9]},2023-03-05,campaign"])
    )
    company.tables = TOUCHES
    company.configure()
    drawn = write_experiment(company, made, band=5)
    as_of = dict(zip(drawn["unit"], drawn["as_of"], strict=True))
    episode = {"kind": "churn", "horizon": 90, "model": "m", "version": 1, "state": "open"}
    with company.state.writing() as connection:
        for number, days in enumerate((5, 80, 100)):
            unit = control[number]
            at = as_of[unit] + days * DAY
            row = episode | {"id": f"e{number}", "account_id": unit, "opened_as_of": at, "last_as_of": at}
            connection.execute(sa.insert(EPISODES), row)
    out, data = look()
    (found,) = data["comparisons"]
    assert found["contamination"]["alerted"] == 2
    assert f"Warning: Contaminated: 2 of {len(control)} not drawn" in out
    expected = sum(as_of[u] < TOUCHED < as_of[u] + 90 * DAY for u in control[:7])
    assert expected > 0
    assert found["contamination"]["touched"] == expected
    assert f"Touched: {expected} of {len(control)} not drawn" in out


def test_it_is_stopped_by_a_rule_or_early_with_a_reason_and_draws_no_more(company, finish, look):
    write_experiment(company, simulate_draws(0.0, months=2, seed=8), band=5, months=60)
    status, _, error = finish(company, "experiment", "stop", "--reason", "we are curious")
    assert (status, "no rule says to stop" in error, "--early" in error) == (1, True, True)
    assert finish(company, "experiment", "stop", "--reason", " ", "--early")[0] == 1
    status, out, _ = finish(company, "experiment", "stop", "--reason", "budget cut", "--early", "--by", "Ann")
    assert (status, "is stopped (early, by no rule)" in out) == (0, True)
    out, data = look()
    assert "by Ann (early, by no rule): budget cut" in out
    assert (data["state"], data["stop_reason"]) == ("stopped", "budget cut")
    assert "to go at this rate" not in out
    status, _, error = finish(company, "experiment", "stop", "--reason", "again", "--early")
    assert (status, "is stopped already" in error) == (1, True)


def test_after_the_stop_the_alerts_draw_no_more(company, finish):
    company.file.write_text(company.file.read_text() + "[experiment]\nholdout = 0.5\n")
    company.promote()
    company.score("2024-06-01", {"A": 0.7, "B": 0.65, "C": 0.8, "D": 0.7})
    status, _, error = finish(company, "alert", "--as-of", "2024-06-01")
    assert status == 0, error
    drawn = company.rows(EXPERIMENT_DRAWS)
    assert len(drawn) == 4
    assert finish(company, "experiment", "stop", "--reason", "enough", "--early")[0] == 0
    company.score("2024-06-08", dict.fromkeys("ABCDE", 0.9))
    assert finish(company, "alert", "--as-of", "2024-06-08")[0] == 0
    assert company.rows(EXPERIMENT_DRAWS) == drawn
    assert {a for (a,) in company.rows(EPISODES, "account_id")} == set("ABCDE")
    assert company.rows(EXPERIMENTS, "stop_reason") == [("enough",)]


def test_the_planned_end_is_a_rule(company, finish):
    write_experiment(company, simulate_draws(0.0, months=3, units=20, seed=9), band=5, months=3)
    status, out, _ = finish(company, "experiment", "stop", "--reason", "three months are over")
    assert (status, "the planned length is over" in out) == (0, True)


def test_an_earlier_experiment_is_read_by_its_name(company, look, finish):
    write_experiment(company, simulate_draws(0.0, months=2, units=20, seed=9), band=5)
    company.file.write_text(company.file.read_text().replace('name = "simulated"', 'name = "next"'))
    out, _ = look()
    assert "Experiment next: No lot has been drawn yet" in out
    out, data = look("--name", "simulated")
    assert (data["name"], data["drawn"]) == ("simulated", 40)
    assert finish(company, "experiment", "status", "--name", "neither")[0] == 1
