"""Show accounts by the newest scores in any order, with sums, search, filters and saved views; assign, mute, export."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from features.definitions.plays import PLAYS
from features.state.portfolio_tables import ASSIGNMENTS, CONSOLE_VIEWS
from features.state.tables import MUTES
from monitoring.alerts import mutes
from monitoring.binding import assignments
from monitoring.console.accounts import saved_views
from monitoring.console.accounts.account_export import remove_export, write_accounts
from monitoring.console.accounts.portfolio_view import COLUMNS, FILTERS, NEEDS_ME, PortfolioView
from monitoring.console.act_transaction import begin_act
from monitoring.console.audit import record_act
from monitoring.console.context import ConsoleContext
from monitoring.console.sign_in.access import EVERYTHING, RowFilter, current_person, require
from monitoring.console.sign_in.person import Person, Role

PATH = "/portfolio"
_SEES = (Role.OWNER, Role.LEAD, Role.MANAGER, Role.ADMIN)
_ASSIGNS = (Role.LEAD, Role.MANAGER, Role.ADMIN)
_PAGE, _OWNERS_NAMED, _OWNERS_CHOSEN, _MOST_CHOSEN = 30, 10, 60, 100
_MUTE_DAYS = (7, 14, 30, 90)
_EXPORTS = {"csv": "text/csv", "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}


def routes(context: ConsoleContext) -> list[Route]:
    """Return the routes."""
    page = _Portfolio(context)
    return [
        Route(PATH, page.show, methods=["GET"]),
        Route(PATH + "/export.{file_format}", page.export, methods=["GET"]),
        Route(PATH + "/views", page.save, methods=["POST"]),
        Route(PATH + "/views/remove", page.remove, methods=["POST"]),
        Route(PATH + "/assign", page.assign, methods=["POST"]),
        Route(PATH + "/mute", page.mute, methods=["POST"]),
    ]


@dataclass(frozen=True)
class _Portfolio:
    """The handlers."""

    context: ConsoleContext

    @require(*_SEES)
    async def show(self, request: Request) -> Response:
        view = PortfolioView.read(request.query_params)
        return await self.context.make_page(request, "portfolio.html", self._read, current_person(request), view)

    @require(*_SEES)
    async def export(self, request: Request) -> Response:
        file_format = request.path_params["file_format"]
        if file_format not in _EXPORTS:
            raise HTTPException(404)
        view, person = PortfolioView.read(request.query_params), current_person(request)
        file = await run_in_threadpool(self._export, person, view, file_format)
        task = BackgroundTask(remove_export, file)
        name = f"accounts-{self.context.accounts.as_of:%Y-%m-%d}.{file_format}"
        return FileResponse(file, media_type=_EXPORTS[file_format], filename=name, background=task)

    @require(*_SEES)
    async def save(self, request: Request) -> Response:
        form, person = await request.form(), current_person(request)
        query = PortfolioView.read(QueryParams(_text(form, "query"))).write()
        await run_in_threadpool(self._save, person, _text(form, "name"), query)
        return _go_back(query)

    @require(*_SEES)
    async def remove(self, request: Request) -> Response:
        form, person = await request.form(), current_person(request)
        await run_in_threadpool(self._remove, person, _text(form, "name"))
        return _go_back(PortfolioView.read(QueryParams(_text(form, "query"))).write())

    @require(*_ASSIGNS)
    async def assign(self, request: Request) -> Response:
        form, person = await request.form(), current_person(request)
        owner = None if _text(form, "withdraw") else _text(form, "owner")
        await run_in_threadpool(self._assign, person, _list_chosen(form), owner, _text(form, "reason"))
        return _go_back(PortfolioView.read(QueryParams(_text(form, "query"))).write())

    @require(*_SEES)
    async def mute(self, request: Request) -> Response:
        form, person = await request.form(), current_person(request)
        days = int(_text(form, "days")) if _text(form, "days") in map(str, _MUTE_DAYS) else _MUTE_DAYS[0]
        await run_in_threadpool(self._mute, person, _list_chosen(form), days, _text(form, "reason"))
        return _go_back(PortfolioView.read(QueryParams(_text(form, "query"))).write())

    def _filter(self, person: Person) -> RowFilter:
        return self.context.find_rows(person)

    def _build_filters(self, view: PortfolioView) -> dict[str, Any]:
        """Return the filters of the index; who needs somebody is known to the state database alone."""
        if view.show != NEEDS_ME:
            return {**view.filters, "show": view.show}
        return {**view.filters, "show": "all", "accounts": self.context.read_open_episodes().needing}

    def _count_needing(self, rows: RowFilter) -> int:
        """Count the accounts that a reader sees and that need somebody."""
        needing = {"show": "all", "accounts": self.context.read_open_episodes().needing}
        return self.context.accounts.sum_all(rows, filters=needing).accounts

    def _read(self, person: Person, view: PortfolioView) -> dict[str, Any]:
        context, rows = self.context, self._filter(person)
        index = context.accounts
        filters = self._build_filters(view)
        asked: dict[str, Any] = {"search": view.search, "filters": filters}
        page = index.list_accounts(rows, order=view.order, after=view.after or None, limit=_PAGE, **asked)
        tiers = index.sum_accounts(rows, "tier", **asked)
        named = index.sum_accounts(rows, "owner", filters={"show": "all"}, most=_OWNERS_CHOSEN + 1)
        known = [name for name in COLUMNS if index.has_values(name)]
        return {
            "view": view,
            "chosen": dict.fromkeys(FILTERS, "") | dict(view.filters),
            "page": page,
            "about": index.about,
            "following": f"{PATH}?{view.write(after=page.after)}" if page.after else "",
            "first": f"{PATH}?{view.write()}" if view.after else "",
            "episodes": context.read_open_episodes().find_by_account([row.account_id for row in page.rows]),
            "needing": self._count_needing(rows),
            "mine": index.sum_all(rows),
            "shown": index.sum_all(rows, **asked),
            "average": index.sum_all(EVERYTHING).risk,
            "tiers": tiers,
            "owners": index.sum_accounts(rows, "owner", most=_OWNERS_NAMED, **asked),
            "owners_left": max(index.count_groups(rows, "owner", **asked) - _OWNERS_NAMED, 0),
            "owner_names": sorted(g.key for g in named if g.key) if len(named) <= _OWNERS_CHOSEN else [],
            "regions": index.list_values("region"),
            "columns": [name for name in view.columns if name in known],
            "known": known,
            "views": context.kept.get(
                ("views", person.address), lambda: saved_views.read_views(context.store, person.address)
            ),
            "may_assign": person.has(*_ASSIGNS),
            "sees_all": rows == EVERYTHING,
            "mute_days": _MUTE_DAYS,
            "plays": PLAYS,
        }

    def _export(self, person: Person, view: PortfolioView, file_format: str) -> Any:
        return write_accounts(
            self.context.accounts,
            self._filter(person),
            file_format,
            order=view.order,
            search=view.search,
            filters=self._build_filters(view),
        )

    def _save(self, person: Person, name: str, query: str) -> None:
        with self.context.store.writing() as connection:
            stored = saved_views.save_view(connection, person.address, name, query)
            record_act(connection, person, "save_view", CONSOLE_VIEWS.name, stored, {"query": query})

    def _remove(self, person: Person, name: str) -> None:
        with self.context.store.writing() as connection:
            saved_views.remove_view(connection, person.address, name)
            record_act(connection, person, "remove_view", CONSOLE_VIEWS.name, name)

    def _check_visible(self, person: Person, accounts: list[str]) -> None:
        """Check that the person sees all these accounts.

        Raises:
            HTTPException: One is not there for the person (404), or none or too many are named (422).
        """
        if not 0 < len(accounts) <= _MOST_CHOSEN:
            raise HTTPException(422)
        rows = self._filter(person)
        if any(self.context.accounts.find_account(rows, account) is None for account in accounts):
            raise HTTPException(404)

    def _assign(self, person: Person, accounts: list[str], owner: str | None, reason: str) -> None:
        self._check_visible(person, accounts)
        with self.context.store.writing() as connection:
            for account in accounts:
                to = assignments.assign_owner(connection, account, owner=owner, by=person.address, reason=reason)
                record_act(connection, person, "assign", ASSIGNMENTS.name, account, {"owner": to, "reason": reason})
        self.context.accounts.refresh()

    def _mute(self, person: Person, accounts: list[str], days: int, reason: str) -> None:
        self._check_visible(person, accounts)
        until = datetime.now(UTC) + timedelta(days=days)
        with begin_act(self.context.store) as store:
            for account in accounts:
                mutes.mute(store, account, until=until, by=person.address, reason=reason)
                details = {"until": until.isoformat(timespec="seconds"), "reason": reason}
                record_act(store.connection, person, "mute", MUTES.name, account, details)


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value if isinstance(value, str) else ""


def _list_chosen(form: FormData) -> list[str]:
    return list(dict.fromkeys(value for value in form.getlist("account") if isinstance(value, str) and value))


def _go_back(query: str) -> RedirectResponse:
    return RedirectResponse(f"{PATH}?{query}" if query else PATH, status_code=303)
