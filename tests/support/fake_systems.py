"""Stripe, Zendesk, HubSpot and a plain REST API, as their documents describe them: pages, increments, limits."""

from __future__ import annotations

import base64
import itertools
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.fake_server import Answer, FakeServer, Request

UNAUTHORIZED = Answer(401, {"error": {"message": "Invalid API Key provided"}})


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


class FakeSystem(FakeServer):
    """Tables of rows, which a test changes; at most `page` rows are given at once."""

    secret = "sk_1"

    def __init__(self, tables: dict[str, list[dict[str, Any]]], *, page: int = 2) -> None:
        super().__init__()
        self.tables, self.page = tables, page

    def handle(self, request: Request) -> Answer:
        if not self.admits(request.headers.get("Authorization", "")):
            return UNAUTHORIZED
        parts = urlsplit(request.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        return self.give(parts.path.strip("/"), query, request)

    def admits(self, header: str) -> bool:
        return header == f"Bearer {self.secret}"

    def give(self, path: str, query: dict[str, str], request: Request) -> Answer:
        raise NotImplementedError


class FakeStripe(FakeSystem):
    """https://docs.stripe.com/api/pagination."""

    def give(self, path: str, query: dict[str, str], _: Request) -> Answer:
        name = path.removeprefix("v1/")
        if name not in self.tables:
            return Answer(404, {"error": {"message": "Unrecognized request URL"}})
        rows = sorted(self.tables[name], key=lambda row: -row["created"])
        rows = [row for row in rows if row["created"] >= int(query.get("created[gte]", 0))]
        if after := query.get("starting_after"):
            rows = rows[[row["id"] for row in rows].index(after) + 1 :]
        size = min(int(query.get("limit", 10)), self.page)
        return Answer(body={"object": "list", "data": rows[:size], "has_more": len(rows) > size})


class FakeZendesk(FakeSystem):
    """Incremental exports by cursor and by time, and lists by cursor."""

    def admits(self, header: str) -> bool:
        wanted = base64.b64encode(f"jo@harbour.example/token:{self.secret}".encode()).decode()
        return header == f"Basic {wanted}"

    def give(self, path: str, query: dict[str, str], _: Request) -> Answer:
        name = path.split("/")[3 if "incremental" in path else 2]
        if name not in self.tables:
            return Answer(404, {"error": "InvalidEndpoint"})
        if "incremental" not in path:
            begin = int(query.get("page[after]", 0))
            end = begin + min(int(query["page[size]"]), self.page)
            more = end < len(self.tables[name])
            return Answer(
                body={name: self.tables[name][begin:end], "meta": {"has_more": more, "after_cursor": f"{end}"}}
            )
        if "cursor" in query and "start_time" in query:
            return Answer(400, {"error": "give either"})
        start, offset = query.get("start_time"), 0
        if "cursor" in query:
            start, offset = query["cursor"].split("_")[0], int(query["cursor"].split("_")[1])

        def changed(row):
            return row.get("generated_timestamp") or _seconds(row["updated_at"])

        rows = [row for row in sorted(self.tables[name], key=changed) if changed(row) >= int(start)]
        end = offset + self.page
        given, ended = rows[offset:end], end >= len(rows)
        if "cursor" in path:
            after = f"{self.url}/{path}?cursor={start}_{end}"
            return Answer(body={name: given, "after_url": after, "end_of_stream": ended})
        last = int(changed(given[-1])) if given else int(start)
        body = {
            name: given,
            "next_page": f"{self.url}/{path}?start_time={last}",
            "count": len(given),
            "end_of_stream": ended,
        }
        return Answer(body=body)


class FakeHubSpot(FakeSystem):
    """CRM search: at most `most` rows of one search, then 400."""

    most = 10_000

    def give(self, path: str, query: dict[str, str], request: Request) -> Answer:
        if path == "crm/v3/owners":
            rows, after = self.tables["owners"], int(query.get("after", 0))
            size = self.page
        else:
            search = request.json
            (group,) = search["filterGroups"]
            (only,) = group["filters"]
            rows = [
                row
                for row in sorted(self.tables[path.split("/")[3]], key=lambda row: row["updatedAt"])
                if _seconds(row["updatedAt"]) * 1000 >= int(only["value"])
            ]
            after, size = int(search.get("after", 0)), min(search["limit"], self.page)
            if after + size > self.most:
                return Answer(400, {"message": "The limit is 10,000"})
        end = after + size
        paging = {"paging": {"next": {"after": str(end)}}} if end < len(rows) else {}
        return Answer(body={"total": len(rows), "results": rows[after:end], **paging})


class FakeRest(FakeSystem):
    """Orders since a time, by a Link header."""

    def give(self, path: str, query: dict[str, str], _: Request) -> Answer:
        rows = [row for row in self.tables[path] if row.get("changed", "") >= query.get("since", "")]
        begin = int(query.get("at", 0))
        end = begin + self.page
        following = f'<{self.url}/{path}?at={end}&since={query.get("since", "")}>; rel="next"'
        return Answer(body={"items": rows[begin:end]}, headers={"Link": following} if end < len(rows) else {})


def made(count: int, **columns: Any) -> list[dict[str, Any]]:
    """Return rows with ids; a column is a value, or is called with the row's number."""
    return [
        {"id": f"r{n}", **{name: value(n) if callable(value) else value for name, value in columns.items()}}
        for n in itertools.islice(itertools.count(1), count)
    ]
