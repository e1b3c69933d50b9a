"""Lead people to their first page, and keep what they choose: language, theme, time zone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from features.core.errors import GarrisonError
from features.core.language import LANGUAGES
from features.state.console_tables import CONSOLE_CHOICES, CONSOLE_SESSIONS
from monitoring.console import audit
from monitoring.console.choices import THEMES, change_choices
from monitoring.console.context import ConsoleContext
from monitoring.console.navigation import find_pages
from monitoring.console.sign_in.access import current_person, require
from monitoring.console.sign_in.mail_links import choose_path
from monitoring.console.sign_in.person import Person, Role

# English, to be translated.
ROLE_TITLES = {
    Role.OWNER: "account owner",
    Role.LEAD: "lead",
    Role.MANAGER: "manager",
    Role.DATA_SCIENTIST: "data scientist",
    Role.ADMIN: "administrator",
}
TABLE_TITLES = {
    "console_sessions": "session",
    "console_choices": "settings",
    "episodes": "episode",
    "accounts": "account",
    "problems": "problem",
}
ACT_TITLES = {
    "sign_in": "Signed in",
    "sign_out": "Signed out",
    "choose": "Chose a setting",
    "note": "Wrote a note",
    "promise": "Recorded a promise",
    "keep": "Marked a promise as kept",
    "touch": "Recorded a contact",
    "send_report": "Sent a report",
    "propose_retraining": "Proposed to train again",
    "decide_run": "Decided on a run",
    "stop_experiment": "Stopped an experiment",
    "make_problem": "Made a problem",
    "change_problem": "Changed a problem",
    "fix_problem": "Gave a fix",
    "merge_problem": "Merged problems",
    "link_problem": "Linked tickets to a problem",
}
_YEAR = 365 * 86_400


@dataclass(frozen=True)
class Home:
    """The handlers.

    Args:
        context: Of the process.
    """

    context: ConsoleContext

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/", self.begin, methods=["GET"]),
            Route("/me", self.show, methods=["GET"]),
            Route("/me/sessions", self.end_sessions, methods=["POST"]),
            Route("/choices", self.choose, methods=["POST"]),
        ]

    @require()
    async def begin(self, request: Request) -> Response:
        """Lead to the first page that the person may see."""
        pages = find_pages(request, current_person(request))
        return RedirectResponse(pages[0].path if pages else "/me", status_code=303)

    @require()
    async def show(self, request: Request) -> Response:
        """Show who is signed in, and what can be chosen."""
        zones = sorted(zone for zone in available_timezones() if "/" in zone or zone == "UTC")
        acts = await run_in_threadpool(
            audit.read_acts, self.context.store, by=current_person(request).address, limit=20
        )
        titles: dict[str, Any] = {"role_titles": ROLE_TITLES, "act_titles": ACT_TITLES, "table_titles": TABLE_TITLES}
        return self.context.render(request, "me.html", zones=zones, acts=acts, **titles)

    @require()
    async def end_sessions(self, request: Request) -> Response:
        """Sign the person out in every browser."""
        await run_in_threadpool(self._end_sessions, current_person(request))
        response = RedirectResponse("/sign-in", status_code=303)
        self.context.cookies.session.remove(response)
        return response

    async def choose(self, request: Request) -> Response:
        """Keep a choice: of a person in the state database, of a visitor in cookies that hold nothing else."""
        form = await request.form()
        changes = {name: str(form[name]) for name in ("language", "theme", "timezone") if name in form}
        back = choose_path(str(form.get("back", "")) or _find_path(request))
        response = RedirectResponse(back, status_code=303)
        person = getattr(request.state, "person", None)
        if person is not None:
            await run_in_threadpool(self._choose, person, changes)
            return response
        for name, allowed in (("language", LANGUAGES), ("theme", THEMES)):
            if changes.get(name) in allowed:
                response.set_cookie(
                    f"garrison-{name}", changes[name], max_age=_YEAR, httponly=True, samesite="lax",
                    secure=self.context.cookies.session.is_secure,
                )  # fmt: skip
        return response

    def _choose(self, person: Person, changes: dict[str, Any]) -> None:
        try:
            change_choices(self.context.store, person.address, changes)
        except GarrisonError:
            return  # a value that the form doesn't offer changes nothing
        with self.context.store.writing() as connection:
            audit.record_act(connection, person, "choose", CONSOLE_CHOICES.name, person.address, changes)

    def _end_sessions(self, person: Person) -> None:
        with self.context.store.writing() as connection:
            ended = self.context.sessions.end_all(connection, person.address)
            audit.record_act(connection, person, "sign_out", CONSOLE_SESSIONS.name, "all", {"sessions": ended})


def _find_path(request: Request) -> str:
    return urlsplit(request.headers.get("referer", "")).path
