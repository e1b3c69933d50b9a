"""Sign in to the console, as a browser does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from features.state.database import Store
from monitoring.console import mail_links

if TYPE_CHECKING:
    from starlette.testclient import TestClient


def read_token(page: str) -> str:
    """Return the token of a page's forms."""
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
    assert found, page
    return found[1]


def sign_in(client: TestClient, store: Store, address: str, *, leads_to: str = "/me") -> str:
    """Sign an address in by a one-time link; return the token of its forms."""
    link = mail_links.create_link(store, address, leads_to, minutes=15, limited=False)
    path = f"{mail_links.PATH}{link}"
    answer = client.post(path, data={"csrf": read_token(client.get(path).text)}, follow_redirects=False)
    assert answer.status_code == 303, answer.text
    return read_token(client.get("/me").text)
