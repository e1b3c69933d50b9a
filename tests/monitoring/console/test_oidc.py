"""Signing in by OpenID Connect, against a real provider on this machine; every way to cheat is refused."""

from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from starlette.testclient import TestClient

from features.core.errors import GarrisonError
from features.settings.console import ConsoleSettings, Oidc
from features.state.console_tables import CONSOLE_ACTS, CONSOLE_SESSIONS, CONSOLE_SIGN_INS
from monitoring.console.app import create_app
from monitoring.console.sign_in.oidc import Provider, open_provider
from tests.support.oidc_provider import CLIENT, SECRET, run_provider

ORIGIN = "https://garrison.test"


@pytest.fixture(scope="module")
def running():
    with run_provider() as made:
        yield made


@pytest.fixture
def provider(running):
    """The provider, without the faults of other tests."""
    running.person = {"email": "A@Owners.test", "email_verified": True, "groups": []}
    running.claims, running.back, running.metadata = {}, {}, {}
    running.code_seconds = 60.0
    running.rotate()
    return running


@pytest.fixture
def browse(house, provider):
    """Open a browser at a console that people sign in to by the provider."""
    settings = Oidc(issuer=provider.issuer, client_id=CLIENT)
    made = replace(
        house.context, origin=ORIGIN, provider=Provider(settings, SECRET, f"{ORIGIN}/sign-in/oidc/back"), attempts={}
    )
    app = create_app(made)
    return lambda: TestClient(app, base_url=ORIGIN, follow_redirects=False)


def go(client, path="/sign-in/oidc?next=%2Fme"):
    """Follow a browser to the provider and back; returns the console's address that it comes back to."""
    asked = client.get(path)
    assert asked.status_code == 303, asked.text
    answer = requests.get(asked.headers["location"], allow_redirects=False, timeout=10)
    assert answer.status_code == 302
    return answer.headers["location"].removeprefix(ORIGIN)


def test_the_provider_signs_an_owner_in(browse, house):
    client = browse()
    answer = client.get(go(client))
    assert (answer.status_code, answer.headers["location"]) == (303, "/me")
    cookies = [c for c in answer.headers.get_list("set-cookie") if "__Host-garrison-session" in c]
    assert len(cookies) == 1
    assert all(part in cookies[0] for part in ("; Secure", "; HttpOnly", "; Path=/", "; SameSite=Lax"))
    assert "Domain" not in cookies[0]
    assert "a@owners.test" in client.get("/me").text
    assert house.rows(CONSOLE_SESSIONS, "address", "method") == [("a@owners.test", "oidc")]
    assert house.rows(CONSOLE_ACTS, "act", "by", "roles") == [("sign_in", "a@owners.test", "owner")]
    assert house.rows(CONSOLE_SIGN_INS) == []


def test_groups_become_roles(browse, provider, house):
    provider.person |= {"email": "new@harbour.test", "groups": ["everybody", "data-team"]}
    client = browse()
    assert client.get(go(client)).status_code == 303
    assert "data scientist" in client.get("/me").text
    assert house.rows(CONSOLE_SESSIONS, "groups") == [(["data-team", "everybody"],)]


def test_what_goes_to_the_provider_is_bound_and_secret(browse):
    asked = parse_qs(urlsplit(browse().get("/sign-in/oidc").headers["location"]).query)
    assert (asked["response_type"], asked["code_challenge_method"]) == (["code"], ["S256"])
    assert {"state", "nonce", "code_challenge"} <= set(asked)
    assert "code_verifier" not in asked


def refuse(answer, house):
    assert answer.status_code == 403
    assert "You are not signed in" in answer.text
    assert house.rows(CONSOLE_SESSIONS) == []


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "another client"},
        {"aud": ["another client", "and one more"]},
        {"iss": "https://evil.example"},
        {"exp": 1_000},
        {"email_verified": False},
        {"email": None},
        {"email": "a@owners.test, b@owners.test"},
        {"azp": "another client"},
        {"at_hash": "wrong"},
    ],
    ids=str,
)
def test_a_token_with_a_wrong_claim_is_refused(browse, provider, house, claims):
    provider.claims = claims
    client = browse()
    refuse(client.get(go(client)), house)


def test_a_token_signed_by_another_key_is_refused(browse, provider, house):
    provider.forge()
    client = browse()
    refuse(client.get(go(client)), house)


def test_a_new_key_of_the_provider_is_fetched(browse, provider):
    client = browse()
    assert client.get(go(client)).status_code == 303
    provider.rotate()
    other = browse()
    assert other.get(go(other)).status_code == 303


def test_discovery_is_fetched_once(browse, provider):
    provider.requests.clear()
    for _ in range(3):
        client = browse()
        assert client.get(go(client)).status_code == 303
    assert provider.requests == ["discover", "keys"]


def test_a_wrong_state_is_refused(browse, provider, house):
    provider.back = {"state": "another"}
    client = browse()
    refuse(client.get(go(client)), house)


def test_a_state_serves_once_and_only_the_browser_that_began(browse, house):
    first, other = browse(), browse()
    address = go(first)
    refuse(other.get(address), house)
    other.get("/sign-in/oidc")  # a browser that began a sign-in of its own is another one all the same
    refuse(other.get(address), house)
    assert first.get(address).status_code == 303
    assert first.get(address).status_code == 403


def test_an_expired_code_is_refused(browse, provider, house):
    provider.code_seconds = -1.0
    client = browse()
    refuse(client.get(go(client)), house)


def test_a_code_of_another_sign_in_is_refused(browse, house):
    """An attacker's code in the victim's way back: PKCE and nonce hold."""
    victim, attacker = browse(), browse()
    own, foreign = go(victim), go(attacker)
    code = parse_qs(urlsplit(foreign).query)["code"][0]
    state = parse_qs(urlsplit(own).query)["state"][0]
    refuse(victim.get(f"/sign-in/oidc/back?code={code}&state={state}"), house)


def test_a_group_without_a_role_gets_a_page_that_says_so(browse, provider, house):
    provider.person |= {"email": "stranger@harbour.test", "groups": ["canteen"]}
    client = browse()
    answer = client.get(go(client))
    assert answer.status_code == 403
    assert "You have no role here" in answer.text
    assert house.rows(CONSOLE_SESSIONS) == []


def test_a_group_named_like_a_person_gives_no_role(browse, provider):
    provider.person |= {"email": "stranger@harbour.test", "groups": ["boss@harbour.test"]}
    client = browse()
    assert client.get(go(client)).status_code == 403


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://other.example"},
        {"token_endpoint": "http://other.example/token"},
        {"authorization_endpoint": "javascript:alert(1)"},
    ],
    ids=str,
)
def test_a_provider_that_is_another_one_is_refused(house, provider, metadata):
    provider.metadata = metadata
    settings = Oidc(issuer=provider.issuer, client_id=CLIENT)
    made = replace(house.context, origin=ORIGIN, provider=Provider(settings, SECRET, ORIGIN))
    answer = TestClient(create_app(made), base_url=ORIGIN, follow_redirects=False).get("/sign-in/oidc")
    assert answer.status_code == 403


def test_where_the_way_leads_afterwards_is_local(browse):
    client = browse()
    answer = client.get(go(client, "/sign-in/oidc?next=https%3A%2F%2Fevil.example"))
    assert answer.headers["location"] == "/"


def test_settings_take_https_alone_and_the_secret_from_the_environment(monkeypatch):
    with pytest.raises(ValueError, match="https"):
        Oidc(issuer="http://login.example.com", client_id=CLIENT)
    with pytest.raises(ValueError, match="path"):
        ConsoleSettings(url="https://example.com/garrison")
    settings = Oidc(issuer="https://login.example.com", client_id=CLIENT)
    monkeypatch.delenv("GARRISON_OIDC_SECRET", raising=False)
    with pytest.raises(GarrisonError, match="GARRISON_OIDC_SECRET"):
        open_provider(settings, ORIGIN)
    monkeypatch.setenv("GARRISON_OIDC_SECRET", "s")
    assert open_provider(settings, ORIGIN).back == "https://garrison.test/sign-in/oidc/back"
