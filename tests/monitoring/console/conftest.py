"""A company with an index of its accounts, its console, and browsers: real ones, and quick ones without script."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from monitoring.console.app import create_app
from tests.support.browser import find_chromium, open_browser
from tests.support.console import ConsoleCompany, serve_console, sign_in


@pytest.fixture(scope="module")
def shared_house(tmp_path_factory):
    """A company of six accounts, for all tests of a file."""
    made = ConsoleCompany(tmp_path_factory.mktemp("house"))
    yield made
    made.close()


@pytest.fixture
def house(shared_house):
    """The same, without what earlier tests left in its state database."""
    shared_house.clear()
    return shared_house


@pytest.fixture
def client(house) -> Iterator[TestClient]:
    """A browser that runs no script and follows no redirect."""
    with TestClient(create_app(replace(house.context, attempts={})), follow_redirects=False) as made:
        yield made


@pytest.fixture
def enter(client, house):
    """Sign an address in, and return the token of its forms."""
    return lambda address: sign_in(client, house.state, address)


@pytest.fixture(scope="module")
def origin(shared_house):
    """The address of the shared company's console."""
    with serve_console(shared_house.context) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    """One Chromium for the tests of a file; they are skipped where there is none, but never in CI."""
    with open_browser(find_chromium()) as opened:
        yield opened
