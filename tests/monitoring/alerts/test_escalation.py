from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from features.core.timestamps import to_micros
from features.settings.load import load_settings
from features.state.tables import EPISODE_EVENTS, EPISODES, OUTBOX
from monitoring.alerts import acts
from monitoring.alerts.escalation import escalate
from monitoring.binding.account_records import AccountRecord

AT = "2024-06-03"  # a Monday
NINE = datetime(2024, 6, 3, 9, tzinfo=UTC)
BINDING = """
[binding]
sponsors = [{ tiers = ["A", "B"], address = "ceo@harbour.test", role = "chief executive" }]
people = { "b@owners.test" = { lead = "lead@harbour.test", timezone = "America/New_York" } }
[binding.escalation]
after_hours = { A = 4, B = 8 }
"""


@pytest.fixture
def told(company):
    """Episodes on A, B, C and D, whose owners were told on Monday at nine."""
    company.file.write_text(company.file.read_text() + BINDING)
    company.settings = load_settings(company.file)
    company.score(AT, dict.fromkeys("ABCD", 0.7))
    company.alert(AT)
    with company.state.writing() as connection:
        connection.execute(sa.update(OUTBOX).values(state="sent", sent_at=to_micros(NINE)))
        connection.execute(sa.update(EPISODES).values(state="notified"))
    return company


def go(company, now, tiers=None):
    records = {a: AccountRecord(f"Company {a}", f"{a.lower()}@owners.test") for a in "ABCD"}
    classes = {"A": "A", "B": "B", "C": "C"} if tiers is None else tiers
    return escalate(company.settings, company.state, records=lambda _: records, tiers=lambda: classes, now=now)


def escalated(company):
    return {r: b for r, b, kind in company.rows(OUTBOX, "recipient", "body", "kind") if kind == "escalated"}


def test_what_is_not_answered_goes_up_after_the_working_hours_of_its_tier(told):
    assert go(told, NINE + timedelta(hours=3)).escalated == 0
    assert go(told, NINE + timedelta(hours=4)).escalated == 1
    (body,) = [escalated(told)["ceo@harbour.test"]]
    assert "a@owners.test got this on 3 June 2024 and has not answered" in body
    assert "At risk: Company A" in body
    # B works in New York: eight hours from nine UTC, which is five there, end on Monday at five in the afternoon.
    assert go(told, datetime(2024, 6, 3, 20, 59, tzinfo=UTC)).escalated == 0
    assert go(told, datetime(2024, 6, 3, 21, tzinfo=UTC)).escalated == 1
    assert set(escalated(told)) == {"ceo@harbour.test", "lead@harbour.test"}
    # Tier C goes up to nobody, and D has no tier.
    assert go(told, NINE + timedelta(days=30)).escalated == 0


def test_it_goes_up_once_and_is_an_event(told):
    assert go(told, NINE + timedelta(hours=5)).escalated == 1
    assert go(told, NINE + timedelta(hours=6)).escalated == 0
    assert [d["as"] for e, d in told.rows(EPISODE_EVENTS, "event", "details") if e == "escalated"] == [
        "chief executive"
    ]


@pytest.mark.parametrize("act", ["acknowledge", "snooze", "close"])
def test_what_was_answered_does_not_go_up(told, act):
    [episode] = [e for e, account in told.rows(EPISODES, "id", "account_id") if account == "A"]
    given = {"snooze": {"until": datetime.now(UTC) + timedelta(days=3)}, "close": {"outcome": "saved"}}.get(act, {})
    getattr(acts, act)(told.state, episode, by="a@owners.test", **given)
    assert go(told, NINE + timedelta(hours=5)).escalated == 0


def test_without_anybody_above_it_is_counted(told):
    settings = told.settings
    told.settings = settings.model_copy(update={"binding": settings.binding.model_copy(update={"sponsors": ()})})
    found = go(told, NINE + timedelta(hours=5))
    assert (found.escalated, found.stranded) == (0, 1)
    assert "nobody above the owner is named: 1 episode" in " ".join(found.lines())


def test_the_command_escalates_before_it_sends(told, finish):
    # The newest tiers are not known here: nothing goes up, and nothing is lost.
    status, out, _ = finish(told, "deliver")
    assert (status, "Not answered" in out) == (0, False)
