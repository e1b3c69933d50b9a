"""Hold the place of problems: what accounts are in pain of, what it costs, and what fixed it."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from monitoring.console.context import ConsoleContext
from monitoring.console.sign_in.access import require
from monitoring.console.sign_in.person import Role


def routes(context: ConsoleContext) -> list[Route]:
    """Return the routes."""
    return [Route("/problems", _Problems(context).show, methods=["GET"])]


@dataclass(frozen=True)
class _Problems:
    """The handler."""

    context: ConsoleContext

    @require(Role.OWNER, Role.LEAD, Role.MANAGER, Role.ADMIN)
    async def show(self, request: Request) -> Response:
        mapped = self.context.settings.tables
        topics = "tickets" in mapped and "topic" in mapped["tickets"].columns
        return self.context.render(request, "problems.html", has_tickets="tickets" in mapped, has_topics=topics)
