"""A company whose console is tested, and ways to sign in to it as a browser does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from features.core.timestamps import to_micros
from features.state import console_tables, database
from features.state.database import Store
from features.state.tables import ABSENCES, EPISODE_EVENTS, EPISODES, OUTBOX
from monitoring.console.accounts.account_index import AccountIndex
from monitoring.console.app import create_app
from monitoring.console.context import ConsoleContext
from monitoring.console.sign_in import mail_links
from tests.support.oidc_provider import serve_app
from tests.support.ports import find_free_port
from tests.support.scored_company import write_company, write_scores

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


CONSOLE = (
    console_tables.CONSOLE_SESSIONS,
    console_tables.CONSOLE_LINKS,
    console_tables.CONSOLE_SIGN_INS,
    console_tables.CONSOLE_CHOICES,
    console_tables.CONSOLE_ACTS,
)
# People in every role, beside the owners of accounts.
BINDING = """
[binding.teams]
service = "team@harbour.test"
[[binding.sponsors]]
tiers = ["A"]
address = "sponsor@harbour.test"
[binding.people."b@owners.test"]
deputy = "deputy@harbour.test"
lead = "lead@harbour.test"
[console.roles]
manager = ["boss@harbour.test"]
data_scientist = ["data@harbour.test", "data-team"]
admin = ["root@harbour.test"]
"""
_ACCOUNTS = (
    {"id": "A", "name": "Alder Works", "owner": "a@owners.test"},
    {"id": "A1", "name": "Alder North", "owner": "c@owners.test", "parent": "A"},
    {"id": "A11", "name": "Alder North East", "parent": "A1"},
    {"id": "B", "name": "Beacon Power", "owner": "b@owners.test"},
    {"id": "C", "name": "Cedar Labs", "owner": "c@owners.test"},
    {"id": "D", "name": "Dune Freight", "owner": "d@owners.test"},
)
_SCORES = (
    {"account_id": "A", "risk": 0.5, "before": 0.3, "value": 9_000.0, "at_risk": 4_500.0, "tier": "A"},
    {"account_id": "A1", "risk": 0.2, "before": 0.2, "value": 5_000.0, "at_risk": 1_000.0, "tier": "B"},
    {"account_id": "A11", "risk": 0.1, "before": 0.1, "value": 900.0, "at_risk": 90.0, "tier": "C"},
    {"account_id": "B", "risk": 0.4, "before": 0.1, "value": 7_000.0, "at_risk": 2_800.0, "tier": "A"},
    {"account_id": "C", "risk": 0.3, "before": 0.4, "value": 3_000.0, "at_risk": 900.0, "tier": "C"},
    {"account_id": "D", "risk": 0.6, "before": 0.5, "value": 2_000.0, "at_risk": 1_200.0, "tier": "C"},
)


class ConsoleCompany:
    """A company of six accounts with scores, people in every role, and its state database.

    Args:
        folder: Of all its files.
        accounts: In place of the six; the first has the scores of account A.
    """

    def __init__(self, folder: Path, accounts: Sequence[Mapping[str, Any]] = _ACCOUNTS, more: str = "") -> None:
        settings = write_company(folder, accounts, more=BINDING + more)
        own = {row["account_id"]: row for row in _SCORES}
        scores = [{**_SCORES[0], **own.get(a["id"], {}), "account_id": a["id"]} for a in accounts]
        write_scores(settings, scores)
        self.settings, self.folder = settings, folder
        self.state = database.open(settings)
        self.context = ConsoleContext(settings, self.state, None, AccountIndex.open(settings, self.state))

    def rows(self, table: sa.Table, *columns: str) -> list[tuple[Any, ...]]:
        """Return the rows of a table."""
        with self.state.reading() as connection:
            query = sa.select(*(table.c[c] for c in columns)) if columns else sa.select(table)
            return sorted((tuple(row) for row in connection.execute(query)), key=repr)

    def clear(self) -> None:
        """Forget sessions, links, choices, acts, messages and episodes."""
        with self.state.writing() as connection:
            for table in (*CONSOLE, EPISODE_EVENTS, OUTBOX, EPISODES, ABSENCES):
                connection.execute(sa.delete(table))

    def open_episode(self, account_id: str, *, owner: str | None = None, cause: str | None = None) -> str:
        """Open an episode on an account; returns its id."""
        now = to_micros(datetime.now(UTC))
        row = {
            "id": f"{account_id}-{cause or 'none'}-episode",
            "account_id": account_id,
            "kind": "churn",
            "horizon": 90,
            "state": "notified",
            "opened_as_of": now,
            "opened_score": 0.5,
            "peak_score": 0.5,
            "last_as_of": now,
            "last_score": 0.5,
            "value": 9_000.0,
            "expected": 100.0,
            "cause": cause,
            "owner": owner,
            "version": 1,
        }
        with self.state.writing() as connection:
            connection.execute(sa.insert(EPISODES), row)
        return str(row["id"])

    def close(self) -> None:
        """Close the state database."""
        self.state.close()


@contextmanager
def serve_console(context: ConsoleContext) -> Iterator[str]:
    """Serve a console on a free port; yields its address."""
    port = find_free_port()
    origin = f"http://127.0.0.1:{port}"
    with serve_app(create_app(replace(context, origin=origin, attempts={})), port):
        yield origin
