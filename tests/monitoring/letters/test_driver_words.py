"""Drivers in another language: said anew from what the score stored, and in English where that cannot be done."""

import json
from dataclasses import replace

import pytest

from features.catalog import BUILT_IN, FEATURES, Catalog
from features.core.language import ENGLISH, PSEUDO, Language
from monitoring.letters.driver_words import describe_driver
from tests.support.pseudo_text import remove_accents

MARKED = Language(PSEUDO)


def stored(name, value, typical=None):
    """Return a driver as the state database gives it back."""
    text = BUILT_IN.find_feature(name).describe(float("nan") if value is None else value, typical)
    return json.loads(json.dumps({"feature": name, "text": text, "value": value, "typical": typical}))


@pytest.mark.parametrize(
    ("name", "value", "typical", "said"),
    [
        ("unanswered_tickets", 1.0, 1.2, "⟦1 ticket waits for a first answer⟧"),
        ("unanswered_tickets", 0.0, 2.0, "⟦⟦0 tickets wait for a first answer⟧ (typical: 2)⟧"),
        ("days_since_usage", None, None, "⟦⟦Days since the last usage.⟧: ⟦never happened yet⟧⟧"),
        ("service_plan", "{pro}", None, "⟦service plan: {pro}⟧"),
        ("seats", 1_200.0, 40.0, "⟦seats: 1,200⟧"),
    ],
)
def test_a_stored_driver_is_said_anew_and_in_english_as_it_is_stored(name, value, typical, said):
    driver = stored(name, value, typical)
    assert remove_accents(describe_driver(driver, BUILT_IN, MARKED)) == said
    assert describe_driver(driver | {"text": "as stored"}, BUILT_IN, ENGLISH) == "as stored"


def test_a_driver_of_an_earlier_version_stays_english():
    old = {"feature": "unanswered_tickets", "text": "2 tickets wait for a first answer"}
    assert describe_driver(old, BUILT_IN, MARKED) == old["text"]


def test_a_driver_whose_feature_is_gone_or_another_by_now_stays_english():
    driver = stored("unanswered_tickets", 2.0)
    gone = Catalog({name: one for name, one in FEATURES.items() if name != "unanswered_tickets"})
    assert describe_driver(driver, gone, MARKED) == driver["text"]
    other = replace(FEATURES["usage_events_30d"], name="unanswered_tickets")
    assert describe_driver(driver, Catalog({other.name: other}), MARKED) == driver["text"]
    plan = stored("service_plan", "pro")
    of_numbers = replace(FEATURES["usage_events_30d"], name="service_plan")
    assert describe_driver(plan, Catalog({of_numbers.name: of_numbers}), MARKED) == "service plan: pro"
