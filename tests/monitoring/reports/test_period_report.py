"""A period's report: revenue kept, cohorts, promises and upsell, from the command to the file the console reads."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from features.settings.periods import find_fiscal_quarter, find_period
from features.sources.history import History
from features.state.account_tables import ACCOUNT_PROMISES
from monitoring.reports.kept_promises import count_promises
from monitoring.reports.recurring_revenue import follow_revenue, sum_movement
from monitoring.reports.retention_cohorts import follow_cohorts
from monitoring.reports.stored_reports import list_periods, locate_reports, read_report
from tests.support.commands import run_command

JUNE, JULY = datetime(2024, 6, 1, tzinfo=UTC), datetime(2024, 7, 1, tzinfo=UTC)


def test_net_and_gross_retention_follow_their_definitions():
    levels = pd.DataFrame({"before": [100.0, 100.0, 50.0, 0.0], "now": [130.0, 80.0, 0.0, 40.0]}, list("ABCD"))
    found = sum_movement(levels, "terms")
    assert (found.nrr, found.grr) == (pytest.approx(210 / 250), pytest.approx(180 / 250))
    assert {way: (g.accounts, g.amount) for way, g in found.groups.items()} == {
        "lost": (1, 50.0),
        "cut": (1, 20.0),
        "added": (1, 30.0),
        "new": (1, 40.0),
    }
    assert found.groups["lost"].top[0].account_id == "C"
    moved = sum(found.groups[way].amount * sign for way, sign in (("lost", -1), ("cut", -1), ("added", 1), ("new", 1)))
    assert found.before + moved == pytest.approx(found.now)
    assert sum_movement(levels.iloc[3:], "terms").nrr is None


def test_without_terms_the_spend_of_a_year_is_shown_and_said(company):
    company.purchases(["A,2023-07-15,100", "A,2024-06-15,60", "B,2023-05-15,80", "B,2023-08-01,20", "C,2024-06-20,5"])
    with History.open(company.settings) as history:
        found = follow_revenue(history, JUNE, JULY)
    assert (found.basis, found.before, found.now) == ("spend", 120.0, 185.0)
    assert (found.nrr, found.grr) == (pytest.approx(1.5), 1.0)
    assert found.groups["new"].top[0].account_id == "C"


def test_cohorts_are_followed_from_the_first_month_as_a_customer(company):
    company.accounts(dict.fromkeys("AB"))
    always = [f"A,{at:%Y-%m-%d},10" for at in pd.date_range("2023-01-15", "2024-06-15", freq="30D")]
    company.purchases([*always, "B,2024-01-15,10"])  # active for 180 days
    with History.open(company.settings) as history:
        old, new = follow_cohorts(history, company.settings.churn.cohort, JULY)
    assert (old.month, old.accounts, set(old.kept)) == ("", 1, {1.0})
    assert (new.month, new.accounts) == ("2024-02-01", 1)
    assert new.kept == (1.0, 1.0, 1.0, 1.0, 1.0, 1.0)[: len(new.kept)]


def test_promises_are_counted_by_when_they_were_due(company):
    def at(text):
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1e6)

    rows = [("2024-06-05", "2024-06-04"), ("2024-06-06", "2024-06-09"), ("2024-06-07", None), ("2024-07-01", None)]
    with company.state.writing() as connection:
        for n, (due, kept) in enumerate(rows):
            row = {"id": f"p{n}", "account_id": "A", "made_at": at("2024-05-30"), "due": at(due), "by": "ann"}
            row |= {"text": "call back", "recorded_by": "ann", "kept_at": at(kept) if kept else None}
            connection.execute(ACCOUNT_PROMISES.insert(), row)
    with History.open(company.settings) as history:
        found = count_promises(history, company.state, JUNE, JULY)
    assert (found.made, found.due, found.kept, found.late, found.broken) == (0, 3, 1, 1, 1)
    assert [(p.due, p.kept_at) for p in found.top] == [("2024-06-06", "2024-06-09"), ("2024-06-07", None)]


def test_the_command_writes_what_the_console_shows_and_sends_it_once(company):
    company.score("2024-06-01", {"A": 0.2, "D": 0.3})
    company.score("2024-07-01", {"A": 0.7, "E": 0.5})
    with company.file.open("a") as toml:
        toml.write('[reports]\nreaders = ["head@owners.test"]\n')
    ask = ("monitoring", "report", "--period", "2024-06", "--send", "--config", str(company.file))
    assert "The report is in the outbox for: head@owners.test." in run_command(*ask).stdout
    assert "had this report already: head@owners.test" in run_command(*ask).stdout
    assert list_periods(company.settings) == ["2024-06"]
    report = read_report(locate_reports(company.settings) / "2024-06.json")
    ways = {way: [t["top"][0]["account_id"] for t in tiers] for way, tiers in report["parts"]["by_tier"].items()}
    assert ways == {"rose": ["A"], "fell": [], "came": ["E"], "left": ["D"]}
    assert (report["fiscal"], report["parts"]["revenue"]["basis"]) == ("2024-Q2", "spend")
    assert report["parts"]["by_tier"]["left"][0]["top"][0]["name"] == "Company D"


@pytest.mark.parametrize("starts", [1, 2, 4, 10, 12])
def test_the_quarter_of_a_day_is_the_period_that_holds_it(starts):
    for month in range(1, 13):
        day = datetime(2025, month, 28, tzinfo=UTC)
        begin, end = find_period(find_fiscal_quarter(day, starts=starts), starts=starts)
        assert begin <= day < end
