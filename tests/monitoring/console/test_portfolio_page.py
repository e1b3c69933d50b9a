"""The portfolio as people use it: orders, pages, filters, views, exports, and who may assign and mute what."""

import csv
import io

import openpyxl
import pytest

from features.state.console_tables import CONSOLE_ACTS
from features.state.portfolio_tables import ASSIGNMENTS, CONSOLE_VIEWS
from features.state.tables import MUTES
from monitoring.console.audit import read_acts

BOSS = "boss@harbour.test"


@pytest.fixture(autouse=True)
def forget(house):
    """Forget what other tests assigned, muted and saved."""
    with house.state.writing() as connection:
        for table in (ASSIGNMENTS, CONSOLE_VIEWS, MUTES):
            connection.execute(table.delete())
    house.context.accounts.refresh()


def find_rows(page):
    """Return the ids of a page's accounts, in its order."""
    return [part.partition('"')[0] for part in page.split('name="account" value="')[1:]]


def test_a_manager_sees_all_accounts_in_any_order(client, enter):
    enter(BOSS)
    assert find_rows(client.get("/portfolio").text) == ["A", "B", "D", "A1", "C", "A11"]
    assert find_rows(client.get("/portfolio?order=name").text) == ["A1", "A11", "A", "B", "C", "D"]
    assert find_rows(client.get("/portfolio?order=-risk&tier=C").text) == ["D", "C", "A11"]
    assert find_rows(client.get("/portfolio?search=alder&show=worse").text) == ["A"]
    assert find_rows(client.get("/portfolio?owner=none").text) == ["A11"]
    page = client.get("/portfolio?order=name").text
    assert 'aria-sort="ascending"><a href="?order=-name">' in page
    assert "No account is like that" in client.get("/portfolio?search=zzz").text
    assert client.get("/portfolio?order=luck").status_code == 409


def test_an_owner_sees_the_family_alone(client, enter):
    enter("a@owners.test")
    page = client.get("/portfolio").text
    assert set(find_rows(page)) == {"A", "A1", "A11"}
    assert "Beacon" not in page
    assert "/portfolio/assign" not in page


def test_a_data_scientist_sees_no_portfolio(client, enter):
    enter("data@harbour.test")
    assert client.get("/portfolio").status_code == 403
    assert client.get("/portfolio/export.csv").status_code == 403


def test_who_needs_somebody_follows_episodes(client, enter, house):
    enter(BOSS)
    assert "None of 6 accounts needs anybody now" in client.get("/portfolio").text
    house.open_episode("B", owner="b@owners.test")
    page = client.get("/portfolio?show=needs").text
    assert find_rows(page) == ["B"]
    assert "1 of 6 accounts need somebody" in page


def test_views_are_saved_by_person(client, enter):
    token = enter(BOSS)
    given = {"csrf": token, "name": "Risky <C>", "query": "tier=C&order=-risk&after=x&evil=1"}
    assert client.post("/portfolio/views", data=given).status_code == 303
    page = client.get("/portfolio").text
    assert '<a href="?tier=C&amp;order=-risk">★ <bdi>Risky &lt;C&gt;</bdi>' in page
    client.cookies.clear()
    enter("a@owners.test")
    assert "Risky" not in client.get("/portfolio").text
    client.cookies.clear()
    token = enter(BOSS)
    client.post("/portfolio/views/remove", data={"csrf": token, "name": "Risky <C>", "query": ""})
    assert "Risky" not in client.get("/portfolio").text


def test_exports_hold_the_filtered_rows(client, enter):
    enter(BOSS)
    rows = list(csv.DictReader(io.StringIO(client.get("/portfolio/export.csv?tier=C&order=name").text)))
    assert [row["account_id"] for row in rows] == ["A11", "C", "D"]
    assert rows[2]["value_at_risk"] == "1200.0"
    sheet = openpyxl.load_workbook(io.BytesIO(client.get("/portfolio/export.xlsx?tier=C&order=name").content)).active
    assert [row[0].value for row in sheet.iter_rows(min_row=2)] == ["A11", "C", "D"]
    assert client.get("/portfolio/export.exe").status_code == 404
    client.cookies.clear()
    enter("b@owners.test")
    assert "Alder" not in client.get("/portfolio/export.csv?show=all").text


def test_a_manager_assigns_with_a_reason(client, enter, house):
    token = enter(BOSS)
    given = {"csrf": token, "account": ["B", "D"], "owner": "New@owners.test", "reason": "", "query": "tier=A"}
    assert client.post("/portfolio/assign", data=given).status_code == 409
    assert house.rows(ASSIGNMENTS) == []
    answer = client.post("/portfolio/assign", data=given | {"reason": "moved"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/portfolio?tier=A")
    assert set(find_rows(client.get("/portfolio?owner=new@owners.test").text)) == {"B", "D"}
    acts = [act for act in read_acts(house.state) if act.act == "assign"]
    assert {(a.by, a.row, a.details["owner"]) for a in acts} == {(BOSS, row, "New@owners.test") for row in "BD"}
    client.post("/portfolio/assign", data={"csrf": token, "account": "B", "withdraw": "yes", "reason": "back"})
    assert find_rows(client.get("/portfolio?owner=b@owners.test").text) == ["B"]


def test_nobody_acts_on_what_they_do_not_see(client, enter, house):
    token = enter("a@owners.test")
    given = {"csrf": token, "account": ["A", "B"], "reason": "quiet", "days": "7"}
    assert client.post("/portfolio/mute", data=given).status_code == 404
    assert client.post("/portfolio/assign", data=given | {"owner": "a@owners.test"}).status_code == 403
    assert client.post("/portfolio/mute", data=given | {"csrf": "x"}).status_code == 403
    assert client.post("/portfolio/mute", data={"csrf": token, "reason": "x"}).status_code == 422
    assert house.rows(MUTES) == []
    assert client.post("/portfolio/mute", data=given | {"account": "A1"}).status_code == 303
    assert house.rows(MUTES, "account_id", "by", "reason") == [("A1", "a@owners.test", "quiet")]
    assert [row[0] for row in house.rows(CONSOLE_ACTS, "act")].count("mute") == 1
