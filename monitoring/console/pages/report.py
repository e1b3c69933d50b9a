"""Show the report of a month, quarter or year, and send it to its readers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from features.state.tables import OUTBOX
from monitoring.console.act_transaction import begin_act
from monitoring.console.audit import record_act
from monitoring.console.charts.course_chart import lay_out_course
from monitoring.console.context import ConsoleContext
from monitoring.console.sign_in.access import EVERYTHING, RowFilter, current_person, require
from monitoring.console.sign_in.person import Person, Role
from monitoring.reports import report_letter
from monitoring.reports.stored_reports import PERIOD, list_periods, locate_reports, read_report

PATH = "/report"
_SEES = (Role.LEAD, Role.MANAGER, Role.ADMIN)
_SENDS = (Role.MANAGER, Role.ADMIN)
_PERIODS = 12


def routes(context: ConsoleContext) -> list[Route]:
    """Return the routes."""
    page = _Report(context)
    return [
        Route(PATH, page.show, methods=["GET"]),
        Route(PATH + "/{period}/send", page.send, methods=["POST"]),
    ]


@dataclass(frozen=True)
class _Report:
    """The handlers."""

    context: ConsoleContext

    @require(*_SEES)
    async def show(self, request: Request) -> Response:
        period, person = request.query_params.get("period", ""), current_person(request)
        sent = request.query_params.get("sent", "")
        return await self.context.make_page(request, "report.html", self._read, person, period, sent=sent)

    @require(*_SENDS)
    async def send(self, request: Request) -> Response:
        period, person = request.path_params["period"], current_person(request)
        if not PERIOD.fullmatch(period) or period not in list_periods(self.context.settings):
            raise HTTPException(404)
        sent = await run_in_threadpool(self._send, person, period)
        query = {"period": period, "sent": "now" if sent.sent else "before"}
        return RedirectResponse(f"{PATH}?{urlencode(query)}", status_code=303)

    def _send(self, person: Person, period: str) -> report_letter.SentReport:
        with begin_act(self.context.store) as store:
            sent = report_letter.send_report(self.context.settings, store, period)
            record_act(store.connection, person, "send_report", OUTBOX.name, period, {"readers": list(sent.sent)})
        return sent

    def _read(self, person: Person, asked: str) -> dict[str, Any]:
        settings, periods = self.context.settings, list_periods(self.context.settings)
        if asked and asked not in periods:
            raise HTTPException(404)
        period = asked or (periods[0] if periods else "")
        report = read_report(locate_reports(settings) / f"{period}.json") if period else None
        rows = self.context.find_rows(person)
        if report is not None and rows != EVERYTHING:
            self._leave_visible(report, rows)
        course = report["breakdown"]["course"] if report else []
        return {
            "report": report,
            "period": period,
            "periods": periods[:_PERIODS],
            "readers": settings.reports.readers,
            "may_send": person.has(*_SENDS),
            "sees_all": rows == EVERYTHING,
            "course": lay_out_course([(p["as_of"], p["at_risk"]) for p in course]),
        }

    def _leave_visible(self, report: dict[str, Any], rows: RowFilter) -> None:
        """Leave only the accounts that a person sees, and only the sums: those are of the whole company."""
        index = self.context.accounts
        for listed in _iterate_lists(report):
            listed[:] = [row for row in listed if index.find_account(rows, row["account_id"]) is not None]
        report["breakdown"]["owners"] = []


def _iterate_lists(report: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """Yield every list of accounts in a report."""
    parts = report.get("parts") or {}
    groups = [*report["groups"].values(), *((parts.get("revenue") or {}).get("groups") or {}).values()]
    groups += [tier for tiers in (parts.get("by_tier") or {}).values() for tier in tiers]
    groups += [parts["promises"]] if parts.get("promises") else []
    for group in groups:
        yield group["top"]
