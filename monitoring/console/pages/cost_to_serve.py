"""Show what serving costs: quarters of accounts, teams, topics, accounts, and the cheapest path to satisfaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from monitoring.console.context import ConsoleContext
from monitoring.console.sign_in.access import EVERYTHING, current_person, require
from monitoring.console.sign_in.person import Person, Role
from monitoring.cost_to_serve.account_costs import PLAYS
from monitoring.cost_to_serve.cost_report import read_kept
from monitoring.cost_to_serve.cost_sheet import list_accounts, read_accounts

PATH = "/costs"
_ACCOUNTS, _TOPICS, _PATHS = 25, 12, 24
FLAGGED = "flagged"


def routes(context: ConsoleContext) -> list[Route]:
    """Return the routes."""
    return [Route(PATH, _Costs(context).show, methods=["GET"])]


@dataclass(frozen=True)
class _Costs:
    """The handler."""

    context: ConsoleContext

    @require(Role.OWNER, Role.LEAD, Role.MANAGER, Role.ADMIN)
    async def show(self, request: Request) -> Response:
        asked = request.query_params.get("play", "")
        chosen = asked if asked in {FLAGGED, *PLAYS.values()} else ""
        values = await run_in_threadpool(self._read, current_person(request), chosen)
        return self.context.render(request, "costs.html", **values)

    def _read(self, person: Person, chosen: str) -> dict[str, Any]:
        sheet, paths = read_kept(self.context.settings, "costs"), read_kept(self.context.settings, "paths")
        accounts = read_accounts(self.context.settings) if sheet else None
        if sheet is None or accounts is None:
            return {"sheet": None}
        rows = self.context.find_rows(person)
        sees_all = rows == EVERYTHING
        if not sees_all:  # sums are of the accounts that the person sees; those of teams are for managers
            visible = self.context.accounts.find_accounts(rows, accounts.index.tolist())
            accounts = accounts[accounts.index.isin(list(visible))]
        play = chosen if chosen != FLAGGED else None
        listed = list_accounts(accounts, play=play or None, is_flagged=chosen == FLAGGED, limit=_ACCOUNTS)
        shown = accounts[accounts["is_flagged"]] if chosen == FLAGGED else accounts
        total = len(shown[shown["play"] == play]) if play else len(shown)
        names = self.context.accounts.find_accounts(rows, [row["account_id"] for row in listed])
        return {
            "sheet": sheet,
            "sees_all": sees_all,
            "chosen": chosen,
            "accounts": [
                {**row, "name": names[a].name if (a := row["account_id"]) in names else None} for row in listed
            ],
            "total": total,
            "flagged": int(accounts["is_flagged"].sum()),
            "sums": {c: float(accounts[c].sum()) for c in ("cost_365", "revenue_365", "net_365")},
            "quarters": [_sum_quarter(accounts, place, play) for place, play in PLAYS.items()],
            "topics": [row for row in sheet["topics"] if row["name"]][:_TOPICS],
            "paths": paths and {**paths, "topics": paths["topics"][:_PATHS]},
        }


def _sum_quarter(accounts: pd.DataFrame, place: tuple[bool, bool], play: str) -> dict[str, Any]:
    rows = accounts[accounts["play"] == play]
    sums = {"revenue": float(rows["revenue_365"].sum()), "cost": float(rows["cost_365"].sum())}
    return {"play": play, "is_valuable": place[0], "is_costly": place[1], "accounts": len(rows), **sums}
