"""Two companies in one installation, with the same people, and the same ids of accounts and episodes."""

from __future__ import annotations

import contextlib
from pathlib import Path

from starlette.testclient import TestClient

from monitoring.console.app import create_app
from monitoring.console.sign_in.access import get_roles
from tests.monitoring.console.test_access import NAMES, PEOPLE, fill, list_routes
from tests.support.console import ConsoleCompany, sign_in


def test_no_page_shows_the_other_company_and_its_session_opens_nothing(house: ConsoleCompany, tmp_path: Path) -> None:
    episodes = {account: house.open_episode(account) for account in NAMES}
    theirs = TestClient(create_app(house.context), follow_redirects=False)
    sign_in(theirs, house.state, PEOPLE["admin"])
    accounts = [{"id": i, "name": f"Birch {n}", "owner": "a@owners.test"} for n, i in enumerate(NAMES)]
    with contextlib.closing(ConsoleCompany(tmp_path, accounts)) as other:
        assert [other.open_episode(account) for account in NAMES] == list(episodes.values())
        app = create_app(other.context)
        own = TestClient(app, follow_redirects=False, raise_server_exceptions=False)
        sign_in(own, other.state, PEOPLE["admin"])
        stranger = TestClient(app, follow_redirects=False, cookies=theirs.cookies)
        shown, opened = "", []
        for route, method in list_routes(app):
            if method == "GET" and get_roles(route.endpoint) is not None:
                for account in NAMES:
                    path = fill(route, episodes, account)
                    shown += own.get(path).text
                    opened += [path] if stranger.get(path).status_code not in {303, 401} else []
    assert "Birch 1" in shown
    assert [name for name in NAMES.values() if name in shown] == []
    assert opened == []
