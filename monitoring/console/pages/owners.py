"""Show the manager's one sheet: how each owner's accounts were served, and kept against the risk given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from features.core.file_value import FileValue
from monitoring.console.charts.interval_chart import lay_out_intervals
from monitoring.console.context import ConsoleContext
from monitoring.console.sign_in.access import current_person, require
from monitoring.console.sign_in.person import Person, Role
from monitoring.reports.owner_sheet import locate_sheet
from monitoring.reports.stored_reports import read_report

PATH = "/owners"
# Owners on the page: it stays below 100 kB. The command prints all.
_MOST = 60


def routes(context: ConsoleContext) -> list[Route]:
    """Return the routes."""
    file = locate_sheet(context.settings)
    # The sheet of a company with 2,000 owners takes longer to parse than to show.
    sheet = FileValue(lambda: file if file.exists() else None, lambda found: read_report(found) if found else None)
    return [Route(PATH, _Owners(context, sheet).show, methods=["GET"])]


@dataclass(frozen=True)
class _Owners:
    """The handler."""

    context: ConsoleContext
    sheet: FileValue[dict[str, Any] | None]

    @require(Role.LEAD, Role.MANAGER, Role.ADMIN)
    async def show(self, request: Request) -> Response:
        return await self.context.make_page(request, "owners.html", self._read, current_person(request))

    def _read(self, person: Person) -> dict[str, Any]:
        sheet = self.sheet.get()
        if sheet is None:
            return {"sheet": None, "rows": [], "chart": None, "left_out": 0, "sees_all": True}
        rows, sees_all = sheet["owners"], person.has(Role.MANAGER, Role.ADMIN)
        if not sees_all:  # a lead sees the own people alone
            rows = [row for row in rows if person.address in {row["team"], row["name"]}]
            sheet = {**sheet, "teams": [row for row in sheet["teams"] if row["name"] == person.address]}
        told = [row for row in rows if row["risk"] and row["risk"]["ratio"] is not None]
        return {
            "sheet": sheet,
            "rows": rows[:_MOST],
            "left_out": max(0, len(rows) - _MOST),
            "chart": lay_out_intervals([(row["name"], row["risk"]) for row in told[:25]]),
            "sees_all": sees_all,
        }
