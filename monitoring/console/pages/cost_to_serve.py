"""Show what serving costs: quarters of accounts, teams, topics, accounts, and the cheapest path to satisfaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from features.core.file_value import FileValue
from features.settings import Settings
from monitoring.console.context import ConsoleContext
from monitoring.console.sign_in.access import EVERYTHING, RowFilter, current_person, require
from monitoring.console.sign_in.person import Person, Role
from monitoring.cost_to_serve.account_costs import PLAYS
from monitoring.cost_to_serve.cost_report import read_kept
from monitoring.cost_to_serve.cost_sheet import list_accounts, locate_costs, read_accounts
from monitoring.cost_to_serve.paths import ACTION_WORDS
from serving.scoring.account_order import Places

if TYPE_CHECKING:
    from monitoring.console.accounts.account_snapshot import AccountSnapshot

PATH = "/costs"
_ACCOUNTS, _TOPICS, _PATHS = 25, 12, 24
FLAGGED = "flagged"


def routes(context: ConsoleContext) -> list[Route]:
    """Return the routes."""
    return [Route(PATH, _Costs(context, _CostTable(context.settings)).show, methods=["GET"])]


@dataclass(frozen=True)
class _Costs:
    """The handler."""

    context: ConsoleContext
    table: _CostTable

    @require(Role.OWNER, Role.LEAD, Role.MANAGER, Role.ADMIN)
    async def show(self, request: Request) -> Response:
        asked = request.query_params.get("play", "")
        chosen = asked if asked in {FLAGGED, *PLAYS.values()} else ""
        return await self.context.make_page(request, "costs.html", self._read, current_person(request), chosen)

    def _read(self, person: Person, chosen: str) -> dict[str, Any]:
        settings, rows = self.context.settings, self.context.find_rows(person)
        sheet, paths = read_kept(settings, "costs"), read_kept(settings, "paths")
        accounts = self.table.read(self.context.accounts.take_snapshot(), rows) if sheet else None
        if sheet is None or accounts is None:
            return {"sheet": None}
        play = chosen if chosen != FLAGGED else None
        listed = list_accounts(accounts, play=play or None, is_flagged=chosen == FLAGGED, limit=_ACCOUNTS)
        flagged = int(accounts["is_flagged"].sum())
        names = self.context.accounts.find_accounts(rows, [row["account_id"] for row in listed])
        quarters = _sum_quarters(accounts)
        total = next((q["accounts"] for q in quarters if q["play"] == play), len(accounts))
        return {
            "sheet": sheet,
            "sees_all": rows == EVERYTHING,
            "chosen": chosen,
            "accounts": [
                {**row, "name": names[a].name if (a := row["account_id"]) in names else None} for row in listed
            ],
            "total": flagged if chosen == FLAGGED else total,
            "flagged": flagged,
            "sums": {c: float(accounts[c].sum()) for c in ("cost_365", "revenue_365", "net_365")},
            "quarters": quarters,
            "topics": [row for row in sheet["topics"] if row["name"]][:_TOPICS],
            "actions": ACTION_WORDS,
            "paths": paths and {**paths, "topics": paths["topics"][:_PATHS]},
        }


class _CostTable:
    """The accounts of the last sheet, in memory until another one is made.

    Args:
        settings: The company's.
    """

    def __init__(self, settings: Settings) -> None:
        file = locate_costs(settings) / "accounts.parquet"
        self._sheet = FileValue(lambda: file if file.exists() else None, lambda _: _read_sheet(settings))
        self._of: tuple[pd.DataFrame, AccountSnapshot, Places] | None = None

    def read(self, snapshot: AccountSnapshot, rows: RowFilter) -> pd.DataFrame | None:
        """Return the accounts that a reader sees, by id, the costliest first; None before the first sheet."""
        accounts = self._sheet.get()
        if accounts is None or rows == EVERYTHING:  # sums of all are for those who see all
            return accounts
        of = self._of
        if of is None or of[0] is not accounts or of[1] is not snapshot:
            self._of = of = accounts, snapshot, snapshot.find_places(tuple(accounts.index))
        places = of[2]
        return accounts[snapshot.read_visible(rows)[places] & (places >= 0)]


def _read_sheet(settings: Settings) -> pd.DataFrame | None:
    accounts = read_accounts(settings)
    return None if accounts is None else accounts.astype({"play": "category"})


def _sum_quarters(accounts: pd.DataFrame) -> list[dict[str, Any]]:
    """Sum the accounts of each quarter."""
    groups = accounts.groupby("play", observed=True)
    counts, sums = groups.size(), groups[["revenue_365", "cost_365"]].sum()
    return [
        {
            "play": play,
            "is_valuable": place[0],
            "is_costly": place[1],
            "accounts": int(counts.get(play, 0)),
            "revenue": float(sums["revenue_365"].get(play, 0.0)),
            "cost": float(sums["cost_365"].get(play, 0.0)),
        }
        for place, play in PLAYS.items()
    ]
