"""Show the lifetime file of one account; note, promise, touch, act on its episodes, ask what if, export."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from features.core.errors import GarrisonError
from features.core.language import Language, say
from features.definitions.plays import DEFAULT, PLAYS
from monitoring.console.accounts.account_acts import ACTS, act_on_account
from monitoring.console.accounts.account_index import AccountRow
from monitoring.console.charts.risk_chart import RiskChart
from monitoring.console.context import ConsoleContext
from monitoring.console.inbox.inbox_acts import ACTS as EPISODE_ACTS
from monitoring.console.inbox.inbox_acts import OUTCOMES, SNOOZE_DAYS, act_once
from monitoring.console.sign_in.access import current_person, require
from monitoring.console.sign_in.person import Person, Role
from monitoring.letters.wording import KINDS as EPISODE_KINDS
from monitoring.lifetime.account_file import AccountFile, AccountFiles
from monitoring.lifetime.entry import KINDS
from monitoring.lifetime.submitted_forms import make_key
from monitoring.lifetime.timeline import TimelinePage
from monitoring.lifetime.touches import KINDS as TOUCH_KINDS
from monitoring.lifetime.what_if import Change, WhatIf, score_what_if
from monitoring.problems.ticket_matches import OpenTicket, find_for_account

PATH = "/accounts/{account_id:path}"
_SEES = (Role.OWNER, Role.LEAD, Role.MANAGER, Role.ADMIN)
# Plural titles of the timeline's kinds, and the singular ones of its entries; English, to be translated.
KIND_TITLES = {
    "ticket": ("Tickets", "Ticket"),
    "usage": ("Usage", "Week of use"),
    "purchase": ("Purchases", "Purchase"),
    "touch": ("Contact", "Contact"),
    "score": ("Scores", "Score"),
    "alert": ("Alerts", "Alert"),
    "act": ("Acts", "Act"),
    "note": ("Notes", "Note"),
    "promise": ("Promises", "Promise"),
}
_DONE = {
    "note": "The note is kept.",
    "promise": "The promise is recorded.",
    "keep": "The promise is marked as kept.",
    "touch": "The contact is recorded. The next night's scores know of it.",
    "acknowledge": "You are at it.",
    "snooze": "The alert rests.",
    "verdict": "Thank you. Your answer is kept.",
    "hand-over": "The alert is handed over.",
    "close": "The alert is closed.",
}
_LONGEST_PERCENT = 8  # characters
# What a person wrote in a form that was refused.
_NO_DRAFT = dict.fromkeys(("act", "text", "due", "by", "kind", "day", "reason"), "")


def routes(context: ConsoleContext) -> list[Route]:
    """Return the routes; an account's id may hold slashes, so its own page comes last."""
    page = _AccountPage(context, context.files)
    return [
        Route(PATH + "/export.json", page.export, methods=["GET"]),
        Route(PATH + "/what-if", page.ask_what_if, methods=["GET"]),
        Route(PATH + "/episodes/{episode_id}/{act}", page.act_on_episode, methods=["POST"]),
        Route(PATH + "/acts/{act}", page.act, methods=["POST"]),
        Route(PATH, page.show, methods=["GET"]),
    ]


class _MergedError(Exception):
    """The account was merged into another one."""

    def __init__(self, survivor: str) -> None:
        super().__init__(survivor)
        self.survivor = survivor


@dataclass(frozen=True)
class _AccountPage:
    """The handlers."""

    context: ConsoleContext
    files: AccountFiles

    @require(*_SEES)
    async def show(self, request: Request) -> Response:
        try:
            return await self._render(request)
        except _MergedError as merged:
            was = request.path_params["account_id"][:200]
            return RedirectResponse(f"{find_path(merged.survivor)}?{urlencode({'merged': was})}", 303)

    @require(*_SEES)
    async def export(self, request: Request) -> Response:
        account_id, person = request.path_params["account_id"], current_person(request)
        await run_in_threadpool(self._find_visible, person, account_id)
        content = await run_in_threadpool(lambda: json.dumps(self.files.export(account_id), indent=1, default=str))
        name = quote(f"account-{account_id[:80]}.json", safe="")
        headers = {"content-disposition": f"attachment; filename*=UTF-8''{name}"}
        return Response(content, media_type="application/json", headers=headers)

    @require(*_SEES)
    async def ask_what_if(self, request: Request) -> Response:
        account_id, person = request.path_params["account_id"], current_person(request)
        row = await run_in_threadpool(self._find_visible, person, account_id)
        asked = {name: request.query_params.get(name, "") for name in ("answered", "touch", "usage", "price")}
        found, problem = None, ""
        if any(asked.values()):
            try:
                change = _read_change(asked)
                found = await run_in_threadpool(self._score_what_if, account_id, change)
            except GarrisonError as error:
                problem = str(error)
        language, horizon = Language(person.language), self.context.settings.alert_horizon
        main = found.find_score("churn", horizon) if found else None
        reasons = found.list_reasons(main, self.files.tables.history, language) if found and main else []
        values: dict[str, Any] = {
            "row": row,
            "account": account_id,
            "path": find_path(account_id),
            "asked": asked,
            "found": found,
        }
        values |= {"main": main, "reasons": reasons, "problem": problem, "horizon": horizon}
        return self.context.render(request, "what_if.html", status=422 if problem else 200, **values)

    @require(*_SEES)
    async def act(self, request: Request) -> Response:
        act = request.path_params["act"]
        if act not in ACTS:
            raise HTTPException(404)
        settings, store = self.context.settings, self.context.store

        def do(person: Person, account_id: str, form: dict[str, str]) -> None:
            act_on_account(settings, store, person, account_id, act, form)

        return await self._do(request, act, do)

    @require(*_SEES)
    async def act_on_episode(self, request: Request) -> Response:
        act, episode_id = request.path_params["act"], request.path_params["episode_id"]
        if act not in EPISODE_ACTS:
            raise HTTPException(404)

        def do(person: Person, account_id: str, form: dict[str, str]) -> None:
            # Another account's episode can't be reached through one that the person sees.
            if not self.files.has_episode(account_id, episode_id):
                raise HTTPException(404)
            act_once(self.context.store, person, episode_id, act, form)

        return await self._do(request, act, do)

    async def _do(self, request: Request, act: str, do: Callable[[Person, str, dict[str, str]], None]) -> Response:
        """Do an act and lead back to the account; where it is refused, show why, and what was written."""
        account_id, person = request.path_params["account_id"], current_person(request)
        form = {name: value for name, value in (await request.form()).items() if isinstance(value, str)}

        def check_and_do() -> None:
            self._find_visible(person, account_id)
            do(person, account_id, form)

        try:
            await run_in_threadpool(check_and_do)
        except GarrisonError as error:
            return await self._render(request, problem=str(error), draft={**form, "act": act})
        return RedirectResponse(f"{find_path(account_id)}?{urlencode({'done': act})}", status_code=303)

    async def _render(self, request: Request, *, problem: str = "", draft: dict[str, str] | None = None) -> Response:
        account_id, person, query = request.path_params["account_id"], current_person(request), request.query_params
        kind = query.get("kind", "") if query.get("kind", "") in KIND_TITLES else ""
        after = query.get("after") or None
        values: dict[str, Any] = {
            "problem": problem,
            "draft": _NO_DRAFT | (draft or {}),
            "status": 409 if problem else 200,
        }
        values |= {"merged": query.get("merged", ""), "done": _DONE.get(query.get("done", ""), "")}
        return await self.context.make_page(
            request, "account.html", self._read, person, account_id, kind, after, **values
        )

    def _find_survivor(self, account_id: str) -> str:
        try:
            return self.files.tables.find_survivor(account_id)
        except GarrisonError:
            return account_id

    def _check_visible(self, person: Person, account_id: str) -> None:
        """Raise an error where the account was merged, or the person does not see it."""
        survivor = self._find_survivor(account_id)
        self._find_visible(person, survivor)
        if survivor != account_id:
            raise _MergedError(survivor)

    def _find_visible(self, person: Person, account_id: str) -> AccountRow:
        rows = self.context.find_rows(person)
        row = self.context.accounts.find_account(rows, account_id)
        if row is None:
            raise HTTPException(404)
        return row

    def _score_what_if(self, account_id: str, change: Change) -> WhatIf:
        history, scorer = self.files.tables.history, self.files.champions.load()
        return score_what_if(self.context.settings, history, scorer, account_id, change)

    def _read(self, person: Person, account_id: str, kind: str, after: str | None) -> dict[str, Any]:
        self._check_visible(person, account_id)
        found, language = self._read_file(account_id, kind, after), Language(person.language)
        path, course = find_path(account_id), found.course
        following = {"kind": kind, "after": found.timeline.after or ""}
        return {
            "file": found,
            "head": found.head,
            "course": course,
            "chart": RiskChart.build(course),
            "reasons": course.list_reasons(found.catalog, language),
            "changes": course.list_changes(found.catalog, language),
            "play": course.find_play(),
            "path": path,
            "kind": kind,
            "kinds": {k: (KIND_TITLES[k][0], found.timeline.counts[k]) for k in KINDS if found.timeline.counts[k]},
            "entries": _list_entries(found.timeline, language),
            "following": f"{path}?{urlencode({k: v for k, v in following.items() if v})}" if following["after"] else "",
            "first": f"{path}?{urlencode({'kind': kind} if kind else {})}" if after else "",
            "total": found.timeline.counts[kind] if kind else sum(found.timeline.counts.values()),
            "today": datetime.now(ZoneInfo(person.timezone)).date().isoformat(),
            "make_key": make_key,
            "open_tickets": self._find_open_tickets(account_id),
            "plays": PLAYS,
            "default_play": DEFAULT,
            "episode_kinds": EPISODE_KINDS,
            "outcomes": OUTCOMES,
            "snooze_days": SNOOZE_DAYS,
            "touch_kinds": TOUCH_KINDS,
        }

    def _find_open_tickets(self, account_id: str) -> list[OpenTicket]:
        """Find an account's open tickets with the problems nearest to each, and what worked."""
        with self.context.store.reading() as connection:
            return [ticket for ticket in find_for_account(connection, account_id) if ticket.near]

    def _read_file(self, account_id: str, kind: str, after: str | None) -> AccountFile:
        try:
            return self.files.read(account_id, kinds=(kind,) if kind else KINDS, after=after)
        except GarrisonError:
            if after is None:
                raise
            raise HTTPException(404) from None


def find_path(account_id: str) -> str:
    """Return the path of an account's page."""
    return f"/accounts/{quote(account_id, safe='')}"


def _list_entries(timeline: TimelinePage, language: Language) -> list[dict[str, Any]]:
    return [
        {
            "at": entry.at,
            "kind": entry.kind,
            "kind_title": language.translate(KIND_TITLES[entry.kind][1]),
            "title": say(entry.title, language),
            "body": say(entry.body, language),
            "later": entry.known_later,
        }
        for entry in timeline.entries
    ]


def _read_change(asked: dict[str, str]) -> Change:
    """Read what is to be otherwise.

    Raises:
        GarrisonError: A share is no number.
    """
    change = Change(bool(asked["answered"]), touch=bool(asked["touch"]))
    for name in ("usage", "price"):
        text = asked[name].strip().removesuffix("%").replace(",", ".") or "0"
        try:
            share = float(text[:_LONGEST_PERCENT]) / 100
        except ValueError:
            raise GarrisonError(f"the {name} is no number", hint="Write per cent, such as 20 or -5") from None
        if share != share:  # noqa: PLR0124  # NaN
            raise GarrisonError(f"the {name} is no number", hint="Write per cent, such as 20 or -5")
        change = replace(change, usage=share) if name == "usage" else replace(change, price=share)
    return change
