"""The pages of Zendesk's exports and of HubSpot's search, which dlt's own paginators don't follow to their end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from dlt.sources.helpers.rest_client.paginators import BasePaginator, JSONLinkPaginator
from requests import Request, Response

from features.core.errors import SourceError
from features.loading.endpoints import Endpoint

# HubSpot's search gives no more rows than these, however they are paged.
_MOST = 10_000


class ExportPaginator(JSONLinkPaginator):
    """Zendesk's incremental export: `end_of_stream` ends it, although a next address is given then too."""

    def update_state(self, response: Response, data: list[Any] | None = None) -> None:
        """Note the next address, or the end."""
        super().update_state(response, data)
        if response.json().get("end_of_stream"):
            self._next_reference = None
            self._has_next_page = False

    def update_request(self, request: Request) -> None:
        """Ask for the next address as it came: it holds all parameters."""
        super().update_request(request)
        if self._has_next_page:
            request.params = {}


class SearchPaginator(BasePaginator):
    """HubSpot's search: after 10,000 rows it begins anew at the last change of these."""

    def __init__(self, path: str | None, endpoint: Endpoint) -> None:
        super().__init__()
        self.path, self.endpoint = str(path).split("."), endpoint
        self._after: str | None = None
        self._from: Any = None
        self._rows = 0

    def update_state(self, response: Response, data: list[Any] | None = None) -> None:
        """Note the place after this page, and where to begin anew."""
        place: Any = response.json()
        for key in self.path:
            place = place.get(key, {}) if isinstance(place, Mapping) else {}
        self._rows += len(data or [])
        self._after = str(place) if place else None
        self._has_next_page = self._after is not None
        if self._after is not None and data and self._rows + len(data) > _MOST:
            begin = self.endpoint.convert(data[-1][self.endpoint.cursor])
            if begin == self._from:
                raise SourceError(
                    f"more than {_MOST:,} {self.endpoint.name} changed in one moment: HubSpot's search can't give them",
                    hint="Export them by hand, and name the file as a source",
                )
            self._from, self._after, self._rows = begin, None, 0

    def update_request(self, request: Request) -> None:
        """Ask for the next page, or anew from a later change on."""
        body: Any = dict(cast("Mapping[str, Any]", request.json or {}))
        body.pop("after", None)
        if self._from is not None:
            (group,) = body["filterGroups"]
            (only,) = group["filters"]
            body["filterGroups"] = [{"filters": [only | {"value": str(self._from)}]}]
        if self._after is not None:
            body["after"] = self._after
        request.json = body
