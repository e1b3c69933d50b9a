"""What each kind of episode opens on, what keeps one open, and what can't be judged."""

from dataclasses import replace

import pandas as pd
import pytest

from features.settings import Episodes
from features.settings.targets import Satisfied
from monitoring.alerts import kinds
from monitoring.alerts.facts import AccountFacts, Promise
from monitoring.alerts.limits import SaleLimits, Thresholds
from monitoring.alerts.queries import AccountScore
from monitoring.alerts.signals import SignalInputs, find_signals
from tests.monitoring.conftest import day
from tests.support.quiet_account import QUIET
from training.decisions.value import Uplift

LIMITS = Thresholds("churn-1", enter=0.6, leave=0.4, base_rate=0.3)
SALE = SaleLimits("upsell-1", 90, 0.5, 0.3, Uplift(0.2, 50.0))

# Usage of the last 30 days against the 30 before, and against the usual.
FELL = {"usage_trend_30d": -0.3, "usage_against_usual_30d": 0.6}


@pytest.fixture
def find(company):
    def find_in(facts, *, kind, churn=0.1, sales=None, settings=None, tier="A", promises=None):  # noqa: PLR0913
        frame = pd.DataFrame([QUIET | facts], index=["A"]) if facts is not None else pd.DataFrame(index=["A"])
        inputs = SignalInputs(
            settings or company.settings,
            LIMITS,
            {"A": AccountScore("A", churn, True, 1000.0)},
            sales or {},
            SALE,
            AccountFacts(frame, {"A": tier}, promises),
            0,
        )
        found = find_signals(inputs)[kind]
        return None if found is None else found.get("A")

    return find_in


def enters(signal):
    return None if signal is None else signal.enters


@pytest.mark.parametrize(("score", "expected"), [(0.6, True), (0.59, False), (0.4, False), (0.39, None)])
def test_churn_enters_at_one_score_and_lasts_to_a_lower_one(find, score, expected):
    assert enters(find({}, kind=kinds.CHURN, churn=score)) is expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (FELL, True),  # 46 % less than before
        (FELL | {"usage_trend_30d": -0.2}, False),  # 33 %: it fell earlier, and is still low
        (FELL | {"usage_against_usual_30d": 0.61}, False),
        (FELL | {"usage_against_usual_30d": 0.8}, None),  # a dip after a busy month
        (FELL | {"usage_trend_30d": -1.0, "usage_against_usual_30d": 0.0}, True),
        (FELL | {"urgent_tickets_90d": 3.0}, False),  # they did complain
        (FELL | {"urgent_tickets_90d": 2.0, "escalated_tickets_90d": 1.0}, False),
        (FELL | {"usage_events_90d": 29.0}, False),  # too little to speak of a fall
        ({"usage_trend_30d": float("nan"), "usage_against_usual_30d": float("nan")}, None),
    ],
)
def test_silent_decline_is_a_fall_of_usage_without_complaints(find, facts, expected):
    signal = find(facts, kind=kinds.SILENT_DECLINE)
    assert enters(signal) is expected
    if expected:
        assert "and nobody complained" in str(signal.text)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"open_urgent_tickets": 2.0}, True),
        ({"open_urgent_tickets": 1.0}, False),
        ({"escalated_tickets_90d": 2.0}, True),
        ({"escalated_tickets_90d": 1.0}, False),
        ({}, None),
    ],
)
def test_service_failure_is_urgent_tickets_that_stand_open_or_escalations(find, facts, expected):
    assert enters(find(facts, kind=kinds.SERVICE_FAILURE)) is expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"days_to_renewal": 60.0}, True),
        ({"days_to_renewal": 61.0}, None),
        ({"days_to_renewal": 20.0, "term_days": 31.0}, None),  # a term of a month is always near its end
        ({"days_to_renewal": float("nan")}, None),
    ],
)
def test_a_renewal_is_near_where_a_long_term_ends_soon(find, facts, expected):
    assert enters(find(facts, kind=kinds.RENEWAL_NEAR)) is expected


@pytest.mark.parametrize(
    ("facts", "tier", "expected"),
    [
        ({"days_since_touch": 31.0}, "A", True),
        ({"days_since_touch": 30.0}, "A", None),
        ({"days_since_touch": 31.0}, "B", None),  # no cadence
        ({"days_since_touch": float("nan")}, "A", True),  # never, in 900 days
    ],
)
def test_a_visit_is_due_by_the_cadence_of_the_tier(find, company, facts, tier, expected):
    settings = company.settings.model_copy(update={"cadence": {"A": 30}})
    assert enters(find(facts, kind=kinds.VISIT_DUE, settings=settings, tier=tier)) is expected


@pytest.mark.parametrize(("days", "expected"), [(-2.0, True), (3.0, True), (3.1, False)])
def test_a_promise_is_due_some_days_ahead_and_while_it_is_overdue(find, days, expected):
    promises = {"A": Promise("a patch", "Ana", day("2024-06-01"), days)}
    signal = find({}, kind=kinds.PROMISE_DUE, promises=promises)
    assert enters(signal) is expected
    assert "“a patch”, promised by Ana," in str(signal.text)


@pytest.mark.parametrize(
    ("chance", "churn", "facts", "satisfied", "expected"),
    [
        (0.5, 0.1, {}, {}, True),
        (0.4, 0.1, {}, {}, False),
        (0.2, 0.1, {}, {}, None),
        (0.9, 0.7, {}, {}, None),  # at risk
        (0.9, 0.35, {}, {}, False),  # riskier than the average account
        (0.9, 0.35, {}, {"risk": 2.0}, True),
        (0.9, 0.1, {"csat_90d": 1.0}, {"least_csat": 3.5}, None),
        (0.9, 0.1, {"csat_90d": 4.0}, {"least_csat": 3.5}, True),
        (0.9, 0.1, {"open_urgent_tickets": 1.0}, {}, None),
        (0.9, 0.1, {"escalated_tickets_90d": 1.0}, {}, None),
        (0.9, 0.1, {"paid_share_365d": 0.8}, {}, None),
    ],
)
def test_a_sale_opens_at_the_satisfied_alone(  # noqa: PLR0913, PLR0917
    find, company, chance, churn, facts, satisfied, expected
):
    upsell = company.settings.churn.model_copy(update={"satisfied": Satisfied(**satisfied)})
    settings = company.settings.model_copy(update={"upsell": upsell})
    signal = find(facts, kind=kinds.UPSELL, churn=churn, sales={"A": chance}, settings=settings)
    assert enters(signal) is expected
    if signal:
        assert signal.value == 200.0  # what a sale brought in training: a fifth of a year's revenue


def test_what_lacks_its_tables_is_not_judged(find, company):
    for kind in (kinds.SILENT_DECLINE, kinds.SERVICE_FAILURE, kinds.RENEWAL_NEAR, kinds.PROMISE_DUE, kinds.VISIT_DUE):
        assert find(None, kind=kind) is None
    off = company.settings.model_copy(update={"episodes": Episodes(kinds=("churn",))})
    with pytest.raises(KeyError):
        find({}, kind=kinds.UPSELL, settings=off)


def test_accounts_outside_the_cohort_have_no_signal(company):
    frame = pd.DataFrame([QUIET | FELL], index=["gone"])
    inputs = SignalInputs(company.settings, LIMITS, {}, {}, None, AccountFacts(frame), 0)
    assert find_signals(inputs)[kinds.SILENT_DECLINE] == {}
    assert find_signals(replace(inputs, facts=AccountFacts()))[kinds.SILENT_DECLINE] is None
