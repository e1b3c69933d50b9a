"""Call the ingest jobs of Salesforce's Bulk API 2.0.

simple-salesforce's own upsert returns a job's id only once the job is over, too late to note it before the upload; so
its public `call_salesforce` makes each request here.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import Any, Literal

import requests

_JSON, _CSV = "application/json", "text/csv; charset=UTF-8"


class IngestJobs:
    """The ingest jobs of one org. Every method raises simple-salesforce's `SalesforceError` where it is refused.

    Args:
        url: Of the jobs, with a slash at its end, such as simple-salesforce's `bulk2_url`.
        session: Signs the requests.
    """

    def __init__(self, url: str, session: requests.Session) -> None:
        self._url, self._session = f"{url}ingest", session

    def create_upsert(self, object_name: str, external_id: str) -> str:
        """Create a job that upserts by an external id, and return its id."""
        body = {"operation": "upsert", "object": object_name, "externalIdFieldName": external_id}
        body |= {"contentType": "CSV", "columnDelimiter": "COMMA", "lineEnding": "LF"}
        return str(self._call("POST", "", json.dumps(body)).json()["id"])

    def upload(self, job: str, text: str) -> None:
        """Upload a job's rows as CSV."""
        self._call("PUT", f"/{job}/batches", text.encode(), content_type=_CSV)

    def set_state(self, job: str, state: Literal["UploadComplete", "Aborted"]) -> None:
        """Close a job, so that its rows are processed, or abort it."""
        self._call("PATCH", f"/{job}", json.dumps({"state": state}))

    def read_state(self, job: str) -> Mapping[str, Any]:
        """Return what is known of a job: its `state`, and its `errorMessage` where it failed."""
        state: Mapping[str, Any] = self._call("GET", f"/{job}").json()
        return state

    def read_results(self, job: str, kind: Literal["successfulResults", "failedResults"]) -> list[dict[str, str]]:
        """Return rows of a job that is over, with `sf__Id` or `sf__Error` added to each."""
        text = self._call("GET", f"/{job}/{kind}", accept=_CSV).text
        return list(csv.DictReader(io.StringIO(text, newline="")))

    def _call(
        self, method: str, path: str, data: str | bytes | None = None, *, content_type: str = _JSON, accept: str = _JSON
    ) -> requests.Response:
        from simple_salesforce.util import call_salesforce

        headers = {"Content-Type": content_type, "Accept": accept}
        return call_salesforce(self._url + path, method, self._session, headers, data=data)
