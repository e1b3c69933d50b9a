"""The console in a real browser: both languages and themes, every width, by keyboard alone, without script."""

import csv
import json
import re

import pytest
from playwright.sync_api import Error
from starlette.routing import Mount

from features.state.console_tables import CONSOLE_ACTS
from features.state.tables import EPISODE_EVENTS, EPISODES
from monitoring.console.app import create_app
from monitoring.console.sign_in.access import get_roles
from monitoring.console.sign_in.person import Role
from monitoring.lifetime.notes import write_note
from monitoring.reports.owner_sheet import locate_sheet
from monitoring.reports.stored_reports import locate_reports
from tests.support.browser import find_violations, is_too_wide, open_page, sign_in_page
from tests.support.console import ConsoleCompany, serve_console
from tests.support.stored_reports import build_report, build_sheet

FOCUS = "document.activeElement.innerText"
MANAGER = "boss@harbour.test"


@pytest.fixture(scope="module")
def paths(shared_house):
    """Every page, filled with account A: a new page is among them by itself."""
    routes = [r for r in create_app(shared_house.context).routes if not isinstance(r, Mount) and "GET" in r.methods]
    episode = shared_house.open_episode("A", owner="a@owners.test", cause="service")
    shared_house.open_episode("B", owner="b@owners.test", cause="usage")
    known = {"account_id": "A", "episode": episode}
    found = ["/sign-in", "/nothing-here"]
    for route in routes:
        roles = get_roles(route.endpoint)
        if roles is None or Role.ADMIN not in roles or not set(route.param_convertors) <= set(known):
            continue
        found.append(re.sub(r"\{(\w+)(:\w+)?\}", lambda m: known[m[1]], route.path))
    return found


@pytest.fixture(scope="module")
def admin(browser, origin, shared_house):
    """A signed-in administrator, who sees every page."""
    return sign_in_page(open_page(browser), origin, shared_house.state, "root@harbour.test")


def is_page(page, address):
    """Open an address; return whether it is a page and no file, redirect or data."""
    try:
        answer = page.goto(address)
    except Error as error:
        if "Download" in str(error):
            return False
        raise
    return "text/html" in answer.headers["content-type"] and page.url.split("?")[0] == address


def test_every_page_is_accessible_in_both_languages_and_themes(admin, origin, paths):
    found, looked = [], 0
    for language in ("zh_Hans", "en"):
        admin.goto(f"{origin}/me")
        admin.select_option("#language", language)
        admin.locator("main form[action='/choices'] button").click()
        for path in paths:
            admin.emulate_media(color_scheme="light")
            if not is_page(admin, origin + path):
                continue
            looked += 1
            found += [f"{path} {language} light {finding}" for finding in find_violations(admin)]
            admin.emulate_media(color_scheme="dark")
            found += [f"{path} {language} dark {finding}" for finding in find_violations(admin, only_colours=True)]
    assert looked >= 6
    assert found == []


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_no_page_scrolls_sideways(admin, origin, paths, width):
    admin.set_viewport_size({"width": width, "height": 900})
    wide = [path for path in paths if is_page(admin, origin + path) and is_too_wide(admin)]
    admin.set_viewport_size({"width": 1280, "height": 900})
    assert wide == []


def test_pages_work_without_script(browser, origin, shared_house):
    page = open_page(browser, java_script_enabled=False)
    sign_in_page(page, origin, shared_house.state, MANAGER, leads_to="/portfolio")
    page.fill("#find", "beacon")
    page.press("#find", "Enter")
    assert page.locator("main tbody tr").count() >= 1
    assert "Beacon Power" in page.locator("main").inner_text()
    page.locator("header button[name='theme']:visible").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    page.context.close()


def test_keys_walk_open_find_and_explain(browser, origin, shared_house):
    page = open_page(browser)
    sign_in_page(page, origin, shared_house.state, MANAGER, leads_to="/portfolio")
    names = page.locator("[data-keys] .item a").all_inner_texts()
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.evaluate(FOCUS) == names[1]
    page.keyboard.press("k")
    assert page.evaluate(FOCUS) == names[0]
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "find"
    page.keyboard.type("jjj")  # in a field letters are letters
    assert page.input_value("#find") == "jjj"
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/accounts/*")
    assert page.troubles == []
    page.context.close()


def test_of_two_browsers_on_one_episode_the_second_is_told(browser, origin, shared_house):
    shared_house.clear()
    shared_house.open_episode("D", owner="d@owners.test", cause="service")
    pages = [open_page(browser), open_page(browser)]
    for page, address in zip(pages, ("d@owners.test", MANAGER), strict=True):
        sign_in_page(page, origin, shared_house.state, address, leads_to="/inbox?show=all")
    first, second = pages
    first.keyboard.press("j")
    first.keyboard.press("a")
    first.wait_for_url("**/inbox?*done=acknowledge*")
    second.keyboard.press("j")
    second.keyboard.press("s")
    second.locator("#inbox select[name='days']").first.press("Tab")
    second.keyboard.type("on holiday")
    second.keyboard.press("Enter")
    second.wait_for_url("**/snooze")
    said = second.locator("main").inner_text()
    assert "Nothing was changed" in said
    assert shared_house.rows(EPISODES, "state", "acknowledged_by") == [("acknowledged", "d@owners.test")]
    assert len(shared_house.rows(EPISODE_EVENTS)) == 1
    acts = [
        (act, by)
        for act, by, table in shared_house.rows(CONSOLE_ACTS, "act", "by", "table_name")
        if table == "episodes"
    ]
    assert acts == [("acknowledge", "d@owners.test")]
    for page in pages:
        page.context.close()


HOSTILE = (
    "<script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    "'\"><svg onload=window.hacked=1>",
    "</title></textarea></style><iframe srcdoc='<script>top.hacked=1</script>'>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:window.hacked=1",
    "\u202egnirts desrever\u202c",
    "مرحبا \u2067عكس\u2069 123",
    "x" * 10_000,
    "面" * 3_000,
    "a\u0301" * 2_000,
    "line\u2028break\u0007\u0085",
    "-->]]>&lt;b&gt;",
    "=HYPERLINK(1)",
)


TICKETS = """
[sources.tickets]
path = "tickets.csv"
[tables.tickets]
source = "tickets"
columns = { ticket_id = "ticket", account_id = "id", opened_at = "at", topic = "topic" }
"""


def write_hostile_company(folder):
    """Write a company of 10,000 hostile names; some with tickets of such topics, such notes, and an open episode."""
    accounts = [
        {
            "id": f"{n:05}",
            "name": f"{HOSTILE[n % len(HOSTILE)]} {n}",
            "owner": "a@owners.test",
            "region": HOSTILE[n % 5],
        }
        for n in range(10_000)
    ]
    with (folder / "tickets.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [(f"T{n}", f"{n:05}", "2024-12-20", HOSTILE[n]) for n in range(len(HOSTILE))]
        csv.writer(file).writerows([("ticket", "id", "at", "topic"), *rows])
    company = ConsoleCompany(folder, accounts, TICKETS)
    with company.state.writing() as connection:
        for n, text in enumerate(HOSTILE):
            write_note(connection, f"{n:05}", text, by="a@owners.test", key=f"{n:032x}")
    for n in range(len(HOSTILE)):
        company.open_episode(f"{n:05}", owner="a@owners.test", cause="usage")
    reports = locate_reports(company.settings)
    reports.mkdir(parents=True)
    (reports / "2024-12.json").write_text(json.dumps(build_report(HOSTILE)))
    locate_sheet(company.settings).write_text(json.dumps(build_sheet(HOSTILE)))
    return company


def test_ten_thousand_hostile_names_run_nothing_and_break_no_layout(browser, tmp_path):
    company = write_hostile_company(tmp_path)
    with serve_console(company.context) as origin:
        page = open_page(browser)
        sign_in_page(page, origin, company.state, MANAGER, leads_to="/portfolio")
        addresses = ["/portfolio", "/portfolio?order=name", "/portfolio?order=-name", "/portfolio?search=%3Cscript"]
        addresses += [f"/portfolio?search={n:05}" for n in range(0, len(HOSTILE), 5)]
        addresses += ["/report", "/owners", "/inbox?show=all", *(f"/accounts/{n:05}" for n in range(len(HOSTILE)))]
        page.set_viewport_size({"width": 360, "height": 900})
        for address in addresses:
            assert page.goto(origin + address).status in {200, 404}
            assert page.evaluate("typeof window.hacked") == "undefined", address
            assert page.locator("main iframe, main img, main script").count() == 0
            assert not is_too_wide(page), address
        page.goto(f"{origin}/portfolio")
        assert page.locator("tbody tr.item").count() >= 20
        for width in (360, 768, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            assert not is_too_wide(page), width
            tallest = page.evaluate("Math.max(...[...document.querySelectorAll('tr.item')].map(r => r.offsetHeight))")
            assert tallest < 420, width
        # What reads from right to left stays within its own name.
        assert page.evaluate("getComputedStyle(document.querySelector('tr.item td:last-child')).direction") == "ltr"
        assert [t for t in page.troubles if "404" not in t] == []
        page.context.close()
    company.close()
