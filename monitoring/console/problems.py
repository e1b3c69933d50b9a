"""Show what went wrong as a page that says what to do, or as JSON to programs."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from features.core.errors import GarrisonError
from features.core.public_errors import hide_places
from monitoring.console.context import ConsoleContext
from monitoring.console.sign_in.access import wants_json

_LOG = logging.getLogger(__name__)


class Problem(NamedTuple):
    """What a page says: what is wrong, and what to do; English, to be translated."""

    title: str
    advice: str


_PROBLEMS = {
    400: Problem("This request can't be read", "Go back and try once more."),
    401: Problem("Please sign in", "You are not signed in, or no more. Nothing was changed."),
    403: Problem("This page is not for your role", "Ask whoever runs Garrison for access if you need it."),
    404: Problem("There is nothing here", "The address is wrong, or it is about an account of others."),
    405: Problem("This can't be done here", "Go back and use the buttons of the page."),
    409: Problem("Somebody else was faster", "It changed since you saw it. Nothing was lost or done twice."),
    413: Problem("This is too long", "Shorten the text and send it again. Nothing was changed."),
    422: Problem("Something in the form is not right", "Go back, correct it, and send it again."),
    429: Problem("Too many attempts", "Wait a minute, then try again."),
    500: Problem("Something went wrong here", "It is not your fault, and it is logged. Try again later."),
    503: Problem("This can't be answered now", "Try again in a minute."),
}  # fmt: skip
_FORM = Problem("This form is too old", "Open its page again and repeat what you did. Nothing was changed.")


@dataclass(frozen=True)
class ProblemPages:
    """The handlers of exceptions.

    Args:
        context: Of the process.
    """

    context: ConsoleContext

    async def show(self, request: Request, error: Exception) -> Response:
        """Answer an HTTP exception that a handler, a guard or the router raised."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        detail = error.detail if isinstance(error, HTTPException) else ""
        problem = _FORM if status == 403 and detail == "form" else _PROBLEMS.get(status, _PROBLEMS[500])
        response = self._answer(request, status, problem)
        response.headers.update(getattr(error, "headers", None) or {})
        return response

    async def show_refusal(self, request: Request, error: Exception) -> Response:
        """Answer an error of ours that a handler let through: an act that came too late, or a wrong value."""
        says = hide_places(str(error))
        return self._answer(
            request, 409, Problem("Nothing was changed", "Read what stands below, and try again."), says
        )

    async def show_fault(self, request: Request, error: Exception) -> Response:
        """Answer an error that nobody expected; the log has it, without what people wrote."""
        _LOG.error("internal error at a page", exc_info=error)
        return self._answer(request, 500, _PROBLEMS[500])

    def _answer(self, request: Request, status: int, problem: Problem, says: str = "") -> Response:
        if wants_json(request):
            return JSONResponse({"error": problem.title, "advice": says or problem.advice}, status_code=status)
        return self.context.render(request, "problem.html", status=status, code=status, problem=problem, says=says)

    def handlers(self) -> dict[type[Exception], object]:
        """Return them by the exception that they answer."""
        return {HTTPException: self.show, GarrisonError: self.show_refusal, Exception: self.show_fault}
