"""A company with an index of its accounts, its console, and browsers: real ones, and quick ones without script."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from starlette.testclient import TestClient

from features.settings.console import ConsoleSettings
from monitoring.console.account_index import AccountIndex
from monitoring.console.app import create_app
from monitoring.console.context import ConsoleContext
from tests.support.browser import find_chromium, open_browser
from tests.support.console import sign_in
from tests.support.oidc_provider import serve_app
from tests.support.ports import find_free_port

# Who has which role, beside the owners a to e of the accounts A to E.
ROLES = {
    "manager": ("boss@harbour.test",),
    "data_scientist": ("data@harbour.test", "data-team"),
    "admin": ("root@harbour.test",),
}


@pytest.fixture
def console_settings(company):
    """The company's settings with people in every role."""
    console = ConsoleSettings(roles=ROLES)
    company.settings = company.settings.model_copy(update={"console": console})
    return company.settings


@pytest.fixture
def context(company, console_settings):
    """What the console's process has."""
    return ConsoleContext(
        console_settings, company.state, None, AccountIndex.open(console_settings, company.state), None
    )


@pytest.fixture
def client(context) -> Iterator[TestClient]:
    """A browser that runs no script and follows no redirect."""
    with TestClient(create_app(context), follow_redirects=False) as made:
        yield made


@pytest.fixture
def enter(client, company):
    """Sign an address in, and return the token of its forms."""
    return lambda address: sign_in(client, company.state, address)


@contextmanager
def serve(context_without_origin: ConsoleContext) -> Iterator[str]:
    """Serve the console on a free port; yields its address."""
    port = find_free_port()
    origin = f"http://127.0.0.1:{port}"
    values = {name: getattr(context_without_origin, name) for name in ("settings", "store", "signer", "accounts")}
    with serve_app(create_app(ConsoleContext(**values, origin=origin)), port):
        yield origin


@pytest.fixture(scope="module")
def browser():
    """One Chromium for the tests of a file; they are skipped where there is none, but never in CI."""
    chromium = find_chromium()
    with open_browser(chromium) as opened:
        yield opened


def read_csrf(page: str) -> str:
    return re.search(r'name="csrf" value="([0-9a-f]{64})"', page)[1]
