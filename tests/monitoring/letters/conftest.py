"""A company whose alerts are of every kind, with readers of one language."""

from dataclasses import replace
from datetime import UTC, datetime

import pandas as pd
import pytest

from features.catalog import BUILT_IN
from features.core.timestamps import to_micros
from features.settings.alerts import Links
from features.settings.binding import Sponsor
from monitoring.alerts.facts import AccountFacts, Promise
from monitoring.alerts.limits import SaleLimits
from monitoring.binding.absences import Absence
from monitoring.binding.account_records import AccountRecord
from monitoring.binding.bindings import BindingRules
from tests.monitoring.conftest import LIMITS
from tests.support.quiet_account import QUIET
from training.decisions.value import Uplift

NOW, BEFORE = datetime(2024, 6, 3, tzinfo=UTC), datetime(2024, 5, 1, tzinfo=UTC)
# By account, named after its kind: what differs.
FACTS = {
    "CH1": {},
    "CH2": {},
    "CH3": {},
    "SD1": {"usage_trend_30d": -0.3, "usage_against_usual_30d": 0.6},
    "SF1": {"open_urgent_tickets": 3.0, "escalated_tickets_90d": 1.0},
    "RN1": {"days_to_renewal": 20.0},
    "VD1": {"days_since_touch": 60.0},
    "PD1": {},
    "UP1": {},
}
OWNERS = {account: f"{account.lower()}@owners.test" for account in FACTS} | {
    "CH2": None,  # comes to the fallback
    "CH3": "one@owners.test, two@owners.test",
    "SF1": "away@owners.test",
    "RN1": "gone@owners.test",
}
PROMISES = {
    "PD1": Promise("0042", "0043", datetime(2024, 6, 5, tzinfo=UTC), 2.0),
    "CH1": Promise(None, None, datetime(2024, 6, 1, tzinfo=UTC), -2.0),
}
# What is no text of ours, beside addresses, links and ids.
DATA = (
    *(f"Company {a}" for a in FACTS),
    *FACTS,
    "churn-1",
    "churn-0",
    "upsell-1",
    "EUR",
    "Harbour",
    "CEO",
    "pro",
    "service plan",
)


def build_drivers(scale: float):
    """Return drivers as scores store them, of causes of every sort."""
    values = [
        ("usage_trend_30d", -0.5 * scale, None, "revive_usage"),
        ("unanswered_tickets", 3.0 * scale, 1.0, "answer_tickets"),
        ("usage_events_30d", 35.0 * scale, 120.0, "revive_usage"),
        ("days_to_renewal", 25.0, None, "renew_early"),
        ("service_plan", "pro", None, None),
    ]
    return [
        {
            "feature": name,
            "family": BUILT_IN.find_feature(name).family,
            "text": BUILT_IN.find_feature(name).describe(value, typical),
            "contribution": (1.0 - 0.1 * n) * scale,
            "actionable": play is not None,
            "play": play,
            "value": value,
            "typical": typical,
        }
        for n, (name, value, typical, play) in enumerate(values)
    ]


@pytest.fixture
def speak(company):
    """Return a function that makes the company's readers have a language."""

    def configure(language, **alerts):
        settings = company.settings
        given = {"language": language, "fallback_owner": "desk@owners.test", "per_owner": 10}
        given |= {"links": Links(url="https://garrison.test")} | alerts
        sponsors = (Sponsor(tiers=("A",), address="ceo@owners.test", role="CEO"),)
        teams = dict.fromkeys(("usage", "service", "contact"), "team@owners.test")
        people = {"gone@owners.test": {"lead": "lead@owners.test"}, "ch1@owners.test": {"lead": "lead@owners.test"}}
        binding = type(settings.binding)(sponsors=sponsors, teams=teams, people=people)
        company.settings = settings.model_copy(
            update={
                "alerts": settings.alerts.model_copy(update=given),
                "binding": binding,
                "cadence": {"C": 30},
                "capacity": settings.capacity.model_copy(update={"hours": 168.0}),
            }
        )
        return company.settings

    return configure


@pytest.fixture
def everything(company, monkeypatch):
    """A company with a reason for an alert of every kind; returns a function that raises them."""
    monkeypatch.setenv("GARRISON_LINK_SECRET", "s" * 32)
    company.accounts(OWNERS)
    calm = {"UP1": 0.05, **dict.fromkeys(("SD1", "SF1", "RN1", "VD1", "PD1"), 0.5)}
    scores = {a: {"score": calm.get(a, 0.7)} for a in FACTS}
    company.score("2024-05-01", {a: {"score": 0.2} for a in FACTS}, drivers=build_drivers(0.4), model="churn-0")
    company.score("2024-06-03", scores, drivers=build_drivers(1.0))
    company.score("2024-06-03", {"UP1": 0.6}, target="upsell", model="upsell-1")
    frame = pd.DataFrame([QUIET | facts for facts in FACTS.values()], index=list(FACTS))
    tiers = dict.fromkeys(FACTS, "C") | {"CH1": "A", "CH2": "A", "SF1": "A"}
    absences = {
        "away@owners.test": Absence(
            "away@owners.test", 0, to_micros(datetime(2024, 7, 1, tzinfo=UTC)), "x@owners.test"
        ),
        "gone@owners.test": Absence("gone@owners.test", 0, None, None),
    }
    records = {a: AccountRecord(f"Company {a}", owner) for a, owner in OWNERS.items()}

    def bind(accounts):
        return BindingRules(company.settings, absences).bind(records, accounts, tiers)

    def run(**more):
        given = {
            "limits": replace(LIMITS, base_rate=0.1),
            "bindings": bind,
            "facts": AccountFacts(frame, tiers, PROMISES),
            "note": "0044",
            **more,
        }
        sale = SaleLimits("upsell-1", 90, 0.5, 0.3, Uplift(0.2, 50.0))
        return company.alert("2024-06-03", sale=sale, **given)

    company.records, company.tiers = records, tiers
    return run
