"""The inbox: what is listed, in which order, the acts, and two browsers at one episode."""

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from features.state.tables import EPISODE_EVENTS, EPISODES
from monitoring.console.app import create_app
from monitoring.console.audit import read_acts
from monitoring.lifetime.submitted_forms import make_key
from serving.api import auth
from tests.support.console import sign_in


@pytest.fixture
def episodes(house):
    """Episodes on A, B and C, that of B with the most to save."""
    ids = {a: house.open_episode(a, owner=f"{a.lower()}@owners.test", cause="usage") for a in "ABC"}
    with house.state.writing() as connection:
        for number, (account, episode) in enumerate(ids.items()):
            row = {"expected": {"A": 100.0, "B": 900.0, "C": None}[account], "kind": "churn"}
            connection.execute(sa.update(EPISODES).where(EPISODES.c.id == episode).values(row))
            event = {"episode_id": episode, "seq": 1, "at": number, "as_of": number, "event": "opened", "by": "run"}
            connection.execute(sa.insert(EPISODE_EVENTS), event | {"details": {"why": "risk of leaving 50%"}})
    return ids


def list_ids(page):
    return [part.partition('"')[0] for part in page.split('id="e-')[1:]]


def read_state(house, episode):
    with house.state.reading() as connection:
        return connection.execute(sa.select(EPISODES).where(EPISODES.c.id == episode)).mappings().one()


def test_the_most_an_hour_comes_first(client, enter, episodes):
    enter("boss@harbour.test")
    page = client.get("/inbox").text
    assert list_ids(page) == [episodes["B"], episodes["A"], episodes["C"]]
    assert "EUR 1,800" in page, "900 for half an hour"


def test_an_owner_sees_own_episodes(client, enter, episodes):
    enter("b@owners.test")
    assert list_ids(client.get("/inbox").text) == [episodes["B"]]
    assert list_ids(client.get("/inbox?show=all").text) == [episodes["B"]]
    asked = client.get("/v1/episodes").json()
    assert [e["account_id"] for e in asked["episodes"]] == ["B"]


@pytest.mark.parametrize(
    ("act", "given", "expected"),
    [
        ("acknowledge", {}, {"state": "acknowledged", "acknowledged_by": "a@owners.test"}),
        ("snooze", {"days": "14"}, {"state": "snoozed"}),
        ("verdict", {"right": "yes", "reason": "true"}, {"state": "acknowledged"}),
        ("verdict", {"right": "no", "reason": "a test account"}, {"state": "closed", "outcome": "false_alarm"}),
        ("hand-over", {"to": "c@owners.test"}, {"state": "open", "owner": "c@owners.test"}),
        ("close", {"outcome": "saved", "reason": "called"}, {"state": "closed", "outcome": "saved"}),
    ],
)
def test_acts(client, enter, house, episodes, act, given, expected):  # noqa: PLR0913, PLR0917  # fixtures
    token = enter("a@owners.test")
    answer = client.post(
        f"/inbox/{episodes['A']}/{act}", data={"csrf": token, "form": make_key(), "version": "1", **given}
    )
    assert (answer.status_code, answer.headers["location"]) == (303, f"/inbox?done={act}")
    row = read_state(house, episodes["A"])
    assert expected.items() <= dict(row).items()
    (kept,) = [a for a in read_acts(house.state, row=episodes["A"]) if a.by == "a@owners.test"]
    assert (kept.act, kept.details["version"]) == (act.replace("-", "_"), row["version"])
    assert 'role="status"' in client.get(answer.headers["location"]).text


@pytest.mark.parametrize(
    ("act", "given", "status"),
    [
        ("close", {"outcome": "false_alarm"}, 409),
        ("close", {"outcome": "expired"}, 409),
        ("hand-over", {"to": "nobody"}, 409),
        ("verdict", {"right": "no"}, 409),
        ("acknowledge", {"version": ""}, 409),
        ("acknowledge", {"form": "made up"}, 409),
        ("delete", {}, 404),
        ("acknowledge", {"csrf": "0"}, 403),
    ],
)
def test_what_is_refused_changes_nothing(client, enter, house, episodes, act, given, status):  # noqa: PLR0913, PLR0917
    token = enter("a@owners.test")
    before = dict(read_state(house, episodes["A"]))
    answer = client.post(
        f"/inbox/{episodes['A']}/{act}", data={"csrf": token, "form": make_key(), "version": "1", **given}
    )
    assert answer.status_code == status
    assert dict(read_state(house, episodes["A"])) == before
    assert read_acts(house.state, row=episodes["A"]) == []


def test_the_second_of_two_browsers_is_told_who_was_first(client, enter, house, episodes):
    token = enter("a@owners.test")
    with TestClient(create_app(house.context), follow_redirects=False) as other:
        theirs = sign_in(other, house.state, "boss@harbour.test")
        first = other.post(
            f"/inbox/{episodes['A']}/snooze", data={"csrf": theirs, "form": make_key(), "version": "1", "days": "3"}
        )
    assert first.status_code == 303
    second = client.post(
        f"/inbox/{episodes['A']}/close", data={"csrf": token, "form": make_key(), "version": "1", "outcome": "saved"}
    )
    assert second.status_code == 409
    assert "snoozed by boss@harbour.test on" in second.text
    assert read_state(house, episodes["A"])["state"] == "snoozed"


def test_a_form_that_comes_twice_acts_once(client, enter, house, episodes):
    token, path = enter("a@owners.test"), f"/inbox/{episodes['A']}/acknowledge"
    form = {"csrf": token, "form": make_key(), "version": "1"}
    answers = [client.post(path, data=form) for _ in range(2)]
    assert [answer.headers["location"] for answer in answers] == ["/inbox?done=acknowledge"] * 2
    assert len(read_acts(house.state, row=episodes["A"])) == 1
    other = client.post(path, data=form | {"form": make_key()})
    assert other.status_code == 409  # another form that saw the version before


def test_another_persons_episode_is_not_there(client, enter, house, episodes):
    token = enter("b@owners.test")
    answer = client.post(
        f"/inbox/{episodes['A']}/acknowledge", data={"csrf": token, "form": make_key(), "version": "1"}
    )
    assert answer.status_code == 404
    assert read_state(house, episodes["A"])["state"] == "notified"


def test_what_was_closed_is_shown(client, enter, episodes):
    token = enter("a@owners.test")
    given = {"csrf": token, "form": make_key(), "version": "1", "outcome": "saved", "reason": "They <b>stay</b>"}
    client.post(f"/inbox/{episodes['A']}/close", data=given)
    page = client.get("/inbox").text
    assert "Recently closed" in page
    assert "They &lt;b&gt;stay&lt;/b&gt;" in page
    assert list_ids(page) == []


def test_programs_ask_with_a_key(client, house, episodes):
    assert client.get("/v1/episodes").status_code == 401
    keys = {scope: auth.create_key(house.state, scope, scope) for scope in ("read", "ingest")}
    with TestClient(create_app(house.context), follow_redirects=False) as fresh:

        def ask(scope, query=""):
            return fresh.get(f"/v1/episodes{query}", headers={"authorization": f"Bearer {keys[scope]}"})

        assert ask("ingest").status_code == 403
        whole = ask("read").json()
        assert [e["id"] for e in whole["episodes"]] == [episodes["B"], episodes["A"], episodes["C"]]
        first = ask("read", "?limit=1").json()
        rest = fresh.get(
            "/v1/episodes", params={"after": first["after"]}, headers={"authorization": f"Bearer {keys['read']}"}
        )
        assert first["episodes"] + rest.json()["episodes"] == whole["episodes"]
        assert ask("read", "?limit=0").status_code == 422
        assert ask("read", "?evil=1").status_code == 422


def test_what_programs_can_ask_is_a_page(client, enter):
    enter("data@harbour.test")
    page = client.get("/api").text
    assert "/v1/accounts" in page
    assert "/v1/episodes" in page
