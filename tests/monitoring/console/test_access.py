"""Every route as every role and as nobody; the one filter of accounts against a plain model of who sees what."""

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

import duckdb
import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from features.settings.binding import Binding, Person, Sponsor
from features.settings.console import ConsoleSettings
from features.state.console_tables import CONSOLE_ACTS
from features.state.tables import ABSENCES, EPISODES
from monitoring.binding.absences import note_absence
from monitoring.console.accounts.open_episodes import OpenEpisodes
from monitoring.console.app import create_app
from monitoring.console.sign_in.access import build_row_filter, get_roles
from monitoring.console.sign_in.person import Person as Reader
from monitoring.console.sign_in.person import Role, find_roles
from tests.support.console import sign_in

PEOPLE = {
    "owner": "a@owners.test",
    "lead": "lead@harbour.test",
    "manager": "boss@harbour.test",
    "data_scientist": "data@harbour.test",
    "admin": "root@harbour.test",
}
# What anybody may ask for. Everything else needs a session: a new route that forgets its guard fails here.
OPEN = {"/healthz", "/sign-in", "/sign-in/link/{token}", "/sign-out", "/choices"}
NAMES = {
    "A": "Alder Works",
    "A1": "Alder North",
    "B": "Beacon Power",
    "C": "Cedar Labs",
    "D": "Dune Freight",
}
# Of accounts that owner a does not look after: the own are A and what belongs to it.
FOREIGN = ("B", "C", "D")


@dataclass
class Browser:
    """One signed-in browser."""

    client: TestClient
    token: str

    def ask(self, method, path):
        if method == "POST":
            return self.client.post(path, data={"csrf": self.token})
        return self.client.request(method, path)


@pytest.fixture(scope="module")
def stage(shared_house):
    """The application, a browser in each role and one of nobody, and an episode on each account."""
    shared_house.clear()
    episodes = {account: shared_house.open_episode(account) for account in NAMES}
    app = create_app(shared_house.context)
    browsers = {}
    for role, address in PEOPLE.items():
        client = TestClient(app, follow_redirects=False, raise_server_exceptions=False)
        browsers[role] = Browser(client, sign_in(client, shared_house.state, address))
    nobody = TestClient(app, follow_redirects=False)
    page = nobody.get("/sign-in").text
    browsers["nobody"] = Browser(nobody, page.split('name="csrf" value="')[1][:64])
    return app, browsers, episodes


def list_routes(app):
    """Return every (route, method), with HEAD left out since it is GET's."""
    routes = [route for route in app.routes if not isinstance(route, Mount)]
    assert all(isinstance(route, Route) for route in routes)
    return [(r, m) for r in routes for m in sorted(r.methods - {"HEAD"})]


def fill(route, episodes, account):
    """Fill a route's path with what belongs to an account."""
    values = {"account_id": account, "act": "acknowledge", "file_format": "csv"}
    values |= dict.fromkeys(("episode", "episode_id"), episodes[account])
    path = route.path
    for name in route.param_convertors:
        convertor = "" if f"{{{name}}}" in path else ":path"
        path = path.replace(f"{{{name}{convertor}}}", quote(values.get(name, "2025-01"), safe=""))
    return path


def test_only_sign_in_is_open(stage):
    app, _, _ = stage
    unguarded = {route.path for route, _ in list_routes(app) if get_roles(route.endpoint) is None}
    assert unguarded == OPEN
    [mount] = [route for route in app.routes if isinstance(route, Mount)]
    assert mount.path == "/static"


def test_every_route_answers_each_role_as_its_guard_says(stage):
    app, browsers, episodes = stage
    wrong = []
    for route, method in list_routes(app):
        allowed = get_roles(route.endpoint)
        # What ends sessions ends those of the next routes too: tests of sign-in have them.
        if allowed is None or route.path == "/me/sessions":
            continue
        for role, browser in browsers.items():
            answer = browser.ask(method, fill(route, episodes, "A"))
            status = answer.status_code
            if role == "nobody":
                is_right = status == 401 or (status == 303 and answer.headers["location"].startswith("/sign-in?next="))
            elif Role(role) in allowed:
                is_right = status not in {401, 403} and status < 500
            else:
                is_right = status == 403
            if not is_right:
                wrong.append((role, method, route.path, status))
    assert wrong == []


def test_every_form_needs_its_token_and_our_own_page(stage, shared_house):
    """CSRF: every route that acts, as who may do everything, with a wrong token and from another site."""
    app, browsers, episodes = stage
    admin, before = browsers["admin"], shared_house.rows(CONSOLE_ACTS)
    foreign = {"sec-fetch-site": "cross-site", "origin": "https://evil.test"}
    wrong = []
    for route, method in list_routes(app):
        if method != "POST":
            continue
        path = fill(route, episodes, "A")
        answers = [
            admin.client.post(path, data={"csrf": "0" * 64}),
            admin.client.post(path),
            admin.client.post(path, data={"csrf": admin.token}, headers=foreign),
        ]
        wrong += [(route.path, answer.status_code) for answer in answers if answer.status_code != 403]
    assert wrong == []
    assert shared_house.rows(CONSOLE_ACTS) == before


def test_accounts_of_others_are_not_there(stage):
    """IDOR: an owner asks every route for accounts and episodes of others by their ids."""
    app, browsers, episodes = stage
    wrong = []
    for route, method in list_routes(app):
        if get_roles(route.endpoint) is None or not {"account_id", "episode", "episode_id"} & set(
            route.param_convertors
        ):
            continue
        if Role.OWNER not in get_roles(route.endpoint):
            continue
        for account in FOREIGN:
            answer = browsers["owner"].ask(method, fill(route, episodes, account))
            if answer.status_code != 404:
                wrong.append((method, route.path, account, answer.status_code))
    assert wrong == []


def test_no_page_shows_an_owner_what_others_look_after(stage):
    app, browsers, episodes = stage
    hidden = [NAMES[account] for account in FOREIGN] + ["b@owners.test", "d@owners.test"]
    for route, method in list_routes(app):
        if method == "GET" and Role.OWNER in (get_roles(route.endpoint) or ()):
            text = browsers["owner"].ask("GET", fill(route, episodes, "A")).text
            assert [word for word in hidden if word in text] == [], route.path


def test_no_page_shows_a_data_scientist_a_name(stage):
    app, browsers, episodes = stage
    hidden = [*NAMES.values(), "@owners.test"]
    for route, method in list_routes(app):
        if method == "GET" and Role.DATA_SCIENTIST in (get_roles(route.endpoint) or ()):
            text = browsers["data_scientist"].ask("GET", fill(route, episodes, "A")).text
            assert [word for word in hidden if word in text] == [], route.path


def see(house, address, *roles):
    """Return the accounts that a person sees in the index."""
    person = Reader(address, frozenset(roles or {Role.OWNER}))
    rows = build_row_filter(person, house.settings, house.state, OpenEpisodes.read(house.settings, house.state))
    return {a for a in ("A", "A1", "A11", "B", "C", "D") if house.context.accounts.find_account(rows, a)}


def test_owners_see_their_own_and_what_belongs_to_it(house):
    assert see(house, "a@owners.test") == {"A", "A1", "A11"}
    assert see(house, "c@owners.test") == {"A1", "A11", "C"}
    assert see(house, "stranger@else.test") == set()


def test_roles_that_see_all_and_none(house):
    everything = {"A", "A1", "A11", "B", "C", "D"}
    assert see(house, "boss@harbour.test", Role.MANAGER) == everything
    assert see(house, "root@harbour.test", Role.ADMIN) == everything
    assert see(house, "a@owners.test", Role.DATA_SCIENTIST) == set()
    assert see(house, "lead@harbour.test", Role.LEAD) == {"B"}
    assert see(house, "sponsor@harbour.test") == {"A", "B"}


def test_a_deputy_sees_while_the_other_is_away(house):
    assert see(house, "deputy@harbour.test") == set()
    note_absence(house.state, "b@owners.test", until=datetime(2099, 1, 1, tzinfo=UTC))
    assert see(house, "deputy@harbour.test") == {"B"}


def test_a_team_sees_accounts_with_an_open_episode_of_its_cause(house):
    assert see(house, "team@harbour.test") == set()
    house.open_episode("D", cause="service")
    house.open_episode("C", cause="price")
    assert see(house, "team@harbour.test") == {"D"}
    with house.state.writing() as connection:
        connection.execute(sa.update(EPISODES).values(closed_as_of=1))
    assert see(house, "team@harbour.test") == set()


def test_who_an_episode_was_handed_to_sees_its_account(house):
    house.open_episode("D", owner="A@owners.test")
    assert see(house, "a@owners.test") == {"A", "A1", "A11", "D"}


def test_roles_follow_from_the_settings(house):
    assert find_roles(house.settings, "Boss@harbour.test") == {Role.MANAGER}
    assert find_roles(house.settings, "lead@harbour.test") == {Role.LEAD}
    assert find_roles(house.settings, "x@y.test", ["data-team", "boss@harbour.test"]) == {Role.DATA_SCIENTIST}
    assert find_roles(house.settings, "a@owners.test") == frozenset()


OWNERS = [f"{letter}@x.test" for letter in "abcd"]
IDS = [str(number) for number in range(8)]
ACCOUNTS = st.lists(
    st.tuples(st.sampled_from([*OWNERS, None]), st.sampled_from([*IDS, None]), st.sampled_from(["A", "B", None])),
    min_size=8,
    max_size=8,
)


@given(
    accounts=ACCOUNTS,
    reader=st.sampled_from(OWNERS),
    is_lead=st.booleans(),
    away=st.sets(st.sampled_from(OWNERS), max_size=2),
    deputies=st.dictionaries(st.sampled_from(OWNERS), st.sampled_from(OWNERS), max_size=3),
    leads=st.dictionaries(st.sampled_from(OWNERS), st.sampled_from(OWNERS), max_size=3),
    episodes=st.lists(
        st.tuples(st.sampled_from(IDS), st.sampled_from(["service", "usage"]), st.booleans()), max_size=4
    ),
    team=st.sampled_from(OWNERS),
    sponsor=st.sampled_from(OWNERS),
)
@settings(max_examples=60)
def test_the_filter_lets_pass_what_a_plain_model_does(  # noqa: PLR0913, PLR0917  # the whole of a company
    shared_house, accounts, reader, is_lead, away, deputies, leads, episodes, team, sponsor
):
    people = {o: Person(deputy=deputies.get(o), lead=leads.get(o)) for o in OWNERS}
    binding = Binding(teams={"service": team}, sponsors=(Sponsor(tiers=("A",), address=sponsor),), people=people)
    company = shared_house.settings.model_copy(update={"binding": binding, "console": ConsoleSettings()})
    shared_house.clear()
    with shared_house.state.writing() as connection:
        for address in away:
            absence = {"id": address, "address": address, "since": 0, "until": None, "by": "x", "noted_at": 0}
            connection.execute(sa.insert(ABSENCES), absence)
        for number, (account, cause, is_open) in enumerate(episodes):
            row = {"id": str(number), "account_id": account, "kind": f"churn{number}", "state": "open", "version": 1}
            times = {"opened_as_of": 1, "last_as_of": 1, "closed_as_of": None if is_open else 2, "cause": cause}
            connection.execute(sa.insert(EPISODES), row | times)
    person = Reader(reader, frozenset({Role.OWNER, Role.LEAD} if is_lead else {Role.OWNER}))
    rows = build_row_filter(person, company, shared_house.state, OpenEpisodes.read(company, shared_house.state))

    table = pa.table(
        {
            "account_id": pa.array(IDS),
            "owner": pa.array([o for o, _, _ in accounts], pa.string()),
            "parent_id": pa.array([p for _, p, _ in accounts], pa.string()),
            "tier": pa.array([t for _, _, t in accounts], pa.string()),
        }
    )
    with duckdb.connect() as database:
        database.register("accounts", table)
        found = database.execute(f"SELECT account_id FROM accounts WHERE {rows.sql}", rows.parameters).fetchall()  # noqa: S608  # the filter

    def stand_in(owner):
        chain = [deputies.get(owner), leads.get(owner)]
        return next((other for other in chain if other and other not in away), None)

    own = {reader} | {o for o in away if stand_in(o) == reader}
    own |= {o for o in OWNERS if is_lead and leads.get(o) == reader}
    seen = {i for i, (owner, _, _) in zip(IDS, accounts, strict=True) if owner in own}
    while more := {i for i, (_, parent, _) in zip(IDS, accounts, strict=True) if parent in seen} - seen:
        seen |= more
    seen |= {account for account, cause, is_open in episodes if is_open and cause == "service" and team == reader}
    # A sponsor who is away without a deputy of their own is still the sponsor: better read late than by nobody.
    seen |= {i for i, (_, _, tier) in zip(IDS, accounts, strict=True) if tier == "A" and sponsor == reader}
    assert {i for (i,) in found} == seen
