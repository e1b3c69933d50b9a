"""Find the pages that a person may go to."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from monitoring.console.sign_in.access import get_roles
from monitoring.console.sign_in.person import Person, Role

# In the order of the bar; the first that a person may see is where they begin.
_PAGES = {
    "/inbox": "Inbox",
    "/portfolio": "Portfolio",
    "/report": "Report",
    "/owners": "Owners",
    "/models": "Models",
    "/watch": "Watch",
    "/experiments": "Experiments",
    "/journey": "Journey",
    "/problems": "Problems",
    "/costs": "Costs",
}


class Page(NamedTuple):
    """A page in the bar.

    Args:
        path: Where it is.
        title: English, to be translated.
        is_current: Whether the request is for it, or for one below it.
    """

    path: str
    title: str
    is_current: bool


def find_pages(request: Request, person: Person | None) -> list[Page]:
    """Find the pages that exist and that a person may see; none for nobody."""
    if person is None or "app" not in request.scope:
        return []
    roles = _find_roles(request.app)
    return [
        Page(path, title, is_current=request.url.path == path or request.url.path.startswith(path + "/"))
        for path, title in _PAGES.items()
        if (allowed := roles.get(path)) is not None and person.has(*allowed)
    ]


@lru_cache(maxsize=1)
def _find_roles(app: Starlette) -> dict[str, frozenset[Role] | None]:
    return {route.path: get_roles(route.endpoint) for route in app.routes if isinstance(route, Route)}
