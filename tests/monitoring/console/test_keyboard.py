"""Ten tasks of an owner, a manager and a data scientist, done by keyboard alone."""

import pytest

from features.state.console_tables import CONSOLE_CHOICES, CONSOLE_SESSIONS
from features.state.tables import EPISODES
from monitoring.console.sign_in import mail_links
from tests.support.browser import open_page, sign_in_page


class Keyboard:
    """A person who has no mouse."""

    def __init__(self, page):
        self.page = page

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def go_to(self, selector, text=""):
        """Press Tab until an element is reached; it must show that it is."""
        for _ in range(150):
            self.page.keyboard.press("Tab")
            # Of several elements with this text any will do.
            script = "([s, t]) => { const e = document.activeElement; return e.matches(s) && e.innerText.includes(t); }"
            if self.page.evaluate(script, [selector, text]):
                outline = self.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert outline != "none", selector
                return
        pytest.fail(f"no Tab leads to {selector} {text}")

    def follow(self, selector, text=""):
        """Go to an element and press Enter; waits for the page that comes."""
        self.go_to(selector, text)
        with self.page.expect_navigation():
            self.page.keyboard.press("Enter")

    def read(self):
        return self.page.locator("main").inner_text()


@pytest.fixture
def open_as(browser, origin, shared_house):
    """Open a page as somebody; what it was about is forgotten afterwards."""
    shared_house.clear()
    opened = []

    def open_it(address, path):
        page = open_page(browser)
        opened.append(page)
        return Keyboard(sign_in_page(page, origin, shared_house.state, address, leads_to=path))

    yield open_it
    for page in opened:
        assert page.troubles == []
        page.context.close()


def test_an_owner_signs_in_acknowledges_snoozes_opens_an_account_and_writes_a_note(browser, origin, shared_house):
    shared_house.clear()
    shared_house.open_episode("A", owner="a@owners.test", cause="service")
    shared_house.open_episode("A1", owner="a@owners.test", cause="usage")
    # 1. sign in by a link
    page = open_page(browser)
    owner = Keyboard(page)
    link = mail_links.create_link(shared_house.state, "a@owners.test", "/inbox", minutes=15)
    page.goto(f"{origin}{mail_links.PATH}{link}")
    owner.follow("main form button")
    assert shared_house.rows(CONSOLE_SESSIONS, "address") == [("a@owners.test",)]
    # 2. acknowledge the first of the inbox
    owner.press("j")
    with page.expect_navigation():
        owner.press("a")
    assert [s for (s,) in shared_house.rows(EPISODES, "state")].count("acknowledged") == 1
    # 3. let the other rest
    page.goto(f"{origin}/inbox")
    waiting = page.locator("#inbox .item").filter(has=page.locator("[data-key=a]")).first
    waiting.locator("a").first.focus()
    owner.press("s")
    owner.follow("form[action$='/snooze'] button")
    assert [s for (s,) in shared_house.rows(EPISODES, "state")].count("snoozed") == 1
    # 4. open an account from the portfolio
    page.goto(f"{origin}/portfolio")
    owner.press("j")
    with page.expect_navigation():
        owner.press("Enter")
    assert "/accounts/" in page.url
    # 5. write down what was learned
    owner.go_to("#note-text")
    page.keyboard.type("They want invoices in March.")
    owner.follow("form button:not([name])", "Keep")
    assert "They want invoices in March." in owner.read()
    assert page.troubles == []
    page.context.close()


def test_a_manager_sorts_filters_finds_and_chooses(open_as, shared_house):
    # 6. sort the portfolio by another column
    manager = open_as("boss@harbour.test", "/portfolio")
    manager.go_to("th a", "Change")
    manager.press("Enter")
    manager.page.wait_for_selector("th[aria-sort] >> text=Change")
    # 7. show what gets worse
    manager.page.goto(manager.page.url.split("?")[0])
    manager.follow(".chips a", "Getting worse")
    assert manager.page.locator("tr.item").count() == 3
    # 8. find an account
    manager.press("/")
    manager.page.keyboard.type("cedar")
    with manager.page.expect_navigation():
        manager.press("Enter")
    assert "Cedar Labs" in manager.read()
    # 9. read Chinese from now on
    manager.follow("header button[name='language']")
    assert manager.page.locator("html").get_attribute("lang") == "zh-Hans"
    assert shared_house.rows(CONSOLE_CHOICES, "language") == [("zh_Hans",)]


def test_a_data_scientist_reaches_the_models(open_as):
    # 10. from the first page to the models
    reader = open_as("data@harbour.test", "/")
    reader.go_to("nav.pages a[href='/models']")
    reader.press("Enter")
    reader.page.wait_for_url("**/models")
