"""The tables of known systems, by their documented REST protocols, and those that a TOML describes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Literal

from features.core.errors import SettingsError, nearest
from features.settings import LoadedSystem, LoadedTable

Cursor = Literal["seconds", "milliseconds", "text"]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What a dlt request says in place of the cursor's last value.
SINCE = "{incremental.start_value}"


@dataclass(frozen=True)
class Pages:
    """How the pages of a table follow one another.

    Args:
        kind: As `LoadedTable.pages`; `zendesk` and `hubspot` are their own protocols.
        next: JSON path of the URL or token of the next page.
        parameter: Takes the token, the page or the offset.
        more: JSON path of a yes or no: whether there is a next page.
        size: Rows of a page.
        size_parameter: Takes the size.
    """

    kind: Literal["single", "link_header", "next_url", "next_token", "page", "offset", "zendesk", "hubspot"] = "single"
    next: str | None = None
    parameter: str | None = None
    more: str | None = None
    size: int = 100
    size_parameter: str | None = None


@dataclass(frozen=True)
class Endpoint:
    """A table of an API.

    Args:
        name: Of the table.
        path: From the system's address on.
        rows: JSON path of the list of rows; None to find it.
        key: Columns that tell rows apart.
        pages: How its pages follow one another.
        params: Of the query; `SINCE` stands for the cursor's last value.
        body: Of a POST request; None for GET.
        cursor: Field that grows with each change; None if the whole table is fetched each time.
        sent: How the API takes the cursor's value.
        stored: How rows have it.
        again: Rows changed so long before the last value are fetched again.
        inside: Field whose own fields become the row's; None if a row has its fields itself.
    """

    name: str
    path: str
    rows: str | None
    key: tuple[str, ...] = ("id",)
    pages: Pages = Pages()
    params: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    cursor: str | None = None
    sent: Cursor = "text"
    stored: Cursor = "text"
    again: timedelta = timedelta(0)
    inside: str | None = None

    def start(self, since: datetime | None) -> int | str:
        """Return the cursor's first value."""
        first = since or EPOCH
        if self.stored == "text":
            return first.strftime("%Y-%m-%dT%H:%M:%SZ")
        return int(first.timestamp() * (1000 if self.stored == "milliseconds" else 1))

    def lift(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return a row with the fields of `inside` as its own.

        Examples:
            >>> Endpoint("t", "t", "t", inside="properties").lift({"id": 1, "properties": {"name": "Quay"}})
            {'name': 'Quay', 'id': 1}
        """
        inner = row.get(self.inside or "") or {}
        return {**inner, **{name: value for name, value in row.items() if name != self.inside}}

    def convert(self, value: Any) -> Any:
        """Return a cursor's value as the API takes it.

        Examples:
            >>> Endpoint("t", "t", "t", sent="seconds").convert("1970-01-01T00:01:00.250Z")
            60
        """
        if self.sent == self.stored:
            return value
        moment = datetime.fromisoformat(str(value)).timestamp()
        return int(moment * 1000) if self.sent == "milliseconds" else int(moment)


def name_column(path: str) -> str:
    """Return the name of a field's column, as dlt gives it.

    Examples:
        >>> name_column("updatedAt"), name_column("meta.changed")
        ('updated_at', 'meta__changed')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", path).replace(".", "__").lower()


def list_endpoints(name: str, system: LoadedSystem) -> tuple[Endpoint, ...]:
    """Return the tables to fetch from a system.

    Raises:
        SettingsError: `only` names a table that the system has not.
    """
    own = {table: _describe(table, spec) for table, spec in system.tables.items()}
    known = {endpoint.name: endpoint for endpoint in _KNOWN[system.kind](system)} | own
    for table in system.only:
        if table not in known:
            raise SettingsError(f"load.{name}.only: {system.kind} has no table {table!r}", hint=nearest(table, known))
    return tuple(endpoint for endpoint in known.values() if not system.only or endpoint.name in system.only)


def _describe(name: str, table: LoadedTable) -> Endpoint:
    params: dict[str, Any] = dict(table.params)
    if table.since_param:
        params[table.since_param] = SINCE
    if table.page_size_param and table.pages != "offset":
        params[table.page_size_param] = table.page_size
    pages = Pages(table.pages, table.next, table.next_param, None, table.page_size, table.page_size_param)
    return Endpoint(name, table.path, table.rows, table.key, pages, params, cursor=table.cursor)


def _stripe(_: LoadedSystem) -> tuple[Endpoint, ...]:
    """https://docs.stripe.com/api/pagination: lists, newest first, the last id of a page asks for the next."""
    pages = Pages("next_token", "data[-1].id", "starting_after", more="has_more")

    def whole(name: str, **params: str) -> Endpoint:
        return Endpoint(name, f"v1/{name}", "data", pages=pages, params={"limit": 100, **params})

    def grown(name: str, again: int) -> Endpoint:
        # Stripe filters by creation alone: what may change later is fetched again for some time.
        params, days = {"limit": 100, "created[gte]": SINCE}, timedelta(days=again)
        return Endpoint(
            name, f"v1/{name}", "data", pages=pages, params=params, cursor="created", again=days, **_SECONDS
        )

    lists = (whole("customers"), whole("products"), whole("prices"), whole("subscriptions", status="all"))
    return (*lists, grown("invoices", 120), grown("charges", 120), grown("refunds", 30))


_SECONDS: dict[str, Any] = {"sent": "seconds", "stored": "seconds"}


def _zendesk(_: LoadedSystem) -> tuple[Endpoint, ...]:
    """https://developer.zendesk.com/api-reference/ticketing/ticket-management/incremental_exports/."""

    def export(name: str, path: str, following: Pages, cursor: str, **form: Any) -> Endpoint:
        # An export answers from a second on, rows of that second among them.
        return Endpoint(
            name, path, name, pages=following, params={"start_time": SINCE}, cursor=cursor, sent="seconds", **form
        )

    by_cursor, by_time = Pages("zendesk", "after_url"), Pages("zendesk", "next_page")
    listed = Pages("next_token", "meta.after_cursor", "page[after]", more="meta.has_more")
    every = {"page[size]": 100}
    return (
        export("tickets", "api/v2/incremental/tickets/cursor", by_cursor, "generated_timestamp", stored="seconds"),
        export("users", "api/v2/incremental/users/cursor", by_cursor, "updated_at"),
        export("organizations", "api/v2/incremental/organizations", by_time, "updated_at"),
        Endpoint("ticket_metrics", "api/v2/ticket_metrics", "ticket_metrics", pages=listed, params=every),
        Endpoint("satisfaction_ratings", "api/v2/satisfaction_ratings", "satisfaction_ratings", ("id",), listed, every),
    )


# What of each object is asked for, beside `properties`; the last is when it changed.
_OBJECTS = MappingProxyType(
    {
        "companies": "name domain industry country numberofemployees annualrevenue lifecyclestage hubspot_owner_id "
        "hs_parent_company_id createdate hs_lastmodifieddate",
        "contacts": "email associatedcompanyid lifecyclestage hubspot_owner_id createdate lastmodifieddate",
        "deals": "dealname amount deal_currency_code dealstage pipeline dealtype closedate hs_is_closed_won "
        "hubspot_owner_id hs_primary_associated_company createdate hs_lastmodifieddate",
        "tickets": "subject hs_pipeline_stage hs_ticket_priority hs_ticket_category source_type createdate closed_date "
        "hs_primary_company_id hs_lastmodifieddate",
    }
)


def _hubspot(system: LoadedSystem) -> tuple[Endpoint, ...]:
    """https://developers.hubspot.com/docs/api/crm/search: objects in the order of their last change."""

    def search(name: str) -> Endpoint:
        wanted = [*_OBJECTS[name].split(), *system.properties]
        changed = _OBJECTS[name].split()[-1]
        body = {
            "filterGroups": [{"filters": [{"propertyName": changed, "operator": "GTE", "value": SINCE}]}],
            "sorts": [{"propertyName": changed, "direction": "ASCENDING"}],
            "properties": list(dict.fromkeys(wanted)),
            "limit": 100,
        }
        path, pages = f"crm/v3/objects/{name}/search", Pages("hubspot", "paging.next.after")
        return Endpoint(
            name,
            path,
            "results",
            pages=pages,
            body=body,
            cursor="updatedAt",
            sent="milliseconds",
            inside="properties",
            again=timedelta(minutes=5),  # a change is found some moments after it was made
        )

    owners = Pages("next_token", "paging.next.after", "after")
    return (*map(search, _OBJECTS), Endpoint("owners", "crm/v3/owners", "results", ("id",), owners, {"limit": 100}))


_KNOWN = {"stripe": _stripe, "zendesk": _zendesk, "hubspot": _hubspot, "rest": lambda _: ()}
