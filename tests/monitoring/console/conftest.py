"""A company with an index of its accounts, its console, and browsers: real ones, and quick ones without script."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from monitoring.console.app import create_app
from monitoring.console.context import ConsoleContext
from tests.support.browser import find_chromium, open_browser
from tests.support.console import ConsoleCompany, sign_in
from tests.support.oidc_provider import serve_app
from tests.support.ports import find_free_port


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


@contextmanager
def serve(context: ConsoleContext) -> Iterator[str]:
    """Serve a console on a free port; yields its address."""
    port = find_free_port()
    origin = f"http://127.0.0.1:{port}"
    with serve_app(create_app(replace(context, origin=origin, attempts={})), port):
        yield origin


@pytest.fixture(scope="module")
def origin(shared_house):
    """The address of the shared company's console."""
    with serve(shared_house.context) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    """One Chromium for the tests of a file; they are skipped where there is none, but never in CI."""
    with open_browser(find_chromium()) as opened:
        yield opened
