"""Decide what a person may see: the one filter of accounts, and the one guard of routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from typing import Any
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from features.settings import Settings
from features.state.database import Store
from monitoring.binding.absences import read_absences
from monitoring.binding.account_records import AccountRecord
from monitoring.binding.bindings import BindingRules
from monitoring.console.accounts.open_episodes import OpenEpisodes
from monitoring.console.sign_in.person import Person, Role

Handler = Callable[..., Awaitable[Response]]
_SEES_ALL = (Role.MANAGER, Role.ADMIN)
_SEES_OWN = (Role.OWNER, Role.LEAD)


@dataclass(frozen=True)
class RowFilter:
    """A condition on accounts.

    Args:
        sql: DuckDB's, over the columns account_id, owner (one address in lower case, or null), parent_id and tier of
            the table `accounts`; never empty.
        parameters: Of its question marks, in order.
    """

    sql: str
    parameters: tuple[Any, ...] = ()


NOTHING = RowFilter("FALSE")
EVERYTHING = RowFilter("TRUE")


def build_row_filter(
    person: Person, settings: Settings, store: Store, episodes: OpenEpisodes, *, now: datetime | None = None
) -> RowFilter:
    """Build the condition that every read of accounts for a person takes.

    Args:
        person: Who reads.
        settings: Who leads whom, who is of which team, who is a sponsor.
        store: The state database: who is away.
        episodes: Those that are open.
        now: The instant; by default the clock's.
    """
    if person.has(*_SEES_ALL):
        return EVERYTHING
    if not person.has(*_SEES_OWN):
        return NOTHING
    rules = BindingRules(settings, read_absences(store, now or datetime.now(UTC)))
    owners = sorted(_find_owners(person, settings, rules))
    marks = ", ".join("?" * len(owners))
    # UNION drops what it has seen, so that accounts that are each other's parents end it too.
    family = (
        "account_id IN (WITH RECURSIVE family AS ("  # noqa: S608  # question marks alone are put in
        f"SELECT account_id FROM accounts WHERE owner IN ({marks})"
        " UNION SELECT child.account_id FROM accounts AS child JOIN family ON child.parent_id = family.account_id"
        ") SELECT account_id FROM family)"
    )
    conditions, parameters = [family], list[Any](owners)
    # Those with an open episode that the person owns by a handover, or whose cause is the person's team's.
    teams = [cause for cause, team in settings.binding.teams.items() if team.lower() == person.address]
    if bound := episodes.list_bound(person.address, teams):
        conditions.append("account_id IN (SELECT unnest(?))")
        parameters.append(bound)
    if tiers := _find_tiers(person, rules):
        conditions.append(f"tier IN ({', '.join('?' * len(tiers))})")
        parameters += tiers
    if (settings.alerts.fallback_owner or "").lower() == person.address:
        conditions.append("owner IS NULL")
    return RowFilter(f"({' OR '.join(conditions)})", tuple(parameters))


def _find_owners(person: Person, settings: Settings, rules: BindingRules) -> set[str]:
    """Find whose accounts are a person's: the own, those of absent people, those of people that a lead leads."""
    owners = {person.address}
    for absent in rules.absences:
        standing_in = rules.bind({"": AccountRecord(owner=absent)}, [""], {})[""].owner
        if standing_in and standing_in.address.lower() == person.address:
            owners.add(absent)
    if person.has(Role.LEAD):
        people = settings.binding.people.items()
        owners |= {known.lower() for known, p in people if (p.lead or "").lower() == person.address}
    return owners


def _find_tiers(person: Person, rules: BindingRules) -> list[str]:
    tiers = sorted({tier for sponsor in rules.settings.binding.sponsors for tier in sponsor.tiers})
    sponsors = {tier: rules.find_sponsor(tier) for tier in tiers}
    return [tier for tier, sponsor in sponsors.items() if sponsor and sponsor.address.lower() == person.address]


def current_person(request: Request) -> Person:
    """Return who is signed in.

    Raises:
        HTTPException: Nobody is (401).
    """
    person: Person | None = getattr(request.state, "person", None)
    if person is None:
        raise HTTPException(401)
    return person


def require(*roles: Role) -> Callable[[Handler], Handler]:
    """Guard a handler, a function or a method whose last argument is the request.

    Nobody signed in: a page is answered by a redirect to sign-in, anything else by 401. Without one of the roles: 403.

    Args:
        roles: One of them is needed; none given, any signed-in person may.
    """
    allowed = frozenset(roles or Role)

    def guard(handler: Handler) -> Handler:
        @wraps(handler)
        async def answer(*arguments: Any) -> Response:
            request: Request = arguments[-1]
            person: Person | None = getattr(request.state, "person", None)
            if person is None:
                if request.method not in {"GET", "HEAD"} or wants_json(request):
                    raise HTTPException(401)
                target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                return RedirectResponse(f"/sign-in?next={quote(target, safe='')}", status_code=303)
            if not person.has(*allowed):
                raise HTTPException(403)
            return await handler(*arguments)

        answer.roles = allowed  # type: ignore[attr-defined]  # what navigation and tests read
        return answer

    return guard


def wants_json(request: Request) -> bool:
    """Return whether a program asks, not a person."""
    return request.url.path.startswith("/v1/") or "application/json" in request.headers.get("accept", "")


def get_roles(endpoint: object) -> frozenset[Role] | None:
    """Return the roles that may call a route's handler; None if it is open to everybody."""
    return getattr(endpoint, "roles", None)
