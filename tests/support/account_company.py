"""A company whose accounts have all that a lifetime file shows: tickets, touches, terms, promises, family, merge."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from features.settings import Settings
from features.settings.load import load_settings
from features.state import database
from features.state.database import Store
from monitoring.lifetime.account_file import AccountFiles
from serving.batch.run import score_accounts
from tests.support import night_company
from tests.support.night_company import END, START, write_table

AS_OFS = (datetime(2025, 12, 1, tzinfo=UTC), END)
# Its full file; its child; merged into it; without a single event; left; created after the scores.
FULL, CHILD, MERGED, EMPTY, GONE, YOUNG = "A-000", "A-001", "A-100", "A-101", "A-102", "A-103"
_TABLES = """
[tables.tickets]
source = "tickets"
columns = { ticket_id = "id", account_id = "account_id", opened_at = "opened_at", known_at = "known_at", \
resolved_at = "resolved_at", priority = "priority", topic = "topic" }
[tables.touches]
source = "touches"
columns = { account_id = "account_id", touched_at = "touched_at", kind = "kind" }
[tables.promises]
source = "promises"
columns = { account_id = "account_id", made_at = "made_at", due = "due", by = "by", text = "text", kept_at = "kept_at" }
[sources.tickets]
path = "tickets.csv"
[sources.touches]
path = "touches.csv"
[sources.promises]
path = "promises.csv"
[console.roles]
manager = ["boss@harbour.test"]
"""


class AccountCompany:
    """The company, scored at two instants.

    Args:
        folder: Of all its files.
    """

    def __init__(self, folder: Path) -> None:
        made = night_company.write_company(folder, port=2525)
        _write_tables(folder)
        text = made.config.read_text(encoding="utf-8")
        text = text.replace(
            'seats = "seats"', 'seats = "seats", parent_id = "parent", merged_into = "into", merged_at = "at"'
        )
        text = text.replace('count = "count"', 'count = "count", feature = "feature"')
        text = text.replace(
            'amount = "amount"',
            'amount = "amount", product = "product", term_starts_at = "starts", term_ends_at = "ends"',
        )
        made.config.write_text(text + _TABLES, encoding="utf-8")
        self.config = made.config
        self.settings: Settings = load_settings(made.config)
        self.state: Store = database.open(self.settings)
        for as_of in AS_OFS:
            score_accounts(self.settings, None, as_of=as_of)
        self.files = AccountFiles(self.settings, self.state)

    def close(self) -> None:
        """Close the state database and the tables."""
        self.files.close()
        self.state.close()


def _write_tables(folder: Path) -> None:
    tables = night_company._draw_tables()
    for row in tables["accounts"]:
        row |= {"parent": FULL if row["account_id"] == CHILD else "", "into": "", "at": ""}
    more = {"owner_email": "o1@harbour.test", "seats": 5, "parent": "", "into": "", "at": ""}
    for account, name, created in (
        (MERGED, "Old Boatyard", START),
        (EMPTY, "Quiet Quay", START),
        (GONE, "Lost Harbour", START),
        (YOUNG, "Tomorrow Ltd", END + timedelta(days=1)),
    ):
        tables["accounts"].append({"account_id": account, "created_at": created.isoformat(), "name": name, **more})
    tables["accounts"][-4] |= {"into": FULL, "at": "2025-06-01T00:00:00+00:00"}
    for n, row in enumerate(tables["usage"]):
        row["feature"] = "reports" if row["account_id"] == FULL or n % 2 else "export"
    for row in tables["purchases"]:
        row |= {"product": "berth", "starts": "", "ends": ""}
    tables["purchases"] += [
        _term(FULL, "2025-03-01", "2026-03-01", 1_200),
        _term(GONE, "2025-01-02", "2025-05-01", 300),
    ]
    tables["tickets"] = list(_draw_tickets())
    tables["touches"] = [{"account_id": FULL, "touched_at": "2025-11-20T09:00:00+00:00", "kind": "call"}]
    promise = {
        "account_id": FULL,
        "made_at": "2025-11-01",
        "due": "2025-12-05",
        "by": "Ann",
        "text": "Answer on export",
    }
    tables["promises"] = [
        {**promise, "kept_at": ""},
        {**promise, "due": "2025-11-20", "text": "Second training", "kept_at": "2025-11-10"},
    ]
    for name, rows in tables.items():
        write_table(folder / f"{name}.csv", rows)


def _term(account: str, starts: str, ends: str, amount: int) -> dict[str, Any]:
    return {
        "account_id": account,
        "purchased_at": f"{starts}T00:00:00+00:00",
        "amount": amount,
        "product": "moorings",
        "starts": starts,
        "ends": ends,
    }


def _draw_tickets() -> Any:
    """Yield thirty tickets of one instant, and one that was known five days later and stands open."""
    ticket = {"account_id": FULL, "priority": "normal", "topic": "billing"}
    for n in range(30):
        at = "2025-10-01T10:00:00+00:00"
        yield {"id": f"T{n:02}", **ticket, "opened_at": at, "known_at": at, "resolved_at": "2025-10-02T10:00:00+00:00"}
    late = {"opened_at": "2025-11-16T08:00:00+00:00", "known_at": "2025-11-21T08:00:00+00:00", "resolved_at": ""}
    yield {"id": "late", **ticket, "priority": "urgent", "topic": "export", **late}
