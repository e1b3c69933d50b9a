"""The page of an account: seen by whom it may be, acted on once, told to the second who comes too late."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from features.state.account_tables import ACCOUNT_NOTES, ACCOUNT_PROMISES, SUBMITTED_FORMS
from features.state.console_tables import CONSOLE_ACTS
from features.state.tables import EPISODES, EVENT_LOG
from monitoring.console.app import create_app
from monitoring.console.pages.account import find_path
from monitoring.lifetime.submitted_forms import make_key
from tests.support.console import ConsoleCompany, sign_in

OWNER, OTHER, BOSS = "a@owners.test", "d@owners.test", "boss@harbour.test"
DUE = (datetime.now(UTC) + timedelta(days=30)).date().isoformat()
TODAY = datetime.now(UTC).date().isoformat()
EVIL = "<script>alert(1)</script>\"'>&{{ 7 * 7 }}"


@pytest.fixture
def page(house, client, enter):
    """Return what sends a form of account A's page as its owner."""
    with house.state.writing() as connection:
        for table in (ACCOUNT_NOTES, ACCOUNT_PROMISES, SUBMITTED_FORMS, EVENT_LOG):
            connection.execute(sa.delete(table))
    token = enter(OWNER)

    def send(path, **form):
        form = {"csrf": token, "form": make_key(), **form}
        return client.post(f"/accounts/A/{path}", data=form)

    return send


def count(house, table):
    return len(house.rows(table))


@pytest.mark.usefixtures("page")
def test_the_page_shows_the_account_to_its_owner(client):
    answer = client.get("/accounts/A")
    assert answer.status_code == 200
    for words in ("Alder Works", "No score yet", "Timeline", "EUR 9,000", "Alder North", "a@owners.test"):
        assert words in answer.text
    assert len(answer.content) < 100_000


@pytest.mark.parametrize(
    ("act", "form", "table"),
    [
        ("note", {"text": "They want an export."}, ACCOUNT_NOTES),
        ("promise", {"text": "An export", "due": DUE, "by": "Ann"}, ACCOUNT_PROMISES),
        ("touch", {"kind": "call", "day": TODAY}, EVENT_LOG),
    ],
)
def test_a_form_that_comes_twice_acts_once(  # noqa: PLR0913, PLR0917  # browsers, and what is sent
    house, client, page, act, form, table
):
    key = make_key()
    for _ in range(2):
        answer = page(f"acts/{act}", **form, form=key)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/accounts/A?done={act}")
    assert count(house, table) == 1
    acts = [row for row in house.rows(CONSOLE_ACTS, "act", "by", "row_id") if row[0] == act]
    assert acts == [(act, OWNER, key)]
    shown = client.get("/accounts/A").text
    assert {"note": "They want an export.", "promise": "An export", "touch": "Call"}[act] in shown


@pytest.mark.parametrize(
    ("act", "form"),
    [
        ("note", {"text": "  "}),
        ("note", {"text": "x" * 10_001}),
        ("promise", {"text": "An export", "due": "2020-01-01", "by": "Ann"}),
        ("promise", {"text": "An export", "due": "soon"}),
        ("keep", {"promise": "none"}),
        ("touch", {"kind": "call", "day": "2999-01-01"}),
        ("touch", {"kind": "bribe", "day": TODAY}),
        ("note", {"text": "fine", "form": "not ours"}),
        ("note", {"text": "fine", "form": ""}),
    ],
)
def test_a_refused_form_changes_nothing_says_why_and_loses_no_word(house, page, act, form):
    answer = page(f"acts/{act}", **form)
    assert answer.status_code == 409
    assert "Nothing was changed." in answer.text
    if "An export" in form.values():
        assert 'value="An export"' in answer.text
    for table in (ACCOUNT_NOTES, ACCOUNT_PROMISES, EVENT_LOG, SUBMITTED_FORMS):
        assert count(house, table) == 0
    assert [row for row in house.rows(CONSOLE_ACTS, "act") if row[0] == act] == []


def test_a_promise_is_kept_once_and_the_second_is_told(house, page):
    page("acts/promise", text="An export", due=DUE, by="Ann")
    ((promise,),) = house.rows(ACCOUNT_PROMISES, "id")
    assert page("acts/keep", promise=promise).status_code == 303
    second = page("acts/keep", promise=promise)
    assert (second.status_code, "kept already" in second.text, OWNER in second.text) == (409, True, True)
    ((kept_by,),) = house.rows(ACCOUNT_PROMISES, "kept_by")
    assert kept_by == OWNER


def test_of_two_browsers_on_one_episode_the_second_is_told_and_keeps_what_it_wrote(house, client, page):
    episode = house.open_episode("A", owner=OWNER)
    path = f"episodes/{episode}"
    assert f"/accounts/A/{path}/close" in client.get("/accounts/A").text
    with TestClient(create_app(replace(house.context, attempts={})), follow_redirects=False) as other:
        token = sign_in(other, house.state, BOSS)
        form = {"csrf": token, "form": make_key(), "version": "1", "outcome": "saved", "reason": "They renewed"}
        assert other.post(f"/accounts/A/{path}/close", data=form).status_code == 303
        # A lost answer: sent again, it is done already.
        assert other.post(f"/accounts/A/{path}/close", data=form).status_code == 303
    second = page(f"{path}/verdict", version="1", right="no", reason="It was a holiday")
    assert second.status_code == 409
    assert BOSS.partition("@")[0] in second.text
    assert house.rows(EPISODES, "outcome") == [("saved",)]
    shown = client.get("/accounts/A?kind=act").text
    assert "Closed by boss" in shown
    assert "They renewed" in shown


def test_what_a_person_may_not_see_is_not_there(house, client, enter):
    episode, mine = house.open_episode("A", owner=OWNER), house.open_episode("D", owner=OTHER)
    token = enter(OTHER)
    for path in ("", "/export.json", "/what-if"):
        assert client.get(f"/accounts/A{path}").status_code == 404
        assert client.get(f"/accounts/nobody{path}").status_code == 404
    form = {"csrf": token, "form": make_key(), "text": "x", "version": "1"}
    assert client.post("/accounts/A/acts/note", data=form).status_code == 404
    assert client.post(f"/accounts/A/episodes/{episode}/acknowledge", data=form).status_code == 404
    # Not through an account that the person sees, either.
    assert client.post(f"/accounts/D/episodes/{episode}/acknowledge", data=form).status_code == 404
    assert client.post(f"/accounts/D/episodes/{mine}/acknowledge", data=form).status_code == 303
    assert client.post("/accounts/D/acts/gossip", data=form).status_code == 404
    assert client.get("/accounts/D?after=x").status_code == 404
    assert "Alder" not in client.get("/accounts/D").text


@pytest.mark.usefixtures("page")
def test_without_a_model_what_if_says_so_and_wrong_numbers_are_told(client):
    assert client.get("/accounts/A/what-if").status_code == 200
    for query, words in (
        ("usage=20", "nothing has been scored yet"),
        ("usage=x", "no number"),
        ("price=nan", "no number"),
    ):
        answer = client.get(f"/accounts/A/what-if?{query}")
        assert (answer.status_code, words in answer.text) == (422, True)


def test_the_export_is_the_whole_file_as_json(client, page):
    page("acts/note", text="They want an export.")
    answer = client.get("/accounts/A/export.json")
    assert "attachment" in answer.headers["content-disposition"]
    found = json.loads(answer.text)
    assert found["head"]["name"] == "Alder Works"
    assert [e["kind"] for e in found["timeline"]["entries"]] == ["note", "purchase"]


def test_hostile_names_and_notes_are_text_and_nothing_else(tmp_path):
    names = {"X/1": EVIL, "long": "Ω" * 10_000, "rtl": "\u202eevil\u202c شركة", "a b?c#d": "Space & Co"}
    accounts = [{"id": key, "name": name, "owner": OWNER} for key, name in names.items()]
    house = ConsoleCompany(tmp_path, accounts)
    with TestClient(create_app(house.context), follow_redirects=False) as client:
        token = sign_in(client, house.state, OWNER)
        for account in names:
            path = find_path(account)
            form = {"csrf": token, "form": make_key(), "text": f"{EVIL} \u202e\n" + "w" * 9_000}
            assert client.post(f"{path}/acts/note", data=form).status_code == 303, path
            page = client.get(path)
            assert page.status_code == 200
            assert "<script>alert" not in page.text
            assert "\u202e" not in page.text
            assert len(page.content) < 100_000
    house.close()
