"""Show a person's open episodes by what an hour of work avoids, with why and what to do; and act on them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from features.catalog import Catalog
from features.core.language import Language
from features.definitions.plays import DEFAULT, PLAYS
from monitoring.alerts.kinds import CHURN
from monitoring.console.context import ConsoleContext
from monitoring.console.inbox.inbox_acts import ACTS, OUTCOMES, SNOOZE_DAYS, act_once
from monitoring.console.inbox.inbox_list import InboxItem, InboxReader
from monitoring.console.sign_in.access import EVERYTHING, current_person, require
from monitoring.console.sign_in.person import Person, Role
from monitoring.letters.driver_words import describe_driver
from monitoring.letters.wording import KINDS
from monitoring.lifetime.submitted_forms import make_key

PATH = "/inbox"
_ACTS_ON = (Role.OWNER, Role.LEAD, Role.MANAGER, Role.ADMIN)
_PAGE = 10
_LISTS = ("mine", "all", "resting")


def routes(context: ConsoleContext) -> list[Route]:
    """Return the routes."""
    page = _Inbox(context, Catalog.for_company(context.settings))
    return [
        Route(PATH, page.show, methods=["GET"]),
        Route(PATH + "/{episode}/{act}", page.act, methods=["POST"]),
    ]


@dataclass(frozen=True)
class _Inbox:
    """The handlers."""

    context: ConsoleContext
    catalog: Catalog

    @require(*_ACTS_ON)
    async def show(self, request: Request) -> Response:
        shown, after = request.query_params.get("show", ""), request.query_params.get("after", "")
        done, person = request.query_params.get("done", ""), current_person(request)
        done = done if done in ACTS else ""
        return await self.context.make_page(request, "inbox.html", self._read, person, shown, after, done=done)

    @require(*_ACTS_ON)
    async def act(self, request: Request) -> Response:
        episode, act = request.path_params["episode"], request.path_params["act"]
        if act not in ACTS:
            raise HTTPException(404)
        form = {name: value for name, value in (await request.form()).items() if isinstance(value, str)}
        after = await run_in_threadpool(self._act, current_person(request), episode, act, form)
        if "application/json" in request.headers.get("accept", ""):
            # Sent twice: it is done, and the page that is read anew says how it stands.
            done = {"episode": episode} if after is None else {"state": after.state, "version": after.version}
            return JSONResponse({"episode": episode, **done})
        query = {"show": form["show"]} if form.get("show") in _LISTS else {}
        return RedirectResponse(f"{PATH}?{urlencode(query | {'done': act})}", status_code=303)

    def _act(self, person: Person, episode: str, act: str, form: dict[str, str]) -> Any:
        if self._reader(person).find_visible(episode) is None:
            raise HTTPException(404)
        return act_once(self.context.store, person, episode, act, form)

    def _reader(self, person: Person) -> InboxReader:
        return InboxReader.of(self.context, self.context.find_rows(person))

    def _read(self, person: Person, shown: str, after: str) -> dict[str, Any]:
        reader = self._reader(person)
        counts = {
            "mine": reader.count_open(owner=person.address),
            "all": reader.count_open(),
            "resting": reader.count_open(resting=True),
        }
        shown = shown if shown in _LISTS else "mine" if counts["mine"] else "all"
        owner = person.address if shown == "mine" else None
        asked: dict[str, Any] = {"owner": owner, "resting": shown == "resting", "after": after, "limit": _PAGE}
        inbox = reader.keep_open(self.context.kept, person, **asked)
        language = Language(person.language)
        return {
            "shown": shown,
            "counts": counts,
            "items": inbox.items,
            "reasons": {item.id: self._describe(item, language) for item in inbox.items},
            "following": f"{PATH}?{urlencode({'show': shown, 'after': inbox.after})}" if inbox.after else "",
            "first": f"{PATH}?{urlencode({'show': shown})}" if after else "",
            "closed": self.context.kept.get(
                ("closed", person.address, person.roles, owner), lambda: reader.read_closed(owner=owner, limit=10)
            ),
            "average": self.context.accounts.sum_all(EVERYTHING).risk,
            "horizon": self.context.accounts.about.horizon,
            "plays": PLAYS,
            "default_play": DEFAULT,
            "kinds": KINDS,
            "snooze_days": SNOOZE_DAYS,
            "outcomes": OUTCOMES,
            "now": datetime.now(UTC),
            "make_key": make_key,
        }

    def _describe(self, item: InboxItem, language: Language) -> list[str]:
        """Say why it was opened: its own condition, unless that is the score alone, then what raised the score."""
        drivers = [describe_driver(driver, self.catalog, language) for driver in item.drivers]
        return drivers if item.kind == CHURN or not item.why else [language.say("{reason}", reason=item.why), *drivers]
