"""Tables compared in time: events before their account, outside every term, after the end; and what an end means."""

import json
from datetime import date, timedelta

import pytest
from typer.testing import CliRunner

from features.__main__ import app
from features.diagnostics.table_times import describe_term_ends, find_conflicts
from features.sources.history import History

TERMS = {c: c for c in ("account_id", "purchased_at", "amount", "term_starts_at", "term_ends_at")}


def months(count, *, first=date(2023, 1, 1)):
    """Return the first days of months."""
    return [date(first.year + (first.month - 1 + n) // 12, (first.month - 1 + n) % 12 + 1, 1) for n in range(count)]


def bill(company, accounts, *, end, inclusive=False, leaves=lambda _: 99):
    """Bill each account monthly until it leaves; `end` makes the end of a term of the next one's beginning."""
    rows = [
        f"{a},{begin},10,{begin},{end(after)}"
        for a in accounts
        for n, (begin, after) in enumerate(zip(months(15), months(16)[1:], strict=True))
        if n < leaves(a)
    ]
    company.only("purchases", ",".join(TERMS), *rows)
    if inclusive:
        company.toml["tables"]["purchases"]["columns"]["term_ends_at"] = {"column": "term_ends_at", "inclusive": True}
    company.toml["churn"] = {
        "cohort": {"kind": "in_force"},
        "label": {"kind": "lapse", "grace_days": 0},
        "horizons": [30],
    }


@pytest.fixture
def accounts(company):
    names = [f"A{n}" for n in range(60)]
    company.table("accounts", "account_id,created_at", *(f"{a},2023-01-01" for a in names))
    return names


def run(company):
    file = company.folder / "check.json"
    words = ["check", "--config", str(company.write()), "--json", str(file), "--as-of", "2024-04-01"]
    done = CliRunner().invoke(app, words)
    assert "Traceback" not in done.output
    return done, json.loads(file.read_text(encoding="utf-8"))


def rate(report):
    return report["labels"]["rules"][0]["rate"]


def test_ends_on_the_last_day_are_remarked_on_and_may_be_said_to_be_inclusive(company, accounts):
    def leaves(account):
        return 4 + int(account[1:]) % 23

    bill(company, accounts, end=lambda after: after - timedelta(days=1), leaves=leaves)
    done, report = run(company)
    assert done.exit_code == 1
    assert "the cohort is empty at every cutoff" in done.output
    (remark,) = report["term_ends"]
    assert "Do the dates include the last day?" in remark
    assert remark in done.output
    assert 'term_ends_at = { column = "term_ends_at", inclusive = true }' in remark
    assert not report["labels"]["can_train"]
    bill(company, accounts, end=lambda after: after - timedelta(days=1), inclusive=True, leaves=leaves)
    done, report = run(company)
    assert done.exit_code == 0, done.output
    assert done.output.startswith("Can you train? Yes, on purchases:")
    assert report["term_ends"] == []
    assert 0.02 < rate(report) < 0.08
    page = (company.folder / "var" / "harbour" / "check.html").read_text(encoding="utf-8")
    assert "What there is to learn" in page


@pytest.mark.parametrize(("written", "inclusive", "said"), [("T23:59:59Z", False, True), ("", True, False)])
def test_ends_in_the_last_second_are_remarked_on(company, accounts, written, inclusive, said):
    bill(company, accounts, end=lambda after: f"{after - timedelta(days=1)}{written}", inclusive=inclusive)
    with company.open() as history:
        assert any("include the last day" in r for r in describe_term_ends(history, company.settings())) == said


def test_inclusive_of_what_already_is_the_day_after_is_remarked_on(company, accounts):
    bill(company, accounts, end=str, inclusive=True)
    with company.open() as history:
        (remark,) = describe_term_ends(history, company.settings())
    assert "Take inclusive = true from term_ends_at" in remark
    bill(company, accounts, end=str)
    with company.open() as history:
        assert not [*describe_term_ends(history, company.settings())]


@pytest.mark.usefixtures("accounts")
def test_the_last_day_ends_at_the_midnight_of_its_zone(company):
    company.toml["company"]["timezone"] = "Europe/Berlin"
    company.only("purchases", ",".join(TERMS), "A1,2024-10-01,1,2024-10-01,2024-10-27")
    columns = company.toml["tables"]["purchases"]["columns"]
    columns["term_ends_at"] = {"column": "term_ends_at", "inclusive": True}
    with company.open() as history:
        ends = history.query("SELECT epoch_ms(term_ends_at // 1000) AS t FROM purchases")["t"].iloc[0]
    # The day has 25 hours.
    assert str(ends) == "2024-10-27 23:00:00"


def test_events_at_odd_times_are_named_with_their_shares(company, accounts):
    bill(company, accounts, end=str, leaves=lambda _: 6)
    used = [f"{a},2023-{m:02d}-15" for a in accounts for m in (3, 4, 9, 10)] + [
        f"{a},2022-12-01" for a in accounts[:24]
    ]
    company.table("usage", "account_id,used_at", *used)
    lives = [f"{a},2023-01-01,2023-07-01" for a in accounts[:30]] + [f"{a},2023-01-01," for a in accounts[30:]]
    company.table("lifetimes", "account_id,started_at,ended_at", *lives)
    with company.open() as history:
        found = {(c.table, c.kind): c for c in find_conflicts(history)}
    assert set(found) == {("usage", "before"), ("usage", "outside"), ("usage", "after")}
    assert found["usage", "before"].share == pytest.approx(24 / 264)
    assert found["usage", "outside"].share == pytest.approx((24 + 120) / 264)
    assert (found["usage", "after"].accounts, found["usage", "after"].of_accounts) == (30, 30)
    assert found["usage", "after"].share == pytest.approx(60 / (120 + 24))
    done, report = run(company)
    assert "usage: 55% of the events of those accounts are at a time that no term covers" in done.output
    assert {c["kind"] for c in report["times"]} == {"before", "outside", "after"}
    page = (company.folder / "var" / "harbour" / "check.html").read_text(encoding="utf-8")
    assert "at a time that no term covers" in page


def test_a_product_that_nobody_bought_empties_the_cohort_and_is_named(company, accounts):
    bill(company, accounts, end=str)
    company.toml["churn"]["cohort"]["products"] = ["gold"]
    company.toml["tables"]["purchases"]["columns"]["product"] = {"value": "silver"}
    done, report = run(company)
    assert done.exit_code == 1
    assert "none have one of a product gold" in str(done.exception)
    assert [step["accounts"] for step in report["labels"]["rules"][0]["steps"]][:3] == [60, 60, 0]
    others = [r for r in report["labels"]["rules"] if not r["configured"]]
    assert ("active", "no_purchase") in {(r["cohort"], r["label"]) for r in others}


def test_a_healthy_table_has_no_conflict(company):
    with company.open() as history:
        assert isinstance(history, History)
        assert find_conflicts(history) == ()
