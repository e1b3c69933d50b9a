"""Signing in by one-time links, sessions, forms: what an attacker would try is refused, and what people do works."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from features.core.errors import GarrisonError
from features.settings.alerts import Alerts, Email, Links
from features.settings.console import ConsoleSettings
from features.state.console_tables import CONSOLE_ACTS, CONSOLE_CHOICES, CONSOLE_LINKS, CONSOLE_SESSIONS
from features.state.tables import OUTBOX
from monitoring.console import commands
from monitoring.console.app import create_app
from monitoring.console.sign_in import mail_links
from monitoring.console.sign_in.sessions import Sessions, hash_token
from monitoring.letters.links import LetterLink, LinkSigner
from tests.support.commands import run_command
from tests.support.console import ConsoleCompany, read_token, sign_in

ANY = "0.0.0.0"  # noqa: S104  # which is refused
SESSION = "garrison-development-session"


def get_token(client, path="/sign-in"):
    return read_token(client.get(path).text)


def test_a_link_asked_for_comes_by_mail_and_signs_in_once(house, post):
    email = Email(host="127.0.0.1", port=post.port, sender="Garrison <g@harbour.test>", security="none")
    settings = house.settings.model_copy(update={"alerts": Alerts(email=email)})
    app = create_app(replace(house.context, settings=settings, origin="http://127.0.0.1:3001", attempts={}))
    client = TestClient(app, base_url="http://127.0.0.1:3001", follow_redirects=False)
    form = {"csrf": get_token(client), "address": "A@owners.test", "next": "/me?x=1"}
    assert "a link is on its way" in client.post("/sign-in", data=form).text
    [(recipients, content)] = post.received
    assert recipients == ["A@owners.test"]
    text = message_from_bytes(content, policy=policy.default).get_body(("plain",)).get_content()
    path = re.search(r"http://127\.0\.0\.1:3001(/sign-in/link/\S+)", text)[1]
    for _ in range(3):  # programs that check mails look at links, and use nothing up
        assert "You sign in as a@owners.test." in client.get(path).text
    answer = client.post(path, data={"csrf": get_token(client, path)})
    assert (answer.status_code, answer.headers["location"]) == (303, "/me?x=1")
    assert "a@owners.test" in client.get("/me").text
    again = TestClient(app, base_url="http://127.0.0.1:3001", follow_redirects=False)
    assert again.get(path).status_code == 403
    assert again.post(path, data={"csrf": get_token(again)}).status_code == 403
    assert path.rsplit("/", 1)[1] not in json.dumps([*house.rows(CONSOLE_LINKS), *house.rows(CONSOLE_SESSIONS)])


def test_strangers_get_the_same_page_and_no_mail(client, house):
    addresses = ("a@owners.test", "stranger@else.test")
    pages = [client.post("/sign-in", data={"csrf": get_token(client), "address": a}) for a in addresses]
    assert [p.status_code for p in pages] == [200, 200]
    assert re.sub("[0-9a-f]{64}", "", pages[0].text) == re.sub("[0-9a-f]{64}", "", pages[1].text)
    assert [recipient for (recipient,) in house.rows(OUTBOX, "recipient")] == ["a@owners.test"]


def test_an_address_gets_few_links_an_hour(client, house):
    for _ in range(mail_links.MOST_AN_HOUR + 2):
        client.post("/sign-in", data={"csrf": get_token(client), "address": "a@owners.test"})
    assert len(house.rows(OUTBOX)) == mail_links.MOST_AN_HOUR


def test_too_many_attempts_are_told_to_wait(client):
    form = {"csrf": get_token(client), "address": "nobody"}
    answers = [client.post("/sign-in", data=form) for _ in range(21)]
    assert [a.status_code for a in answers] == [422] * 20 + [429]
    assert (answers[-1].headers["retry-after"], "Too many attempts" in answers[-1].text) == ("60", True)


def test_an_old_link_is_refused(client, house):
    token = mail_links.create_link(house.state, "a@owners.test", "/", minutes=15)
    with house.state.writing() as connection:
        connection.execute(sa.update(CONSOLE_LINKS).values(ends_at=1))
    page = client.get(f"/sign-in/link/{token}")
    assert (page.status_code, "This link is too old." in page.text) == (403, True)


def test_a_session_of_before_is_never_the_session_of_after(client, house):
    """Session fixation: a token that an attacker planted in the browser signs nobody in."""
    client.cookies.set(SESSION, "planted", domain="testserver.local", path="/")
    sign_in(client, house.state, "a@owners.test")
    first = client.cookies.get(SESSION)
    assert first != "planted"
    assert house.rows(CONSOLE_SESSIONS, "hash") == [(hash_token(first),)]
    # A second sign-in in the same browser ends the first session.
    link = mail_links.create_link(house.state, "b@owners.test", "/me", minutes=15)
    path = f"/sign-in/link/{link}"
    client.post(path, data={"csrf": read_token(client.get(path).text)})
    assert house.rows(CONSOLE_SESSIONS, "address") == [("b@owners.test",)]
    attacker = TestClient(client.app, follow_redirects=False)
    for token in ("planted", first):
        attacker.cookies.set(SESSION, token)
        assert attacker.get("/me").status_code == 303


def test_signing_out_ends_the_session_on_the_server(client, enter, house):
    token = enter("a@owners.test")
    kept = client.cookies.get(SESSION)
    assert client.post("/sign-out", data={"csrf": token}).headers["location"] == "/sign-in"
    assert house.rows(CONSOLE_SESSIONS) == []
    client.cookies.set(SESSION, kept)
    assert client.get("/me").status_code == 303
    assert [act for (act,) in house.rows(CONSOLE_ACTS, "act")] == ["sign_in", "sign_out"]


def test_signing_out_everywhere_ends_every_session_of_the_person_alone(client, house):
    others = [TestClient(client.app, follow_redirects=False) for _ in range(2)]
    sign_in(others[0], house.state, "a@owners.test")
    sign_in(others[1], house.state, "b@owners.test")
    token = sign_in(client, house.state, "a@owners.test")
    client.post("/me/sessions", data={"csrf": token})
    assert house.rows(CONSOLE_SESSIONS, "address") == [("b@owners.test",)]


@pytest.mark.parametrize(("later", "is_there"), [({"hours": 1}, True), ({"hours": 9}, False), ({"days": 4}, False)])
def test_sessions_end_when_idle_and_in_any_case(house, later, is_there):
    now = datetime.now(UTC)
    with house.state.writing() as connection:
        token = Sessions(house.state, ConsoleSettings(), lambda: now).start(connection, "a@owners.test", (), "link")
    after = Sessions(house.state, ConsoleSettings(), lambda: now + timedelta(**later))
    assert (after.find(token) is not None) is is_there


def test_a_session_in_use_ends_in_any_case(house):
    at = [datetime.now(UTC)]
    sessions = Sessions(house.state, ConsoleSettings(), lambda: at[0])
    with house.state.writing() as connection:
        token = sessions.start(connection, "a@owners.test", (), "link")
    hours = 0
    while sessions.find(token):
        hours += 6
        at[0] += timedelta(hours=6)
    assert hours == 72


def test_forms_need_the_token_of_their_browser(client, enter, house):
    token = enter("a@owners.test")
    other = TestClient(client.app, follow_redirects=False)
    foreign = sign_in(other, house.state, "b@owners.test")
    for given in ({}, {"csrf": ""}, {"csrf": "0" * 64}, {"csrf": foreign}):
        answer = client.post("/choices", data={**given, "theme": "dark"})
        assert (answer.status_code, "This form is too old" in answer.text) == (403, True)
    assert house.rows(CONSOLE_CHOICES) == []
    assert client.post("/choices", data={"theme": "dark"}, headers={"x-csrf-token": token}).status_code == 303
    assert client.post("/choices", data={"csrf": token, "theme": "dark"}).status_code == 303


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://testserver"}, 303),
        ({"origin": "null", "sec-fetch-site": "same-origin"}, 303),  # a page that sends no referrer
        ({"sec-fetch-site": "same-origin"}, 303),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "http://testserver.evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "null", "sec-fetch-site": "cross-site"}, 403),
        ({"origin": "http://testserver", "sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "none"}, 403),
    ],
    ids=str,
)
def test_forms_of_other_sites_are_refused_even_with_the_token(client, enter, headers, status):
    token = enter("a@owners.test")
    assert client.post("/choices", data={"csrf": token, "theme": "dark"}, headers=headers).status_code == status


def test_bodies_have_a_limit(client, enter):
    token = enter("a@owners.test")
    page = client.post("/choices", data={"csrf": token, "back": "x" * 70_000})
    assert (page.status_code, "This is too long" in page.text) == (413, True)

    def stream():
        for _ in range(100):
            yield b"x" * 1_000

    assert client.post("/choices", content=stream(), headers={"x-csrf-token": token}).status_code == 413


@pytest.mark.parametrize(
    "path",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "\\\\evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/me\r\nset-cookie: a=b",
        "///evil.example",
        "me",
        "/" + "x" * 3_000,
    ],
)
def test_nobody_is_sent_to_another_site(client, house, path):
    link = mail_links.create_link(house.state, "a@owners.test", path, minutes=15)
    address = f"/sign-in/link/{link}"
    answer = client.post(address, data={"csrf": read_token(client.get(address).text)})
    assert answer.headers["location"] == "/"
    assert client.get("/sign-in", params={"next": path}).headers["location"] == "/"
    back = client.post("/choices", data={"csrf": get_token(client, "/me"), "theme": "dark", "back": path})
    assert back.headers["location"] == "/"


def test_who_is_not_signed_in_comes_back_to_where_they_went(client, house):
    answer = client.get("/me?tab=sessions")
    assert answer.headers["location"] == "/sign-in?next=%2Fme%3Ftab%3Dsessions"
    page = client.get(answer.headers["location"]).text
    assert 'name="next" value="/me?tab=sessions"' in page
    assert client.post("/me/sessions", data={"csrf": read_token(page)}).status_code == 401
    assert house.rows(CONSOLE_ACTS) == []


def test_hosts_of_others_lead_nowhere(house):
    app = create_app(replace(house.context, origin="https://garrison.test"))
    assert TestClient(app, base_url="https://evil.example").get("/sign-in").status_code == 400
    assert TestClient(app, base_url="https://garrison.test").get("/sign-in").status_code == 200


def test_letters_links_lead_here_at_their_own_address(house):
    links = Links(url="https://letters.harbour.test/garrison")
    settings = house.settings.model_copy(update={"alerts": Alerts(links=links)})
    assert commands.find_origin(settings, "127.0.0.1", 3001) == "https://letters.harbour.test"
    signer = LinkSigner(links, "s" * 32)
    app = create_app(replace(house.context, settings=settings, signer=signer, origin="https://garrison.test"))
    client = TestClient(app, base_url="https://letters.harbour.test")
    token = signer.sign(LetterLink("m", "e", "saved"))
    assert client.get(f"/act/{token}").status_code == 403  # the letter is gone, the host is right
    own = client.post(f"/act/{token}", headers={"origin": "https://letters.harbour.test"})
    other = client.post(f"/act/{token}", headers={"origin": "https://evil.example"})
    assert ("This link" in own.text or "button" in own.text, "This form is too old" in other.text) == (True, True)


def test_cookies_are_bound_to_the_host_where_there_is_tls(house):
    app = create_app(replace(house.context, origin="https://garrison.test"))
    cookie = TestClient(app, base_url="https://garrison.test").get("/sign-in").headers["set-cookie"]
    assert cookie.startswith("__Host-garrison-visitor=")
    assert all(part in cookie for part in ("; Secure", "; HttpOnly", "; Path=/", "; SameSite=Lax"))


def test_every_answer_keeps_to_itself(client, enter):
    enter("a@owners.test")
    answers = [client.get(path) for path in ("/me", "/sign-in", "/nothing", "/static/console.css", "/healthz")]
    answers.append(client.post("/me"))
    for answer in answers:
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_an_error_that_nobody_expected_is_a_page_without_its_words(house, monkeypatch):
    client = TestClient(create_app(replace(house.context, attempts={})), raise_server_exceptions=False)
    sign_in(client, house.state, "a@owners.test")
    monkeypatch.setattr("monitoring.console.audit.read_acts", lambda *_, **__: 1 / 0)
    page = client.get("/me")
    assert (page.status_code, "Something went wrong here" in page.text) == (500, True)
    assert "division" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_choices_are_kept_for_the_person_not_for_the_browser(client, enter, house):
    token = enter("a@owners.test")
    for choice in ({"language": "zh_Hans"}, {"theme": "dark"}, {"timezone": "Asia/Shanghai"}, {"language": "xx"}):
        client.post("/choices", data={"csrf": token, "back": "/me", **choice})
    page = client.get("/me").text
    assert '<html lang="zh-Hans" data-theme="dark">' in page
    other = TestClient(client.app)
    sign_in(other, house.state, "a@owners.test")
    assert '<html lang="zh-Hans" data-theme="dark">' in other.get("/me").text
    assert house.rows(CONSOLE_CHOICES, "language", "theme", "timezone") == [("zh_Hans", "dark", "Asia/Shanghai")]


def test_visitors_choose_a_language_too(client):
    assert '<html lang="zh-Hans">' in client.get("/sign-in", headers={"accept-language": "zh-CN,en;q=0.5"}).text
    client.post("/choices", data={"csrf": get_token(client), "language": "zh_Hans", "back": "/sign-in"})
    assert '<html lang="zh-Hans">' in client.get("/sign-in").text


@pytest.mark.parametrize(
    ("host", "console", "problem"),
    [
        ("127.0.0.1", {}, None),
        ("::1", {}, None),
        (ANY, {}, "certificate and key, or proxies"),
        (ANY, {"proxies": ("10.0.0.1",)}, "console.url"),
        (ANY, {"proxies": ("10.0.0.1",), "url": "https://garrison.test"}, None),
        ("192.0.2.1", {"certificate": "c.pem", "key": "k.pem", "url": "https://garrison.test"}, None),
    ],
)
def test_other_machines_are_served_over_tls_alone(house, host, console, problem):
    settings = house.settings.model_copy(update={"console": ConsoleSettings(**console)})
    if problem is None:
        commands.choose_server_options(settings, host)
    else:
        with pytest.raises(GarrisonError, match=problem):
            commands.choose_server_options(settings, host)


def test_an_administrator_at_the_machine_gets_a_link_and_reads_who_did_what(tmp_path):
    made = ConsoleCompany(tmp_path)
    config = ("--config", made.settings.file)
    printed = run_command("monitoring", "console", "--link", "boss@harbour.test", *config, cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    path = printed.stdout.strip().removeprefix("http://127.0.0.1:3001")
    client = TestClient(create_app(made.context), follow_redirects=False)
    assert client.post(path, data={"csrf": read_token(client.get(path).text)}).status_code == 303
    stranger = run_command("monitoring", "console", "--link", "stranger@else.test", *config, cwd=tmp_path)
    assert (stranger.returncode, "has no role" in stranger.stderr) == (1, True)
    open_to_all = run_command("monitoring", "console", "--host", ANY, *config, cwd=tmp_path)
    assert (open_to_all.returncode, "without TLS" in open_to_all.stderr) == (1, True)
    file = tmp_path / "acts.json"
    listed = run_command("monitoring", "audit", "--json", file, *config, cwd=tmp_path)
    assert all(word in listed.stdout for word in ("boss@harbour.test", "sign_in", "console_sessions"))
    [act] = json.loads(file.read_text())["acts"]
    assert (act["by"], act["roles"], act["details"]) == ("boss@harbour.test", "manager", {"method": "link"})
    made.close()
