"""The journey's pages: who sees them, empty and full, hostile texts, and that a decision is kept with its record."""

from dataclasses import asdict
from datetime import datetime

import sqlalchemy as sa

from features.core.timestamps import to_micros
from features.state.console_tables import CONSOLE_ACTS
from monitoring.journey.costly_topics import read_costly_topics
from monitoring.journey.json_files import write_json_file
from monitoring.journey.topic import Topic
from monitoring.journey.topic_decisions import read_decisions
from monitoring.journey.topic_effects import TopicEffect
from monitoring.journey.topics import locate_journey
from tests.support.console import sign_in

BOSS, LEAD, OWNER = "boss@harbour.test", "lead@harbour.test", "a@owners.test"
EVIL = "<img src=x onerror=alert(1)>"
AT = to_micros(datetime.fromisoformat("2025-01-01T00:00:00+00:00"))


def write_map(settings):
    effect = TopicEffect("t-1", 40, 30, 0.2, 0.1, 0.1, 0.05, 0.15, 0.001, is_told=True)
    examples = [
        {"ticket_id": "K1", "account_id": account, "text": f"{EVIL} {account}", "opened_at": AT, "stage": "steady"}
        for account in ("A", "B")
    ]
    cost = {"topic_id": "t-1", "tickets": 40, "tickets_before": 20, "accounts": 30, "hours": 12.0, "timed": 40}
    cost |= {"service": 480.0, "value": 10_000.0, "effect": asdict(effect), "shrunk": 900.0, "course": [1] * 26}
    cost |= {"lost": {"amount": 1_000.0, "low": 500.0, "high": 1_500.0}, "examples": examples, "members": ["K1"]}
    cost |= {"is_costly": True}
    cost |= {"stages": {"steady": {"tickets": 40, "accounts": 30, "lost": 1_000.0}}}
    cost |= {"hit": [{"account_id": account, "tickets": 2} for account in ("A", "B")]}
    partner = {"accounts": 3, "tickets": 9, "lost": 10.0, "topics": [{"topic_id": "t-1"}]}
    plain = {"made_at": "2025-01-01", "as_of": "2025-01-01", "since": "2024-10-03", "source": "words", "horizon": 90}
    plain |= {"currency": "EUR", "value_days": 365, "stages": ["steady"], "tickets": 60, "quarter": 40, "untold": 0}
    plain |= {"bad_rule": "", "effects": {}, "topics": [cost], "partners": {EVIL: partner}, "notes": []}
    write_json_file(locate_journey(settings) / "map.json", plain)
    topics = [
        Topic("t-1", {"en": EVIL}, "complaints", "team@harbour.test", tickets=40),
        Topic("t-2", {"en": "b"}, "wishes"),
    ]
    write_json_file(locate_journey(settings) / "topics.json", {"topics": [asdict(topic) for topic in topics]})


def test_the_map_is_empty_then_full_and_a_decision_is_recorded(client, house):
    token = sign_in(client, house.state, BOSS)
    assert "journey build" in client.get("/journey").text
    write_map(house.settings)
    page = client.get("/journey").text
    assert "EUR 1,000" in page
    assert EVIL not in page
    assert client.get("/journey?tab=wishes").status_code == 200
    costly = read_costly_topics(house.settings, house.state)
    assert list(costly.lines("EUR"))[1:] == [f"  {EVIL}: EUR 1,000 (500 to 1,500)"]
    topic = client.get("/journey/t-1")
    assert (topic.status_code, EVIL in topic.text) == (200, False)
    assert client.get("/journey/none").status_code == 404
    form = {"csrf": token, "act": "rename", "name": "Invoices"}
    answer = client.post("/journey/t-1/decide", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/journey/t-1?done=rename")
    assert "Invoices" in client.get("/journey").text
    assert [(d.decision, d.by) for d in read_decisions(house.state)] == [("rename", BOSS)]
    with house.state.reading() as connection:
        acts = connection.execute(sa.select(CONSOLE_ACTS.c.by, CONSOLE_ACTS.c.act)).all()
    assert (BOSS, "topic_rename") in [tuple(act) for act in acts]
    assert client.post("/journey/t-1/decide", data={"csrf": "x", "act": "pin"}).status_code == 403


def test_owners_see_no_map_and_leads_the_tickets_of_their_own(client, house):
    write_map(house.settings)
    sign_in(client, house.state, OWNER)
    assert client.get("/journey").status_code == 403
    token = sign_in(client, house.state, LEAD)
    page = client.get("/journey/t-1").text
    assert 'href="/accounts/B"' in page
    assert 'href="/accounts/A"' not in page
    assert client.post("/journey/t-1/decide", data={"csrf": token, "act": "pin"}).status_code == 403
