import unicodedata
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.core.safe_line import to_safe_line
from monitoring.letters.account_risk import AccountRisk, EarlierScore
from monitoring.letters.message import write_body
from monitoring.letters.statements import write_subject
from monitoring.letters.wording import describe_probability

DRIVERS = [
    {"text": "plan: basic", "contribution": 0.4, "actionable": False, "play": None},
    {
        "text": "usage fell 62 % against the 30 days before",
        "contribution": 0.9,
        "actionable": True,
        "play": "revive_usage",
    },
    {"text": "4 tickets stand open", "contribution": 0.2, "actionable": True, "play": "answer_tickets"},
    {"text": "a fourth", "contribution": 0.1, "actionable": True, "play": "fix_service"},
    {"text": "a long term", "contribution": -0.8, "actionable": False, "play": None},
]
RISK = AccountRisk(
    account_id="A-17",
    name="Acme Ltd",
    score=0.62,
    days=90,
    as_of=datetime(2024, 6, 1, tzinfo=UTC),
    earlier=EarlierScore(0.35, datetime(2024, 5, 1, tzinfo=UTC), "churn-3"),
    drivers=DRIVERS,
    value=48_000.0,
    currency="EUR",
    model="churn-3",
    sources="tickets,usage",
    episode="3f0c",
)


def test_the_subject_names_the_account_and_the_risk_in_words():
    assert write_subject(RISK) == "At risk: Acme Ltd (about 6 in 10 to leave within 90 days)"


def test_the_body_says_all_that_the_owner_needs():
    text = write_body(RISK)
    for part in (
        "Acme Ltd (account A-17) is at risk of leaving within 90 days.",
        "Risk now: 62 %, about 6 in 10",
        "Trend: up from 35 % on 1 May 2024",
        "Value at stake: EUR 48,000 a year",
        "Next step: Bring usage back",
        "As of 1 June 2024, model churn-3, seen: tickets, usage",
        "Episode 3f0c",
    ):
        assert part in text


def test_the_strongest_causes_stand_in_the_body_strongest_first_and_context_apart():
    lines = write_body(RISK).splitlines()
    assert [line.strip() for line in lines if line[2:4] in {"1.", "2.", "3."}] == [
        "1. usage fell 62 % against the 30 days before",
        "2. 4 tickets stand open",
        "3. a fourth",
    ]
    assert "Also: plan: basic" in lines


def test_a_renewal_says_when_and_is_neither_a_reason_nor_the_play_while_there_is_a_cause():
    renewal = {"text": "the term ends in 25 days", "contribution": 2.0, "actionable": True, "play": "renew_early"}
    text = write_body(replace(RISK, drivers=[renewal, *DRIVERS]))
    assert "When: the term ends in 25 days" in text
    assert "1. usage fell 62 %" in text
    assert "Next step: Bring usage back" in text
    assert "Next step: Open the renewal now" in write_body(replace(RISK, drivers=[renewal]))


def test_the_average_and_what_happened_stand_in_the_letter_and_lines_keep_their_width():
    facts = ("High ticket about price open since 16 November 2025", "Usage: " + ", ".join(["1,234"] * 30))
    text = write_body(replace(RISK, base_rate=0.04, facts=facts))
    assert "; the average account: 4 %" in text
    assert "What happened:\n  High ticket about price open since 16 November 2025\n" in text
    assert max(len(line) for line in text.splitlines()) <= 100
    assert "What happened" not in write_body(RISK)
    assert "average" not in write_body(RISK)


def test_what_is_not_known_is_said_to_be_so():
    text = write_body(replace(RISK, earlier=None, value=None, drivers=[], sources="", name=None))
    for part in (
        "Account A-17 is at risk of leaving within 90 days.",
        "this is its first score",
        "Value at stake: not known",
        "no single reason stands out",
        "Next step: Review the account",
        "seen: no events",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("before", "said"),
    [(0.8, "down from 80 %"), (0.62, "level with 62 %"), (0.621, "level with"), (0.615, "level with 62 %")],
)
def test_the_trend_says_where_it_came_from(before, said):
    assert said in write_body(replace(RISK, earlier=EarlierScore(before, datetime(2024, 5, 1, tzinfo=UTC), "churn-3")))


def test_a_trend_across_models_names_the_other_model():
    text = write_body(replace(RISK, earlier=EarlierScore(0.2, datetime(2024, 5, 1, tzinfo=UTC), "churn-2")))
    assert "up from 20 % on 1 May 2024 (by model churn-2)" in text


@pytest.mark.parametrize(
    ("score", "words"),
    [
        (1.0, "almost certain"),
        (0.62, "about 6 in 10"),
        (0.15, "about 2 in 10"),
        (0.05, "about 1 in 20"),
        (0.0, "below 1 in 1,000"),
    ],
)
def test_a_probability_is_said_as_people_count(score, words):
    assert str(describe_probability(score)) == words


def test_a_name_can_forge_neither_a_header_nor_a_line_of_the_body():
    name = "Acme\r\nBcc: evil@x.test\n\nNext step: pay at http://x.test\u202e\x00\u2028"
    risk = replace(RISK, name=name, drivers=[{**DRIVERS[0], "text": "region: x\nNext step: click"}])
    assert "\n" not in write_subject(risk)
    assert "\r" not in write_subject(risk)
    lines = write_body(risk).splitlines()
    assert sum(line.startswith("Next step:") for line in lines) == 1
    assert not any(line.startswith("Bcc") for line in lines)


@given(st.text())
def test_safe_text_is_one_line_without_control_characters_and_of_bounded_length(text):
    clean = to_safe_line(text)
    assert 0 < len(clean) <= 100
    assert not {unicodedata.category(c) for c in clean} & {"Cc", "Cs", "Zl", "Zp"}
