"""Probes: a feature that sees later facts, or depends on what it must not, is found on the company's own rows."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from features.catalog import Catalog
from features.core.errors import FeatureError
from features.diagnostics import leak_tests
from features.diagnostics.leak_tests import run_leak_tests

HEAD = """
import ibis
from features.definition import DAY, Stream, feature, ratio
from features.streams import OPENED, PURCHASES, RESOLVED, USAGE
"""
ONE = """
@feature(windows=(90,), unit="u", family="f", says="{{value}} in {{w}}")
def {name}(at, w):
    "Something in the last {{w}} days."
    return {formula}
"""
DELETED, CHANGED, TURNED, HALVED, EARLIER = (
    "with all deleted that came or became known later",
    "with all changed that came or became known later",
    "with the rows in another order",
    "with other accounts left out",
    "with all times 28 years earlier",
)


@pytest.fixture
def harbour(company):
    """Twelve accounts of two years: tickets that take weeks, usage that is known a day late, purchases."""
    draw, start = random.Random(7), datetime(2023, 1, 1, tzinfo=UTC)  # noqa: S311  # nothing secret here
    accounts, tickets, usage, purchases = [], [], [], []
    for a in range(12):
        accounts.append(f"A{a:02},2022-06-01")
        for day in range(0, 700, 10):
            at = start + timedelta(days=day, hours=a, minutes=draw.randrange(600))
            resolved = at + timedelta(days=draw.randrange(1, 40))
            tickets.append(f"{a}-{day},A{a:02},{at.isoformat()},{resolved.isoformat()},{draw.randrange(1, 6)}")
            usage.append(f"A{a:02},{at.isoformat()},{(at + timedelta(days=1)).isoformat()},{draw.randrange(9)}")
            purchases.append(f"A{a:02},{at.isoformat()},{draw.randrange(10, 99)}")
    company.table("accounts", "account_id,created_at", *accounts)
    company.table("tickets", "ticket_id,account_id,opened_at,resolved_at,csat", *tickets)
    company.table("usage", "account_id,used_at,known_at,count", *usage)
    company.table("purchases", "account_id,purchased_at,amount", *purchases)

    def features(head, **formulas):
        body = "".join(ONE.format(name=name, formula=formula) for name, formula in formulas.items())
        names = "".join(f"*{name}, " for name in formulas)
        text = f"{HEAD}\n{head}\n{body}\nFEATURES = ({names})\n"
        (company.folder / "own_features.py").write_text(text, encoding="utf-8")
        company.toml["catalog"] = {"features": "own_features.py"}
        return company

    company.features = features
    return company


def probed(company):
    settings = company.settings()
    with company.open() as history:
        return run_leak_tests(history, settings, Catalog.for_company(settings).custom_features)


def found(result):
    return {(leak.feature, leak.how) for leak in result.leaks}


HONEST = {
    "rating": "ratio(at(RESOLVED.sum('csat'), w), at(RESOLVED.count(), w))",
    "spent": "at(PURCHASES.sum('amount'), w)",
    "weekend_use": "at(WEEKEND.sum('count'), w)",
    "since_use": "at.age_days(USAGE.last())",
}
WEEKEND = """
WEEKEND = Stream(
    "weekend", "usage",
    lambda u: u.filter((u.used_at // DAY + 3) % 7 >= 5).mutate(t=u.used_at, known=u.known_at),
)
"""


def test_honest_features_pass(harbour):
    result = probed(harbour.features(WEEKEND, **HONEST))
    assert result.leaks == ()
    assert result.features == ("rating_90d", "spent_90d", "weekend_use_90d", "since_use_90d")
    assert result.accounts == 12
    assert 3 <= len(result.as_ofs) <= 9


def test_a_rating_dated_by_the_opening_is_a_leak_named_with_account_as_of_and_both_values(harbour):
    head = """
EARLY = Stream("early", "tickets", lambda t: t.filter(t.csat.notnull()).mutate(t=t.opened_at, known=t.known_at))
"""
    harbour.features(head, early_rating="ratio(at(EARLY.sum('csat'), w), at(EARLY.count(), w))")
    result = probed(harbour)
    assert {("early_rating_90d", DELETED), ("early_rating_90d", CHANGED)} <= found(result)
    leak = result.leaks[0]
    assert leak.account in {f"A{a:02}" for a in range(12)}
    assert leak.as_of in result.as_ofs
    assert leak.value != leak.other
    said = str(leak)
    assert all(
        part in said for part in ("early_rating_90d", leak.account, leak.as_of.isoformat(), f"{leak.value:.15g}")
    )
    assert result.as_dict()["leaks"][0]["as_of"] == leak.as_of.isoformat()


def test_a_fact_that_is_known_too_early_is_a_leak(harbour):
    head = 'SOON = Stream("soon", "usage", lambda u: u.mutate(t=u.used_at, known=u.used_at))'
    result = probed(harbour.features(head, soon_use="at(SOON.sum('count'), w)"))
    assert ("soon_use_90d", DELETED) in found(result)


def test_a_fact_dated_a_moment_early_is_a_leak_when_it_falls_on_as_of(harbour):
    head = 'EVE = Stream("eve", "purchases", lambda p: p.mutate(t=p.purchased_at - 1, known=p.known_at - 1))'
    result = probed(harbour.features(head, eve="at(EVE.sum('amount'), w)"))
    assert ("eve_90d", DELETED) in found(result)


def test_a_total_over_all_rows_whenever_they_came_is_a_leak(harbour):
    head = """
def _shares(p):
    whole = p.amount.cast("float64").sum().over(ibis.window(group_by=p.account_id))
    return p.mutate(t=p.purchased_at, known=p.known_at, above=(p.amount.cast("float64") * 40 > whole).cast("int64"))
SHARES = Stream("shares", "purchases", _shares)
"""
    result = probed(harbour.features(head, above="at(SHARES.sum('above'), w)"))
    assert ("above_90d", DELETED) in found(result)


def test_a_feature_that_knows_the_date_or_other_accounts_is_found(harbour):
    head = """
def _ranked(p):
    mean = p.amount.cast("float64").mean().over(ibis.window(group_by=p.purchased_at // (30 * DAY)))
    return p.mutate(t=p.purchased_at, known=p.known_at, above=(p.amount.cast("float64") > mean).cast("int64"))
RANKED = Stream("ranked", "purchases", _ranked)
"""
    harbour.features(head, dated="at.as_of / DAY", ranked="at(RANKED.sum('above'), w)")
    result = probed(harbour)
    assert ("dated_90d", EARLIER) in found(result)
    assert ("ranked_90d", HALVED) in found(result)
    assert ("dated_90d", DELETED) not in found(result)


def test_the_whole_built_in_catalog_passes_on_these_rows(harbour):
    settings = harbour.settings()
    with harbour.open() as history:
        result = run_leak_tests(history, settings, history.features, accounts=5)
        assert result.leaks == ()
        assert len(result.features) == len(history.features) > 100


def test_features_without_their_sources_are_not_tried(harbour):
    harbour.features("from features.definitions.streams import TOUCHES", touched="at(TOUCHES.count(), w)")
    assert probed(harbour) == leak_tests.LeakTestResult((), 0, (), ())


def test_a_stream_that_the_database_can_not_read_is_named(harbour):
    head = """
BAD = Stream("bad", "tickets", lambda t: t.mutate(t=t.opened_at, known=t.ticket_id.cast("int64")))
"""
    harbour.features(head, fine="at(USAGE.count(), w)", bad="at(BAD.count(), w)")
    with pytest.raises(FeatureError, match="the feature bad_90d can't be computed"):
        probed(harbour)


def test_the_sample_prefers_accounts_that_had_something_to_tell_yet(harbour):
    rows = ["account_id,used_at,known_at"]
    rows += [f"A{a:02},2023-{m:02}-15,2023-{m:02}-15" for a in range(12) for m in range(1, 12)]
    harbour.table("usage", rows[0], *rows[1:], "A05,2023-03-01,2024-03-01", "A05,2024-02-01,2024-02-01")
    for name in ("tickets", "purchases"):
        del harbour.toml["tables"][name], harbour.toml["sources"][name]
    harbour.toml["churn"] = {"cohort": {"kind": "using"}, "label": {"kind": "no_usage"}}
    head = 'SOON = Stream("soon", "usage", lambda u: u.mutate(t=u.used_at, known=u.used_at))'
    settings = harbour.features(head, soon_use="at(SOON.count())").settings()
    with harbour.open() as history:
        result = run_leak_tests(history, settings, history.catalog.custom_features, accounts=1)
    assert result.accounts == 1
    assert {leak.account for leak in result.leaks} == {"A05"}
