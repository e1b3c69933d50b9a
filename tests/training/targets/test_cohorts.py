"""Who is in the cohort at its exact boundaries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pandas as pd

from features.settings import Cohort
from training.targets.cohorts import find_eligible, find_eligible_ids

NOW = datetime(2024, 3, 1, tzinfo=UTC)
US = timedelta(microseconds=1)
LONG_AGO = NOW - timedelta(days=900)


def days(number):
    return timedelta(days=number)


def members(posted, cohort, *, created=None, **tables):
    """The accounts in the cohort now, as arrays and the database tell; created long ago unless told otherwise."""
    accounts = {row[0]: LONG_AGO for table in tables.values() for row in table} | (created or {})
    history = posted(accounts=[*accounts.items()], **tables)
    found = find_eligible_ids(history, cohort, NOW)
    assert "_connection" not in vars(history)  # no database was asked
    told = [*find_eligible(history, cohort, [NOW])["account_id"]]
    assert [*found] == told
    return set(told)


def term(account, starts, ends, *, bought=LONG_AGO, **rest):
    return (account, bought, {"term_starts_at": starts, "term_ends_at": ends, **rest})


def test_a_term_is_in_force_from_just_after_its_start_until_its_end(posted):
    later = NOW + days(30)
    terms = {
        "starts now": (NOW, later),
        "has just started": (NOW - US, later),
        "ends now": (LONG_AGO, NOW),
        "has just ended": (LONG_AGO, NOW - US),
    }
    purchases = [term(a, *when) for a, when in terms.items()]
    assert members(posted, Cohort(kind="in_force"), purchases=purchases) == {"has just started", "ends now"}


def test_a_term_not_yet_bought_is_not_in_force(posted):
    purchases = [term(a, LONG_AGO, NOW + days(9), bought=b) for a, b in {"before": NOW - US, "now": NOW}.items()]
    assert members(posted, Cohort(kind="in_force"), purchases=purchases) == {"before"}


def test_a_purchase_without_a_term_is_never_in_force(posted):
    assert members(posted, Cohort(kind="in_force"), purchases=[("A", NOW - days(1))]) == set()


def test_active_is_who_bought_since_exactly_so_many_days_before(posted):
    bought = {"since": NOW - days(60), "too early": NOW - days(60) - US, "just now": NOW - US, "now": NOW}
    cohort = Cohort(kind="active", within_days=60)
    assert members(posted, cohort, purchases=[*bought.items()]) == {"since", "just now"}


def test_using_is_who_used_since_exactly_so_many_days_before(posted):
    used = {"since": NOW - days(60), "too early": NOW - days(60) - US, "just now": NOW - US, "now": NOW}
    assert members(posted, Cohort(kind="using", within_days=60), usage=[*used.items()]) == {"since", "just now"}


def test_using_counts_uses_that_are_known_and_more_than_none(posted):
    rows = {"one": {"count": 1}, "not counted": {}, "none": {"count": 0}, "not yet known": {"known_at": NOW + US}}
    usage = [(a, NOW - days(9), row) for a, row in rows.items()]
    assert members(posted, Cohort(kind="using"), usage=usage) == {"one", "not counted"}


def test_a_lifetime_lasts_from_just_after_its_start_until_its_end(posted):
    lifetimes = [
        ("starts now", NOW, {}),
        ("has just started", NOW - US, {}),
        ("ends now", LONG_AGO, {"ended_at": NOW}),
        ("has just ended", LONG_AGO, {"ended_at": NOW - US}),
        ("will end", LONG_AGO, {"ended_at": NOW + days(1)}),
    ]
    assert members(posted, Cohort(kind="lifetime"), lifetimes=lifetimes) == {"has just started", "ends now", "will end"}


def test_a_purchase_counts_once_it_is_known(posted):
    known = {"by now": NOW, "just after": NOW + US}
    purchases = [term(a, NOW - days(9), NOW + days(9), bought=NOW - days(9), known_at=k) for a, k in known.items()]
    for cohort in (Cohort(kind="in_force"), Cohort(kind="active")):
        assert members(posted, cohort, purchases=purchases) == {"by now"}


def test_an_account_created_at_the_instant_or_later_is_not_in_any_cohort(posted):
    created = {"before": NOW - US, "now": NOW, "later": NOW + days(1)}
    purchases = [term(a, LONG_AGO, NOW + days(9), bought=NOW - days(9)) for a in created]
    usage = [(a, NOW - days(9)) for a in created]
    tables = {"purchases": purchases, "usage": usage, "lifetimes": [(a, LONG_AGO, {}) for a in created]}
    for kind in ("in_force", "active", "using", "lifetime"):
        found = members(posted, Cohort(kind=kind), created=created, **tables)
        assert found == {"before"}, kind


def test_only_the_named_products_make_a_member(posted):
    bought = {"A": "base", "B": "addon", "C": None}
    purchases = [term(a, NOW - days(9), NOW + days(9), bought=NOW - days(9), product=p) for a, p in bought.items()]
    for kind in ("in_force", "active"):
        assert members(posted, Cohort(kind=kind, products=("base",)), purchases=purchases) == {"A"}, kind


def test_an_account_is_a_member_once_at_each_instant_in_order(posted):
    accounts = [("B", LONG_AGO), ("A", LONG_AGO)]
    twice = [("A", NOW - days(2)), ("A", NOW - days(1)), ("B", NOW - days(1)), ("B", NOW + days(1))]
    history = posted(accounts=accounts, purchases=twice)
    found = find_eligible(history, Cohort(kind="active", within_days=2), [NOW + days(2), NOW, NOW])
    assert found["as_of"].dtype == "datetime64[us, UTC]"
    expected = [("A", NOW), ("B", NOW), ("B", NOW + days(2))]
    assert [(a, t.to_pydatetime()) for a, t in found.itertuples(index=False)] == expected


def test_an_empty_cohort_is_an_empty_frame(posted):
    history = posted(accounts=[("A", LONG_AGO)], purchases=[("A", LONG_AGO)])
    found = find_eligible(history, Cohort(kind="active"), [NOW])
    assert found.empty
    assert isinstance(found, pd.DataFrame)
    assert list(found) == ["account_id", "as_of"]


def test_python_leaves_what_it_does_not_compute_exactly_to_the_database(posted):
    history = posted(accounts=[("A", LONG_AGO)], purchases=[("A", NOW - US, {"amount": Decimal("900719925474.0993")})])
    assert [*find_eligible_ids(history, Cohort(kind="active"), NOW)] == ["A"]
    assert "_connection" in vars(history)
