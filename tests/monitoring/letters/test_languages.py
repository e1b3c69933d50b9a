"""Every letter in every language: no word of ours in English, but for data such as names, ids and addresses."""

import html
import re
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from features.catalog import FEATURES
from features.core import language as language_module
from features.core.language import ENGLISH, PSEUDO, Language
from features.core.timestamps import to_micros
from features.definitions.plays import PLAYS
from features.settings.binding import Person
from features.state.tables import EPISODES, OUTBOX
from monitoring.alerts import kinds
from monitoring.alerts.escalation import escalate
from monitoring.binding.reader_language import find_language
from monitoring.console.app import create_app
from monitoring.console.context import ConsoleContext
from monitoring.letters.links import LetterLink, open_signer
from monitoring.notifications import chat_message, dead_letters, held_run
from monitoring.notifications.email_message import OutgoingMessage
from serving.gate.verdict import Reason, RunVerdict
from tests.monitoring.letters.conftest import DATA, FACTS, NOW
from tests.support.pseudo_text import find_raw_words

CHINESE = "zh_Hans"
BOTH = pytest.mark.parametrize("language", [PSEUDO, CHINESE])
_ID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_DATA = re.compile(rf"[a-z0-9.]+@[a-z.]+?\.test|https?://\S+|{_ID}|python -m monitoring .*|UTC")


def read_page(page):
    """Return the words of a page that people see or hear."""
    spoken = re.findall(r'(?:aria-label|title|placeholder|alt)="([^"]*)"', page)
    plain = re.sub(r"<(style|script)\b.*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL)
    return html.unescape(" ".join([plain, *spoken]))


def find_raw(*texts):
    return [word for text in texts for word in find_raw_words(_DATA.sub(" ", text), DATA)]


def check(rows):
    for row in rows:
        for text in (row["subject"], row["body"], read_page(row["html"] or "")):
            assert find_raw(text) == [], text


@BOTH
def test_letters_of_every_kind_digests_teams_and_packets_have_no_raw_text(everything, speak, language):
    speak(language)
    outcome = everything(dry_run=True)
    assert {o.score.kind for o in outcome.opened} == set(kinds.KINDS)
    rows = outcome.mailing.rows
    assert {row["kind"] for row in rows} == {"opened", "digest", "team", "packet"}
    assert all(f'<html lang="{Language(language).tag}">' in row["html"] for row in rows)
    check(rows)


@BOTH
def test_what_is_over_a_cap_has_no_raw_text_either(everything, speak, language):
    speak(language, per_owner=1)
    rows = everything(dry_run=True).mailing.rows
    assert [row["recipient"] for row in rows if row["kind"] == "digest"].count("ceo@owners.test") == 1
    check(rows)
    speak(language, digest=True, fallback_owner=None)
    rows = everything(dry_run=True).mailing.rows
    assert "undeliverable" in {row["state"] for row in rows}
    check(rows)


@BOTH
def test_a_letter_that_it_got_worse_has_no_raw_text(company, everything, speak, language):
    speak(language)
    everything()
    later = {a: {"score": 0.95} for a in FACTS}
    company.score("2024-06-10", later, drivers=[])
    rows = company.alert("2024-06-10", dry_run=True).mailing.rows
    assert "worsened" in {row["kind"] for row in rows}
    check(rows)


@BOTH
def test_escalations_have_no_raw_text(company, everything, speak, language):
    settings = speak(language)
    everything()
    with company.state.writing() as connection:
        connection.execute(sa.update(OUTBOX).values(state="sent", sent_at=to_micros(NOW)))
        connection.execute(sa.update(EPISODES).values(state="notified"))
    given = {"records": lambda _: company.records, "tiers": lambda: company.tiers}
    assert escalate(settings, company.state, now=NOW + timedelta(days=30), **given).escalated
    rows = read(company, OUTBOX, OUTBOX.c.kind == "escalated")
    assert {row["recipient"] for row in rows} >= {"lead@owners.test", "ceo@owners.test"}
    check(rows)


def test_who_hears_of_an_owners_letter_reads_what_it_is_about_in_an_own_language(company, everything, speak):
    speak(CHINESE)
    everything()
    settings = company.settings
    people = settings.binding.people | {"lead@owners.test": Person(language="en")}
    settings = settings.model_copy(update={"binding": settings.binding.model_copy(update={"people": people})})
    with company.state.writing() as connection:
        connection.execute(sa.update(OUTBOX).values(state="sent", sent_at=to_micros(NOW)))
    given = {"records": lambda _: company.records, "tiers": lambda: company.tiers}
    escalate(settings, company.state, now=NOW + timedelta(days=30), **given)
    found = {r["recipient"]: r for r in read(company, OUTBOX, OUTBOX.c.kind == "escalated")}
    english = found["lead@owners.test"]
    assert english["subject"] == "Not answered: 1 account at risk"
    assert "At risk: Company CH1. ch1@owners.test got this on 3 June 2024" in read_page(english["html"])
    assert "未回应" in found["ceo@owners.test"]["subject"]
    # The letter itself stands below as its owner got it.
    assert "有在 90 天内流失的风险。" in english["body"].replace("\n", "")


def test_a_persons_own_language_goes_before_the_companys(company):
    people = {"Li@owners.test": Person(language=CHINESE), "ann@owners.test": Person()}
    binding = company.settings.binding.model_copy(update={"people": people})
    settings = company.settings.model_copy(update={"binding": binding})
    assert find_language(settings, "li@owners.test") == Language(CHINESE)
    assert find_language(settings, "ann@owners.test") == find_language(settings, None) == ENGLISH


def test_each_reader_of_a_run_gets_an_own_language(company, everything, speak):
    settings = speak("en")
    people = {"ch1@owners.test": Person(language=CHINESE)}
    binding = settings.binding.model_copy(update={"people": people})
    company.settings = settings.model_copy(update={"binding": binding})
    rows = {row["recipient"]: row for row in everything(dry_run=True).mailing.rows if row["kind"] == "opened"}
    assert re.search("流失风险.Company CH1.90 天内流失的可能性.约 7 成", rows["ch1@owners.test"]["subject"])
    assert "€12,000" in rows["ch1@owners.test"]["body"]
    assert "使用量比此前的 30 天下降" in rows["ch1@owners.test"]["body"]
    assert rows["sd1@owners.test"]["subject"] == "Gone quiet: Company SD1"
    assert "EUR 12,000 a year" in rows["sd1@owners.test"]["body"]


@BOTH
def test_the_pages_behind_links_have_no_raw_text(company, everything, speak, language):
    settings = speak(language)
    everything()
    signer = open_signer(settings.alerts.links)
    row = next(r for r in read(company, OUTBOX, OUTBOX.c.kind == "opened") if r["recipient"] == "ch1@owners.test")
    brand = "Garrison"
    with TestClient(create_app(ConsoleContext(settings, company.state, signer, None))) as client:

        def show(action, *, post=None, **changed):
            given = {"message": row["id"], "episode": row["episode_id"], "action": action} | changed
            path = f"/act/{signer.sign(LetterLink(**given))}"
            page = client.get(path) if post is None else client.post(path, data=fields(client.get(path)) | post)
            text = read_page(page.text).replace(brand, " ")
            assert find_raw(text) == [], text
            return page

        for action in ("acknowledge", "snooze", "saved", "false-alarm"):
            show(action)
        assert show("false-alarm", post={}).status_code == 409
        assert show("snooze", post={"days": "3", "version": "0", "reason": "1"}).status_code == 200
        assert show("acknowledge", post={}).status_code == 200
        show("acknowledge")  # somebody is at it
        stale = {"version": "1", "reason": "1"}
        assert show("saved", post=stale).status_code in {200, 409}
        show("saved", post={})
        show("saved")  # it is over


def test_a_link_that_says_nothing_is_refused_in_the_browsers_language(company, everything, speak):
    settings = speak("en")
    everything()
    with TestClient(
        create_app(ConsoleContext(settings, company.state, open_signer(settings.alerts.links), None))
    ) as client:
        page = client.get("/act/x", headers={"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"})
        assert "此链接无法使用" in page.text
        assert find_raw(read_page(page.text).replace("Garrison", " ")) == []
        assert "This link can't be used" in html.unescape(client.get("/act/x").text)


@BOTH
def test_messages_about_messages_and_held_runs_have_no_raw_text(company, everything, speak, language):
    settings = speak(language)
    everything()
    row = next(r for r in read(company, OUTBOX, OUTBOX.c.kind == "opened") if r["recipient"] == "ch1@owners.test")
    with company.state.writing() as connection:
        dead_letters.tell_fallback(connection, row, "550", dead_letters.find_fallbacks(settings), 0)
    check(read(company, OUTBOX, OUTBOX.c.kind == "undelivered"))
    message = OutgoingMessage("1", "x@owners.test", "1", row["body"], 0)
    for build in (chat_message.build_slack, chat_message.build_teams):
        hidden = str(build(message, Language(language)))
        assert "link in the e-mail" not in hidden
        assert "https://garrison.test" not in hidden
    reasons = (Reason("source", "1", "hold", "2"), Reason("scores", "3", "watch", "4"))
    verdict = RunVerdict("5", NOW, NOW, NOW, reasons, {}, None, {"churn": "churn-1"})
    said = (
        held_run.write_body(verdict, Language(language)),
        held_run.write_subject("Harbour", verdict, Language(language)),
    )
    assert find_raw(*said) == []


@BOTH
def test_plays_and_drivers_have_no_raw_text(language):
    spoken = Language(language)
    for play in PLAYS.values():
        assert find_raw(spoken.translate(play.title), spoken.translate(play.step)) == []
    for one in FEATURES.values():
        said = [
            one.describe(v, typical, spoken) for v in (-0.5, 0.0, 1.0, 7.5, float("nan")) for typical in (None, 3.0)
        ]
        assert find_raw(*said) == [], one.name


def test_the_chinese_catalog_holds_the_same_names_as_the_english():
    from babel.messages import pofile

    with (Path(language_module.__file__).parent / "locale" / "zh_Hans.po").open("rb") as source:
        catalog = pofile.read_po(source, locale=CHINESE)
    for message in catalog:
        names, said = (set(re.findall(r"\{(\w+)", text)) for text in (str(message.id), str(message.string)))
        assert said <= names, message.id
        assert names - said <= {"s", "es"}, message.id


def read(company, table, condition):
    with company.state.reading() as connection:
        return connection.execute(sa.select(table).where(condition).order_by(table.c.id)).mappings().all()


def fields(page):
    return {n: m[1] for n in ("button", "version") if (m := re.search(rf'name="{n}" value="([^"]+)"', page.text))}
