"""Show the library of problems: search, one problem with its fixes, and what people do to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from features.core.errors import GarrisonError
from features.core.language import LANGUAGES
from monitoring.console.context import ConsoleContext
from monitoring.console.problem_acts import ACTS, act_on_problem
from monitoring.console.sign_in.access import EVERYTHING, current_person, require
from monitoring.console.sign_in.person import Person, Role
from monitoring.lifetime.submitted_forms import make_key
from monitoring.problems import library
from monitoring.problems.problem_file import read_problem_file
from monitoring.problems.problem_money import read_money
from monitoring.problems.search import SearchResult, search_library
from monitoring.problems.ticket_matches import find_for_account, find_for_ticket

PATH = "/problems"
_SEES = (Role.OWNER, Role.LEAD, Role.MANAGER, Role.ADMIN)
_SHOWN, _LONGEST = 60, 2_000
# Ids that a query names at most; of more accounts, what was found is filtered.
_MOST_ACCOUNTS, _FOUND = 2_000, 200
_TICKETS = 10
_DONE = {
    "make": "The problem is in the library.",
    "change": "The change is kept.",
    "fix": "The fix is kept. Whoever has a like ticket sees it.",
    "merge": "Both are one problem now.",
    "link": "The tickets are linked.",
}


def routes(context: ConsoleContext) -> list[Route]:
    """Return the routes."""
    page = _Problems(context)
    return [
        Route("/v1/problems", page.answer, methods=["GET"]),
        Route("/v1/accounts/{account_id:path}/problems", page.answer_account, methods=["GET"]),
        Route(PATH, page.show, methods=["GET"]),
        Route(PATH, page.make, methods=["POST"]),
        Route(PATH + "/{problem_id}", page.show_one, methods=["GET"]),
        Route(PATH + "/{problem_id}/{act}", page.act, methods=["POST"]),
    ]


@dataclass(frozen=True)
class _Problems:
    """The handlers."""

    context: ConsoleContext

    @require(*_SEES)
    async def show(self, request: Request) -> Response:
        person, text = current_person(request), request.query_params.get("q", "").strip()[:_LONGEST]
        state = request.query_params.get("state", "")
        state = state if state in library.STATES else ""
        return await self.context.make_page(request, "problems.html", self._read, person, text, state, problem="")

    @require(*_SEES)
    async def make(self, request: Request) -> Response:
        return await self._do(request, None, "make")

    @require(*_SEES)
    async def show_one(self, request: Request) -> Response:
        return await self._render_one(request)

    @require(*_SEES)
    async def act(self, request: Request) -> Response:
        act = request.path_params["act"]
        if act not in ACTS or act == "make":
            raise HTTPException(404)
        return await self._do(request, request.path_params["problem_id"], act)

    @require(*_SEES)
    async def answer(self, request: Request) -> Response:
        """Answer programs: the problems nearest to `text`, or to the ticket `ticket`, with their fixes."""
        query, person = request.query_params, current_person(request)
        text, ticket = query.get("text", "").strip()[:_LONGEST], query.get("ticket", "").strip()
        try:
            found = await self.context.read_in_turn(self._search, person, text, ticket)
        except GarrisonError as error:
            raise HTTPException(404) from error
        return JSONResponse(found.as_dict())

    @require(*_SEES)
    async def answer_account(self, request: Request) -> Response:
        """Answer programs: an account's open tickets, each with the problems nearest to it."""
        account_id, person = request.path_params["account_id"], current_person(request)
        found = await self.context.read_in_turn(self.read_open, person, account_id)
        return JSONResponse({"tickets": [ticket.as_dict() for ticket in found]})

    def read_open(self, person: Person, account_id: str) -> list[Any]:
        if self.context.accounts.find_account(self.context.find_rows(person), account_id) is None:
            raise HTTPException(404)
        with self.context.store.reading() as connection:
            return list(find_for_account(connection, account_id))

    async def _do(self, request: Request, problem_id: str | None, act: str) -> Response:
        """Do an act and lead to its problem; where it is refused, show why."""
        person = current_person(request)
        form = {name: value for name, value in (await request.form()).items() if isinstance(value, str)}
        settings, store = self.context.settings, self.context.store
        try:
            after = await run_in_threadpool(act_on_problem, settings, store, person, problem_id, act, form)
        except GarrisonError as error:
            if problem_id is not None:
                return await self._render_one(request, problem=str(error))
            refused: dict[str, Any] = {"status": 409, "problem": str(error)}
            return await self.context.make_page(request, "problems.html", self._read, person, "", "", **refused)
        return RedirectResponse(f"{PATH}/{after}?{urlencode({'done': act})}", status_code=303)

    async def _render_one(self, request: Request, *, problem: str = "") -> Response:
        person, name = current_person(request), request.path_params["problem_id"]
        values: dict[str, Any] = {"status": 409 if problem else 200, "problem": problem}
        values |= {"done": _DONE.get(request.query_params.get("done", ""), "")}
        try:
            return await self.context.make_page(request, "problem_file.html", self._read_one, person, name, **values)
        except GarrisonError as error:
            raise HTTPException(404) from error

    def _read(self, person: Person, text: str, state: str) -> dict[str, Any]:
        with self.context.store.reading() as connection:
            problems = library.read_problems(connection)
        chosen = [p for p in problems if p.shown_state == state or (p.state == state and state)] if state else problems
        mapped = self.context.settings.tables
        money = read_money(self.context.settings)
        return {
            "text": text,
            "state": state,
            "states": {s: n for s in library.STATES if (n := sum(p.state == s for p in problems))},
            "found": self._search(person, text, "") if text else None,
            "problems": chosen[:_SHOWN],
            "total": len(problems),
            "left_out": max(0, len(chosen) - _SHOWN),
            "reopened": [p for p in problems if p.shown_state == "reopened"],
            "repeats": sum(p.repeats for p in problems),
            "tickets": sum(p.tickets for p in problems),
            "money": {p.id: money[p.topic_id] for p in problems if p.topic_id in money},
            "has_tickets": "tickets" in mapped,
            "has_texts": "tickets" in mapped and not {"subject", "body"}.isdisjoint(mapped["tickets"].columns),
            "names": self._find_names(person, problems),
            "make_key": make_key,
        }

    def _read_one(self, person: Person, name: str) -> dict[str, Any]:
        accounts = self._list_accounts(person)
        found = read_problem_file(self.context.settings, self.context.store, name, accounts=accounts)
        visible = self._find_visible(person, [ticket.account_id for ticket in found.tickets])
        with self.context.store.reading() as connection:
            others = [p for p in library.read_problems(connection) if p.id != found.problem.id]
        return {
            "file": found,
            "tickets": [ticket for ticket in found.tickets if ticket.account_id in visible][:_TICKETS],
            "accounts": visible,
            "others": sorted(others, key=lambda p: p.get_name(person.language).casefold()),
            "languages": LANGUAGES,
            "state_names": library.STATES,
            "make_key": make_key,
        }

    def _search(self, person: Person, text: str, ticket: str) -> SearchResult:
        """Search by words, or by a ticket that the person sees.

        Raises:
            GarrisonError: There is no such ticket.
        """
        accounts = self._list_accounts(person)
        with self.context.store.reading() as connection:
            if ticket:
                self._check_ticket(person, library.find_account(connection, ticket))
                return SearchResult(tuple(find_for_ticket(connection, ticket)), ())
            found = search_library(connection, text, tickets=_FOUND, accounts=accounts)
        visible = self._find_visible(person, [one.account_id for one in found.tickets])
        return SearchResult(found.problems, tuple(t for t in found.tickets if t.account_id in visible)[:_TICKETS])

    def _check_ticket(self, person: Person, account_id: str) -> None:
        if account_id not in self._find_visible(person, [account_id]):
            raise HTTPException(404)

    def _list_accounts(self, person: Person) -> list[str] | None:
        """List the accounts that a person may see; None for all, and for more than a query can name."""
        rows = self.context.find_rows(person)
        return None if rows == EVERYTHING else self.context.accounts.list_visible(rows, most=_MOST_ACCOUNTS)

    def _find_visible(self, person: Person, account_ids: list[str]) -> dict[str, str | None]:
        """Find which of these accounts a person may see; returns their names."""
        rows = self.context.accounts.find_accounts(self.context.find_rows(person), account_ids)
        return {account: row.name for account, row in rows.items()}

    def _find_names(self, person: Person, problems: list[library.Problem]) -> dict[str, str]:
        return {problem.id: problem.get_name(person.language) for problem in problems}
