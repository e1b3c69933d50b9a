"""The console on a PostgreSQL: its own tables, every page, acts once and by one of two people, and what is kept."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from features.core.errors import GarrisonError
from features.state import database
from features.state.account_tables import ACCOUNT_NOTES, ACCOUNT_PROMISES
from features.state.console_tables import CONSOLE_SESSIONS
from features.state.portfolio_tables import ASSIGNMENTS
from features.state.state_version import StateVersion
from features.state.tables import EPISODES, MUTES
from monitoring.console.accounts.account_index import AccountIndex
from monitoring.console.act_transaction import begin_act
from monitoring.console.app import create_app
from monitoring.console.audit import read_acts
from monitoring.console.context import ConsoleContext
from monitoring.console.sign_in import mail_links
from monitoring.lifetime.submitted_forms import make_key
from tests.support.console import ConsoleCompany, sign_in

BOSS, OWNER = "boss@harbour.test", "a@owners.test"


@pytest.fixture
def company(tmp_path, postgres_url):
    """A company of six accounts whose state database is a PostgreSQL."""
    made = ConsoleCompany(tmp_path)
    made.close()
    made.settings = made.settings.model_copy(update={"state_url": postgres_url})
    made.state = database.open(made.settings)
    made.context = ConsoleContext(made.settings, made.state, None, AccountIndex.open(made.settings, made.state))
    yield made
    made.context.kept.close()
    made.close()


def test_pages_acts_and_records(company):
    episodes = {a: company.open_episode(a, owner=f"{a.lower()}@owners.test", cause="usage") for a in ("A", "B")}
    with company.state.writing() as connection:
        connection.execute(sa.update(EPISODES).where(EPISODES.c.id == episodes["B"]).values(expected=None))
    app = create_app(company.context)
    with TestClient(app, follow_redirects=False) as boss, TestClient(app, follow_redirects=False) as owner:
        tokens = {one: sign_in(one, company.state, who) for one, who in ((boss, BOSS), (owner, OWNER))}

        def post(browser, path, **form):
            given = {"csrf": tokens[browser], "form": make_key(), "version": "1", **form}
            return browser.post(path, data=given).status_code

        for path in ("/inbox?show=all", "/portfolio?show=needs", "/accounts/A", "/me", "/v1/episodes?limit=1"):
            assert boss.get(path).status_code == 200, path
        assert [e["id"] for e in boss.get("/v1/episodes").json()["episodes"]] == [episodes["A"], episodes["B"]]

        # Two people, one episode; one form, twice.
        key = make_key()
        assert [post(owner, f"/inbox/{episodes['A']}/acknowledge", form=key) for _ in range(2)] == [303, 303]
        assert post(boss, f"/inbox/{episodes['A']}/close", outcome="saved") == 409
        assert post(boss, f"/inbox/{episodes['B']}/close", outcome="saved") == 303
        assert company.rows(EPISODES, "account_id", "state") == [("A", "acknowledged"), ("B", "closed")]
        assert "Beacon Power" in boss.get("/inbox?show=all").text  # among those closed lately

        # Acts on accounts, all in one transaction each.
        due = (datetime.now(UTC) + timedelta(days=3)).date().isoformat()
        assert post(owner, "/accounts/A/acts/note", text="They <b>stay</b> \u202e") == 303
        assert post(owner, "/accounts/A/acts/promise", text="A call", due=due, by="") == 303
        assert post(owner, "/accounts/B/acts/note", text="not mine") == 404
        assert [len(company.rows(table)) for table in (ACCOUNT_NOTES, ACCOUNT_PROMISES)] == [1, 1]
        assert post(boss, "/portfolio/assign", account="D", owner="new@owners.test", reason="moved", query="") == 303
        assert post(owner, "/portfolio/mute", account="A1", days="7", reason="quiet", query="") == 303
        assert post(boss, "/portfolio/views", name="Risky", query="tier=C") == 303
        assert [len(company.rows(table)) for table in (ASSIGNMENTS, MUTES)] == [1, 1]
        assert "Risky" in boss.get("/portfolio?owner=new@owners.test").text
        acts = {(act.by, act.act) for act in read_acts(company.state)}
        assert acts >= {(OWNER, "acknowledge"), (BOSS, "close"), (OWNER, "note"), (OWNER, "mute"), (BOSS, "assign")}

        # What is kept is read anew as soon as another process has written: here, that she is signed out.
        assert owner.get("/inbox").status_code == 200
        with database.open(company.settings) as other, other.writing() as connection:
            connection.execute(sa.delete(CONSOLE_SESSIONS).where(CONSOLE_SESSIONS.c.address == OWNER))
        assert owner.get("/inbox").status_code == 303


def sign_everybody_out_and_fail(connection):
    connection.execute(sa.delete(CONSOLE_SESSIONS))
    raise GarrisonError("nobody to hand over to")


def test_a_link_works_once_and_an_act_that_fails_leaves_nothing(company):
    link = mail_links.create_link(company.state, BOSS, "/me", minutes=15, limited=False)
    with TestClient(create_app(replace(company.context, attempts={})), follow_redirects=False) as client:
        page = client.get(f"{mail_links.PATH}{link}").text
        given = {"csrf": page.split('name="csrf" value="')[1][:64]}
        statuses = [client.post(f"{mail_links.PATH}{link}", data=given).status_code for _ in range(2)]
        assert statuses[0] == 303
        assert statuses[1] != 303
    version = StateVersion(company.state)
    before = version.read()
    assert version.read() == before
    with pytest.raises(GarrisonError, match="hand over"), begin_act(company.state) as joined:
        sign_everybody_out_and_fail(joined.connection)
    assert len(company.rows(CONSOLE_SESSIONS)) == 1
    many = [f"A{n}" for n in range(5_000)] + ["B"]
    company.open_episode("B")
    with company.state.reading() as connection:
        own = database.is_among(company.state, EPISODES.c.account_id, many)
        assert connection.scalars(sa.select(EPISODES.c.account_id).where(own)).all() == ["B"]
    assert version.read() != before
