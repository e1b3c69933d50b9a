"""The pages behind the links of letters, over HTTP: GET shows, POST acts, once, and only with the page's button."""

import re
from datetime import UTC, datetime
from functools import cache

import pytest
from starlette.testclient import TestClient

from features.settings.alerts import Links
from features.state.tables import EPISODE_EVENTS, EPISODES, OUTBOX
from monitoring.alerts import acts
from monitoring.console.app import create_app
from monitoring.console.context import ConsoleContext
from monitoring.letters.links import LetterLink, LinkSigner

AT = "2024-06-01"
SIGNER = LinkSigner(Links(url="http://testserver"), "s" * 32)


@pytest.fixture
def pages(company):
    """An open episode on A, and a browser."""
    company.score(AT, {"A": 0.7})
    company.alert(AT)
    with TestClient(create_app(ConsoleContext(company.settings, company.state, SIGNER, None))) as client:
        yield client


@pytest.fixture
def link(company, pages):  # noqa: ARG001  # which opens the episode
    """Return the path of an action's link."""
    [(message,)], [(episode,)] = company.rows(OUTBOX, "id"), company.rows(EPISODES, "id")

    @cache  # the same letter has the same link, whatever the second
    def build(action, **changed):
        return (
            f"/act/{SIGNER.sign(LetterLink(**({'message': message, 'episode': episode, 'action': action} | changed)))}"
        )

    return build


def button(page):
    return {name: re.search(rf'name="{name}" value="([^"]+)"', page.text)[1] for name in ("button", "version")}


def state(company):
    [(state, outcome, by)] = company.rows(EPISODES, "state", "outcome", "acknowledged_by")
    return state, outcome, by


def test_looking_changes_nothing_however_often_scanners_do(company, pages, link):
    before = company.rows(EPISODE_EVENTS)
    for action in ("acknowledge", "snooze", "saved", "false-alarm"):
        for method in (pages.get, pages.head):
            assert method(link(action)).status_code == 200
    assert company.rows(EPISODE_EVENTS) == before


def test_pressing_the_button_acts_as_the_letters_recipient(company, pages, link):
    page = pages.get(link("acknowledge"))
    assert "Take it on?" in page.text
    assert "At risk: Company A" in page.text
    assert "You act as a@owners.test." in page.text
    done = pages.post(link("acknowledge"), data=button(page))
    assert (done.status_code, "You have taken it on" in done.text) == (200, True)
    assert state(company) == ("acknowledged", None, "a@owners.test")
    # A browser that posts again is told the same, and nothing happens twice.
    assert pages.post(link("acknowledge"), data=button(page)).status_code == 200
    assert [e for (e,) in company.rows(EPISODE_EVENTS, "event")].count("acknowledged") == 1
    assert "Somebody is at it" in pages.get(link("acknowledge")).text


@pytest.mark.parametrize(
    ("action", "form", "expected"),
    [
        ("snooze", {"days": "14", "reason": "on holiday"}, ("snoozed", None, None)),
        ("saved", {"reason": ""}, ("closed", "saved", None)),
        ("false-alarm", {"reason": "they moved to another product of ours"}, ("closed", "false_alarm", None)),
    ],
)
def test_each_action_does_what_it_says(  # noqa: PLR0913, PLR0917  # fixtures, and what is tried
    company, pages, link, action, form, expected
):
    page = pages.get(link(action))
    assert pages.post(link(action), data=button(page) | form).status_code == 200
    assert state(company) == expected
    if expected[0] == "closed":
        assert "This is over" in pages.get(link("acknowledge")).text


def test_a_post_without_the_pages_button_is_refused(company, pages, link):
    page = pages.get(link("saved"))
    for data in ({}, {"button": "x"}, {"button": button(page)["button"][:-2]}):
        assert pages.post(link("saved"), data=data).status_code == 403
    # The button of another link's page neither.
    assert pages.post(link("false-alarm"), data=button(page) | {"reason": "x"}).status_code == 403
    assert state(company)[0] == "open"


def test_a_false_alarm_without_a_reason_changes_nothing(company, pages, link):
    done = pages.post(link("false-alarm"), data=button(pages.get(link("false-alarm"))))
    assert done.status_code == 409
    assert "needs a reason" in done.text
    assert state(company)[0] == "open"


def test_who_comes_second_is_told_and_nothing_is_lost(company, pages, link):
    page = pages.get(link("saved"))
    [(episode,)] = company.rows(EPISODES, "id")
    acts.acknowledge(company.state, episode, by="bob@owners.test")
    done = pages.post(link("saved"), data=button(page))
    assert done.status_code == 409
    assert "has changed since you saw it" in done.text
    assert state(company) == ("acknowledged", None, "bob@owners.test")


@pytest.mark.parametrize(
    "path",
    ["/act/x", "/act/" + "A" * 2_000, "/act/%00%ff", "/act/..%2f..%2fetc%2fpasswd"],
)
def test_links_that_are_none_are_refused_plainly(pages, path):
    page = pages.get(path)
    assert page.status_code in {403, 404}
    assert "Traceback" not in page.text


def test_a_link_whose_message_or_episode_is_gone_is_refused(pages, link):
    assert pages.get(link("saved", message="other")).status_code == 403
    assert pages.get(link("saved", episode="other")).status_code == 403


def test_forms_have_limits(pages, link):
    page = pages.get(link("saved"))
    assert pages.post(link("saved"), data=button(page) | {"reason": "x" * 9_000}).status_code == 413
    assert pages.post(link("saved"), content="&".join("a=1" for _ in range(50))).status_code == 400
    assert pages.post(link("saved"), content=b"\xff\xfe=\x00&button").status_code == 403


def test_pages_load_nothing_but_their_stylesheet_and_tell_no_other_site(pages, link):
    page = pages.get(link("acknowledge"))
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert (page.headers["referrer-policy"], page.headers["cache-control"]) == ("no-referrer", "no-store")
    assert re.findall(r"<script[^>]*>", page.text) == ['<script src="../static/console.js" defer>']
    assert pages.get("/static/console.css").status_code == 200
    assert pages.get("/healthz").text == "ok\n"


def test_names_in_subjects_are_no_markup(company):
    company.accounts({"A": "a@owners.test"}, {"A": "<img src=x onerror=alert(1)>"})
    company.score(AT, {"A": 0.7})
    company.alert(AT)
    [(message,)], [(episode,)] = company.rows(OUTBOX, "id"), company.rows(EPISODES, "id")
    with TestClient(create_app(ConsoleContext(company.settings, company.state, SIGNER, None))) as client:
        page = client.get(f"/act/{SIGNER.sign(LetterLink(message, episode, 'saved'))}")
    assert "<img" not in page.text
    assert "&lt;img" in page.text


def test_a_snooze_ends_when_the_page_said(company, pages, link):
    pages.post(link("snooze"), data=button(pages.get(link("snooze"))) | {"days": "3", "reason": "x"})
    [(until,)] = company.rows(EPISODES, "snoozed_until")
    assert abs(until / 1e6 - datetime.now(UTC).timestamp() - 3 * 86_400) < 60
