"""When a sale is offered, when it is withheld, and what is said of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from features.settings import Satisfied
from training.decisions.recommendation import recommend

NAN = np.nan
CALM = {"open_urgent_tickets": 0.0, "escalated_tickets_90d": 0.0, "csat_90d": NAN}


LIMITS = {"risky": 0.3, "promising": 0.5, "calm": 0.3, "satisfied": Satisfied()}


def one(churn, upsell, *, calm=0.3, satisfied=None, **ticket):
    frame = pd.DataFrame([CALM | ticket])
    limits = LIMITS | {"calm": calm, "satisfied": Satisfied(**satisfied or {})}
    found = recommend(frame, np.array([churn]), np.array([upsell]), **limits)
    return found.do[0], bool(found.withheld[0]), found.why[0]


@pytest.mark.parametrize(
    ("churn", "upsell", "wanted", "withheld"),
    [
        (0.3, 0.1, "act", False),
        (0.3, 0.5, "act", True),
        (0.29, 0.5, "sell", False),
        (0.29, 0.49, "leave_alone", False),
        (NAN, 0.9, "leave_alone", True),
        (NAN, NAN, "leave_alone", False),
        (0.9, NAN, "act", False),
    ],
)
def test_risk_is_acted_on_and_a_likely_sale_offered_from_their_thresholds_on(churn, upsell, wanted, withheld):
    assert one(churn, upsell)[:2] == (wanted, withheld)


@pytest.mark.parametrize(
    ("ticket", "said"),
    [
        ({"open_urgent_tickets": 1.0}, "1 urgent ticket stands open"),
        ({"open_urgent_tickets": 2.0}, "2 urgent tickets stand open"),
        ({"escalated_tickets_90d": 3.0}, "3 escalated tickets in 90 days"),
        ({"csat_90d": 2.94, "satisfied": {"least_csat": 3.0}}, "CSAT of 90 days is 2.9, below 3"),
        ({"paid_share_365d": 0.85}, "15% of a year's purchases are unpaid"),
        ({"calm": 0.05}, "the risk of leaving is 10.0%, above 5.0%"),
        ({"open_urgent_tickets": 2.0, "satisfied": {"open_urgent": 1}}, "2 urgent tickets stand open"),
    ],
)
def test_a_likely_sale_is_withheld_from_an_account_that_is_not_satisfied(ticket, said):
    assert one(0.1, 0.9, **ticket) == ("leave_alone", True, f"a sale is likely, but is withheld: {said}")


def test_all_that_stands_against_a_sale_is_said():
    reasons = "the risk of leaving is high; 1 urgent ticket stands open; 1 escalated ticket in 90 days"
    found = one(0.9, 0.9, open_urgent_tickets=1.0, escalated_tickets_90d=1.0)
    assert found == ("act", True, f"a sale is likely, but is withheld: {reasons}")


@pytest.mark.parametrize("csat", [NAN, 3.0])
def test_csat_that_is_not_known_or_good_enough_stands_against_nothing(csat):
    assert one(0.1, 0.9, csat_90d=csat, satisfied={"least_csat": 3.0})[0] == "sell"


@pytest.mark.parametrize(
    "fine",
    [
        {"open_urgent_tickets": 1.0, "satisfied": {"open_urgent": 1}},
        {"escalated_tickets_90d": 2.0, "satisfied": {"escalations": 2}},
        {"paid_share_365d": 0.85, "satisfied": {"unpaid": 0.2}},
    ],
)
def test_a_sale_is_offered_within_the_limits_of_the_settings(fine):
    assert one(0.1, 0.9, **fine)[0] == "sell"


def test_csat_is_not_asked_for_unless_told_so():
    assert one(0.1, 0.9, csat_90d=1.0)[0] == "sell"


def test_why_an_account_is_left_alone_says_what_is_not_known():
    assert one(0.1, 0.1)[2] == "the risk of leaving is not high, and a sale is not likely"
    assert one(NAN, NAN)[2] == "the risk of leaving is not known, and whether a sale is likely is not known"


def test_without_tickets_the_scores_decide_alone():
    frame = pd.DataFrame({"usage_events_30d": [1.0, 2.0, 3.0]})
    found = recommend(frame, np.array([0.9, 0.1, 0.1]), np.array([0.1, 0.9, 0.1]), **LIMITS)
    assert found.do.tolist() == ["act", "sell", "leave_alone"]
