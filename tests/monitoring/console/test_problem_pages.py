"""Pages of problems and costs: search, acts that are kept once and audited, and each reader's own accounts alone."""

import json

import pandas as pd
import pytest
from starlette.testclient import TestClient

from features.core.timestamps import DAY
from features.state.console_tables import CONSOLE_ACTS
from monitoring.console.app import create_app
from monitoring.cost_to_serve.cost_sheet import locate_costs
from monitoring.lifetime.submitted_forms import make_key
from monitoring.problems import library, problem_acts
from monitoring.problems.problem_file import count_now
from monitoring.problems.ticket_index import index_tickets
from monitoring.problems.ticket_texts import TicketText
from tests.support.console import ConsoleCompany, sign_in

BOSS, OWNER = "boss@harbour.test", "d@owners.test"
TEXTS = ("Login fails with error 403", "登录失败", "Invoice shows the wrong amount")


@pytest.fixture(scope="module")
def company(tmp_path_factory):
    made = ConsoleCompany(tmp_path_factory.mktemp("problems"))
    rows = [(n, ("A", "D")[n % 2], TEXTS[n % 3]) for n in range(24)]
    index_tickets(
        made.state, [TicketText(f"T{n}", a, n * DAY, (n + 1) * DAY, False, text, text) for n, a, text in rows]
    )
    with made.state.writing() as connection:
        for name, is_mine in (("Cannot sign in", lambda n: n % 3 < 2), ("Wrong invoice", lambda n: n % 3 == 2)):
            problem = problem_acts.make_problem(connection, name, by="ann")
            problem_acts.link_tickets(connection, problem, [f"T{n}" for n in range(24) if is_mine(n)], by="ann")
    count_now(made.settings, made.state)
    yield made
    made.close()


@pytest.fixture
def client(company):
    with TestClient(create_app(company.context), follow_redirects=False) as made:
        yield made


def find(company, name):
    with company.state.reading() as connection:
        return library.find_problem(connection, name)


def test_a_search_shows_what_worked_and_an_owner_sees_the_tickets_of_own_accounts_alone(company, client):
    sign_in(client, company.state, BOSS)
    page = client.get("/problems", params={"q": "登录"}).text
    assert "Cannot sign in" in page
    assert "登录失败" in page
    assert "/accounts/A" in page
    client.cookies.clear()
    sign_in(client, company.state, OWNER)
    page = client.get("/problems", params={"q": "登录"}).text
    assert "/accounts/D" in page
    assert "/accounts/A" not in page
    answer = client.get("/v1/problems", params={"text": "login error"}).json()
    assert answer["problems"][0]["problem"]["name"] == "Cannot sign in"
    assert {ticket["account_id"] for ticket in answer["tickets"]} == {"D"}
    assert client.get("/v1/problems", params={"ticket": "T1"}).json()["problems"]
    assert client.get("/v1/problems", params={"ticket": "T0"}).status_code == 404  # of an account of others
    assert client.get("/v1/accounts/A/problems").status_code == 404
    assert client.get("/v1/accounts/D/problems").json() == {"tickets": []}


def test_an_act_is_done_once_and_audited_and_a_page_that_is_too_old_changes_nothing(company, client):
    csrf, problem = sign_in(client, company.state, OWNER), find(company, "Wrong invoice")
    path = f"/problems/{problem.id}"
    form = {"csrf": csrf, "form": make_key(), "version": problem.version, "text_en": "Renew it", "text_zh_Hans": "续期"}
    for _ in range(2):
        assert client.post(f"{path}/fix", data=form).status_code == 303
    with company.state.reading() as connection:
        assert len(library.read_fixes(connection, [problem.id])[problem.id]) == 1
    assert "Renew it" in client.get(path).text
    acts = [row for row in company.rows(CONSOLE_ACTS, "act", "by") if row[0].endswith("_problem")]
    assert acts == [("fix_problem", OWNER)]
    old = {"csrf": csrf, "form": make_key(), "version": problem.version, "name": "Mine"}
    refused = client.post(f"{path}/change", data=old)
    assert (refused.status_code, find(company, problem.id).name) == (409, "Wrong invoice")
    assert "has changed since you saw it" in refused.text
    named = old | {"form": make_key(), "version": find(company, problem.id).version, "name": "<b>Invoice</b>"}
    assert client.post(f"{path}/change", data=named).status_code == 303
    assert "&lt;b&gt;Invoice" in client.get(path).text
    made = client.post("/problems", data={"csrf": csrf, "form": make_key(), "name": "Something new"})
    assert client.get(made.headers["location"]).status_code == 200
    merged = {"csrf": csrf, "form": make_key(), "version": 1, "into": problem.id}
    assert client.post(made.headers["location"].partition("?")[0] + "/merge", data=merged).status_code == 303
    assert client.post(f"{path}/explode", data=form).status_code == 404
    assert client.get("/problems/P-none").status_code == 404


def test_costs_are_of_the_accounts_that_a_reader_sees(company, client):
    sign_in(client, company.state, BOSS)
    assert "No costs yet" in client.get("/costs").text
    folder = locate_costs(company.settings)
    folder.mkdir(parents=True)
    counted = {"tickets": 5.0, "hours": 3.0, "cost_30": 9.0, "cost_90": 40.0, "error_365": 0.0, "escalations": 1.0}
    money = {"touches": 0.0, "revenue_365": 900.0, "net_365": 100.0, "share": 0.9, "is_flagged": True}
    rows = {
        a: counted | money | {"cost_365": c, "play": "let go politely"} for a, c in (("A", 4_321.0), ("D", 1_234.0))
    }
    pd.DataFrame.from_dict(rows, orient="index").rename_axis("account_id").to_parquet(folder / "accounts.parquet")
    window = {"tickets": 10, "hours": 6.0, "cost": 5_555.0, "error": 0.0, "measured": 1.0, "escalated": 2}
    sums = [window | {"name": name} for name in ("30", "90", "365")]
    sheet = {"as_of": "2025-01-01T00:00:00+00:00", "currency": "EUR", "revenue": 1.0, "flagged": 2, "flag_share": 0.3}
    sheet |= {"has_margin": False, "windows": sums, "teams": [window | {"name": "support"}], "topics": [], "notes": []}
    (folder / "costs.json").write_text(json.dumps(sheet))
    page = client.get("/costs").text
    for said in ("Alder Works", "Dune Freight", "5,555", "support", "let go politely"):
        assert said in page, said
    client.cookies.clear()
    sign_in(client, company.state, OWNER)
    page = client.get("/costs", params={"play": "flagged"}).text
    assert "Dune Freight" in page
    for hidden in ("Alder Works", "5,555", "support"):
        assert hidden not in page, hidden
