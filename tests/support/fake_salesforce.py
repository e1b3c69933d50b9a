"""Salesforce as its documents have it: the token endpoint, describe, the Tooling API, Bulk API 2.0 ingest jobs."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from typing import Any
from urllib.parse import parse_qs

from tests.support.fake_server import Answer, FakeServer, Request

EXPIRED = Answer(401, [{"errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid"}])


class FakeSalesforce(FakeServer):
    def __init__(self) -> None:
        super().__init__()
        self.tokens: set[str] = set()
        self.made = 0
        self.fields: dict[str, dict[str, Any]] = {"Name": {"name": "Name", "type": "string", "length": 255}}
        self.records: dict[str, dict[str, str]] = {}
        self.writes: Counter[str] = Counter()
        self.jobs: dict[str, dict[str, Any]] = {}
        # By account: the errors of its first tries; rows said to have succeeded without an id; rows never mentioned.
        self.errors: dict[str, list[str]] = {}
        self.without_id: set[str] = set()
        self.forgotten: set[str] = set()

    def handle(self, request: Request) -> Answer:
        if request.path == "/services/oauth2/token":
            return self._token(request)
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return EXPIRED
        path = re.sub(r"^/services/data/v\d+\.0/", "", request.path)
        if path == "sobjects/Account/describe":
            return Answer(body={"name": "Account", "fields": list(self.fields.values())})
        if path in {"tooling/sobjects/CustomField", "jobs/ingest"}:
            return (self._create if path == "jobs/ingest" else self._field)(request.json)
        match = re.fullmatch(r"jobs/ingest/(\w+)(?:/(\w+))?", path)
        if not match or match[1] not in self.jobs:
            return Answer(404, [{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}])
        return self._job(self.jobs[match[1]], match[2], request)

    def _token(self, request: Request) -> Answer:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        if form != {"grant_type": "client_credentials", "client_id": "an id", "client_secret": "a secret"}:
            return Answer(400, {"error": "invalid_client", "error_description": "invalid client credentials"})
        self.made += 1
        self.tokens = {f"token{self.made}"}
        return Answer(body={"access_token": f"token{self.made}", "instance_url": self.url, "token_type": "Bearer"})

    def _field(self, body: dict[str, Any]) -> Answer:
        name, metadata = body["FullName"].removeprefix("Account."), body["Metadata"]
        types = {"Number": "double", "DateTime": "datetime", "Text": "string", "LongTextArea": "textarea"}
        self.fields[name] = {
            "name": name,
            "type": types[metadata["type"]],
            "length": metadata.get("length", 0),
            "updateable": True,
            "metadata": metadata,
        }
        return Answer(201, {"id": f"00N{len(self.fields)}", "success": True, "errors": []})

    def _create(self, body: dict[str, Any]) -> Answer:
        assert body["contentType"] == "CSV"
        assert body["lineEnding"] == "LF"
        assert body["operation"] == "upsert"
        job = {"id": f"750{len(self.jobs):06}", "state": "Open"} | body
        self.jobs[job["id"]] = job
        return Answer(body=job)

    def _job(self, job: dict[str, Any], part: str | None, request: Request) -> Answer:
        if part == "batches":
            if job["state"] != "Open" or "csv" in job:
                return Answer(400, [{"errorCode": "INVALIDJOBSTATE", "message": "already uploaded"}])
            job["csv"] = request.body.decode()
            return Answer(201, b"")
        if part in {"successfulResults", "failedResults", "unprocessedRecords", "unprocessedrecords"}:
            # As the real one: no charset.
            return Answer(body=job[part.lower()].encode(), headers={"content-type": "text/csv"})
        if request.method == "PATCH":
            if job["state"] != "Open":
                return Answer(400, [{"errorCode": "INVALIDJOBSTATE", "message": f"job is {job['state']}"}])
            job["state"] = request.json["state"]
            if job["state"] == "UploadComplete":
                self._process(job)
        elif job["state"] in {"UploadComplete", "InProgress"}:
            job["state"] = {"UploadComplete": "InProgress", "InProgress": job["end"]}[job["state"]]
        return Answer(body={k: v for k, v in job.items() if k not in {"csv", "end"} and "esults" not in k})

    def _process(self, job: dict[str, Any]) -> None:
        rows = list(csv.reader(io.StringIO(job.get("csv", ""), newline="")))
        header, rows = rows[0], rows[1:]
        key = job["externalIdFieldName"]
        unknown = [name for name in header if name not in self.fields]
        job |= {"end": "JobComplete", "successfulresults": "", "failedresults": ""}
        if unknown or header.count(key) != 1:
            job |= {"end": "Failed", "errorMessage": f"InvalidBatch : Field name not found : {unknown or key}"}
            return
        good, bad = [], []
        for row in (dict(zip(header, values, strict=True)) for values in rows):
            account = row[key]
            if self.errors.get(account):
                bad.append(["", self.errors[account].pop(0), *row.values()])
            elif account not in self.forgotten:
                record_id = "" if account in self.without_id else f"001{account}"
                good.append([record_id, str(account not in self.records).lower(), *row.values()])
                if record_id:
                    self.writes[account] += 1
                    self._write(account, row)
        job["successfulresults"] = _text(["sf__Id", "sf__Created", *header], reversed(good))
        job["failedresults"] = _text(["sf__Id", "sf__Error", *header], reversed(bad))

    def _write(self, account: str, row: dict[str, str]) -> None:
        kept = self.records.setdefault(account, {"Name": f"Boatyard {account}"})
        for name, value in row.items():
            if value == "#N/A":
                kept.pop(name, None)
            elif value:  # an empty cell leaves the field as it is
                kept[name] = value


def _text(header: list[str], rows: Any) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([header, *rows])
    return text.getvalue()
