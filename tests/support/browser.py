"""A real browser for tests of pages: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from features.state.database import Store
from monitoring.console.sign_in import mail_links

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# What WCAG 2.2 AA asks, as far as a program can tell.
_RULES = {
    "resultTypes": ["violations"],
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]},
}


def find_chromium() -> str:
    """Return Chromium's program; skip the test where there is none, but never in CI."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("there is no Chromium: .ci/run brings one")
        pytest.skip("there is no Chromium on this machine (apt install chromium)")
    return program


@contextmanager
def open_browser(program: str) -> Iterator[Browser]:
    """Open a browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


def open_page(browser: Browser, *, width: int = 1280, height: int = 900, **options: Any) -> Page:
    """Open a page of a browser of its own, with no cookies of others; its errors fail the test at `check_page`."""
    context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce", **options)
    page = context.new_page()
    page.set_default_timeout(10_000)
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(f"script error: {error}"))
    page.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
    page.on("dialog", lambda dialog: (troubles.append(f"a dialog opened: {dialog.message}"), dialog.dismiss()))
    page.troubles = troubles  # type: ignore[attr-defined]  # what the page's own errors were
    return page


def sign_in_page(page: Page, origin: str, store: Store, address: str, *, leads_to: str = "/me") -> Page:
    """Sign an address in by a one-time link, as a person does."""
    link = mail_links.create_link(store, address, leads_to, minutes=15, limited=False)
    page.goto(f"{origin}{mail_links.PATH}{link}")
    page.locator("main form button").click()
    page.wait_for_load_state()
    return page


def find_violations(page: Page, *, only_colours: bool = False) -> list[str]:
    """Run axe-core on a page; returns each finding with the elements that it is about.

    Args:
        page: That is open.
        only_colours: Look at the contrast alone: nothing else depends on the theme.
    """
    from axe_playwright_python.sync_playwright import Axe

    rules = _RULES | {"runOnly": {"type": "rule", "values": ["color-contrast"]}} if only_colours else _RULES
    results = Axe().run(page, options=rules)
    return [
        f"{found['id']}: {found['help']} at {', '.join(str(node['target']) for node in found['nodes'][:5])}"
        for found in results.response["violations"]
    ]


def is_too_wide(page: Page) -> bool:
    """Return whether a page scrolls sideways as a whole."""
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth + 1"))
