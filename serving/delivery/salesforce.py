"""Salesforce: Bulk API 2.0 upserts by external id, through simple-salesforce, and the custom fields for them."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from features.core.errors import DeliveryError
from features.settings import Settings
from serving.delivery import crm_fields
from serving.delivery.crm_client import CrmClient, RetryPolicy, read_secret
from serving.delivery.crm_fields import CrmField
from serving.delivery.destination import SENT, FieldStatus, JobCallback, OutgoingRecord, RecordOutcome, StoppedError
from serving.delivery.salesforce_session import SalesforceSession

# Seconds that a job may take, and between two looks at most.
PATIENCE, _LOOK = 7_200, 30.0
# Errors of a row that no second try mends, by the first word of sf__Error.
_FINAL = frozenset(
    {
        "REQUIRED_FIELD_MISSING",
        "FIELD_CUSTOM_VALIDATION_EXCEPTION",
        "FIELD_INTEGRITY_EXCEPTION",
        "INVALID_FIELD",
        "INVALID_FIELD_FOR_INSERT_UPDATE",
        "INVALID_TYPE_ON_FIELD_IN_RECORD",
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
        "STRING_TOO_LONG",
        "NUMBER_OUTSIDE_VALID_RANGE",
        "DUPLICATE_VALUE",
        "DUPLICATE_EXTERNAL_ID",
        "DUPLICATES_DETECTED",
        "INSUFFICIENT_ACCESS_OR_READONLY",
        "MALFORMED_ID",
    }
)
_TYPES = {
    "text": {"string", "textarea"},
    "long": {"string", "textarea"},
    "instant": {"datetime"},
    "flag": {"string", "boolean"},
}
_NUMBERS = {"double", "currency", "percent"}
_METADATA: dict[str, dict[str, Any]] = {
    "share": {"type": "Number", "precision": 5, "scale": 4},
    "change": {"type": "Number", "precision": 5, "scale": 4},
    "money": {"type": "Number", "precision": 18, "scale": 2},
    "number": {"type": "Number", "precision": 18, "scale": 4},
    "instant": {"type": "DateTime"},
    "flag": {"type": "Text", "length": 5},  # a checkbox can't say that nothing is known
    "text": {"type": "Text", "length": 255},
    "long": {"type": "LongTextArea", "length": 5_000, "visibleLines": 3},
}


class SalesforceDestination(CrmClient):
    """The org that the settings name. Nothing is asked of it before it is used."""

    size = 10_000

    def __init__(self, settings: Settings) -> None:
        own = settings.crm.salesforce
        if own.instance_url is None:
            raise DeliveryError(
                "the settings do not say where Salesforce is",
                hint='Add [crm.salesforce] instance_url = "https://….my.salesforce.com"',
            )
        for name in (own.token_env,) if own.token_env else (own.client_id_env, own.client_secret_env):
            read_secret(name)
        self._settings, self._own, self._url = settings, own, own.instance_url
        self._patience = RetryPolicy(settings.crm.tries, settings.crm.wait_s)
        self._session = SalesforceSession(self._url, settings, self._patience)
        self.key = f"salesforce {urlsplit(self._url).netloc} {own.object}"

    @cached_property
    def _client(self) -> Any:
        from simple_salesforce.api import Salesforce as Client

        self._session.login()
        return Client(instance_url=self._url, session_id="in our session", session=self._session)

    @cached_property
    def _bulk(self) -> Any:
        from simple_salesforce.bulk2 import _Bulk2Client

        # The public upsert keeps its job's id to itself until all is over.
        client = self._client
        return _Bulk2Client(self._own.object, client.bulk2_url, dict(client.headers), self._session)

    def there(self) -> Mapping[str, Mapping[str, Any]]:
        """The fields of the object that we may see, by name."""
        with _explained():
            found = self._client.restful(f"sobjects/{self._own.object}/describe") or {}
        return {field["name"]: field for field in found.get("fields", ())}

    def needs(self, columns: Mapping[str, crm_fields.FieldKind], *, create: bool = False) -> list[FieldStatus]:
        """The custom fields for these columns, the one of the account's id first; makes the missing ones if asked."""
        wanted, there = crm_fields.map_fields(self._settings, "salesforce", columns), self.there()
        if create:
            self._create(wanted, there)
        key = self._own.external_id
        return [
            FieldStatus(key, "Text(255), external id, unique", key in there),
            *(FieldStatus(field.name, _type(field), field.name in there) for field in wanted),
        ]

    def _create(self, wanted: Sequence[CrmField], there: Mapping[str, Any]) -> None:
        """By the Tooling API."""
        identity = {"type": "Text", "length": 255, "externalId": True, "unique": True, "caseSensitive": True}
        metadata = {self._own.external_id: identity | {"label": "Garrison account id"}} | {
            field.name: _METADATA[field.kind] | {"label": field.label} for field in wanted
        }
        for name in (n for n in metadata if n not in there):
            body = {"FullName": f"{self._own.object}.{name}", "Metadata": metadata[name] | {"required": False}}
            with _explained():
                self._client.toolingexecute("sobjects/CustomField", method="POST", data=body)

    def check(self, columns: Mapping[str, crm_fields.FieldKind]) -> None:
        """How long the fields are is kept as well."""
        wanted = crm_fields.map_fields(self._settings, "salesforce", columns)
        there = self.there()
        missing = [name for name in (self._own.external_id, *(f.name for f in wanted)) if name not in there]
        wrong = [f.name for f in wanted if f.name in there and not _fits(f, there[f.name])]
        if missing or wrong:
            raise DeliveryError(
                f"Salesforce's {self._own.object} is not ready for the scores",
                found="; ".join(
                    [f"no field {name}" for name in missing]
                    + [f"{name} is a {there[name].get('type')} or can't be written to" for name in wrong]
                ),
                hint="python -m serving fields --to salesforce --create, and let the API's user see them",
            )
        self._fields = crm_fields.limit_lengths(
            wanted, {name: int(field.get("length") or 0) for name, field in there.items()}
        )

    def send(self, rows: Sequence[OutgoingRecord], job: JobCallback) -> list[RecordOutcome]:
        """One job: made, noted, filled, closed, waited for."""
        with _explained():
            made = self._bulk.create_job("upsert", external_id_field=self._own.external_id)
            job(made["id"])
            try:
                self._bulk.upload_job_data(made["id"], _csv(rows, self._own.external_id))
                self._close(made["id"])
            except _errors() as error:
                self._abort(made["id"])
                return [RecordOutcome("failed", f"the upload failed: {_reason(error)}")] * len(rows)
            return self._outcomes(made["id"], rows)

    def found(self, job: str, rows: Sequence[OutgoingRecord]) -> list[RecordOutcome]:
        """A job that was never closed is given up, and none of its rows was taken; of any other, the results count."""
        from simple_salesforce.exceptions import SalesforceResourceNotFound

        with _explained():
            try:
                state = self._bulk.get_job(job, False)["state"]
            except SalesforceResourceNotFound:
                return [RecordOutcome("failed", "its job is gone")] * len(rows)
            if state == "Open":
                self._abort(job)
                return [RecordOutcome("failed", "its job was cut off")] * len(rows)
            return self._outcomes(job, rows)

    def _close(self, job: str) -> None:
        try:
            self._bulk.close_job(job)
        except _errors():
            # The answer to a first try may have been lost: then it is closed already.
            if self._bulk.get_job(job, False)["state"] == "Open":
                raise

    def _abort(self, job: str) -> None:
        try:
            self._bulk.abort_job(job, False)
        except _errors():
            return  # Salesforce removes it after seven days, and without data it does nothing

    def _outcomes(self, job: str, rows: Sequence[OutgoingRecord]) -> list[RecordOutcome]:
        """Row by row from the job's results; they come in any order, with the external id beside each."""
        info = self._wait(job)
        key = self._own.external_id
        failed = {
            row.get(key): row.get("sf__Error") or "no reason given" for row in self._results(job, "failedResults")
        }
        # A row without a record's id was not written, whatever list it stands in.
        taken = {row.get(key) for row in self._results(job, "successfulResults") if row.get("sf__Id")}
        why = info.get("errorMessage") or f"not processed: the job ended as {info.get('state')}"
        return [
            _refusal(failed[row.account_id])
            if row.account_id in failed
            else SENT
            if row.account_id in taken
            else RecordOutcome("failed", str(why))
            for row in rows
        ]

    def _wait(self, job: str) -> Mapping[str, Any]:
        deadline, wait = time.monotonic() + PATIENCE, min(self._patience.first, _LOOK)
        while time.monotonic() < deadline:
            info: Mapping[str, Any] = self._bulk.get_job(job, False)
            if info["state"] in {"JobComplete", "Failed", "Aborted"}:
                return info
            self._patience.sleep(wait)
            wait = min(_LOOK, wait * 1.5)
        raise StoppedError(f"Salesforce's job {job} takes too long", hint="Run it again later: the job is found again")

    def _results(self, job: str, kind: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self._bulk.get_ingest_results(job, kind), newline="")))

    def close(self) -> None:
        """Close the session."""
        self._session.close()


def _csv(rows: Sequence[OutgoingRecord], external_id: str) -> str:
    """The external id once, then our fields; #N/A empties a field, where an empty cell would leave it as it is."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([external_id, *rows[0].content])
    for row in rows:
        writer.writerow([row.account_id, *("#N/A" if v is None else _cell(v) for v in row.content.values())])
    return text.getvalue()


def _cell(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _type(field: CrmField) -> str:
    metadata = _METADATA[field.kind]
    sizes = [str(metadata[key]) for key in ("precision", "scale", "length") if key in metadata]
    return metadata["type"] + (f"({', '.join(sizes)})" if sizes else "")


def _fits(field: CrmField, there: Mapping[str, Any]) -> bool:
    return there.get("type") in _TYPES.get(field.kind, _NUMBERS) and bool(there.get("updateable", True))


def _refusal(error: str) -> RecordOutcome:
    return RecordOutcome("refused" if error.partition(":")[0].strip() in _FINAL else "failed", error)


def _errors() -> tuple[type[Exception], ...]:
    from simple_salesforce.exceptions import SalesforceError, SalesforceOperationError

    return SalesforceError, SalesforceOperationError


@contextmanager
def _explained() -> Iterator[None]:
    """Salesforce's errors in our words; one that is not about a row stops the delivery."""
    try:
        yield
    except _errors() as error:
        raise StoppedError("Salesforce does not take the scores", found=_reason(error)) from error


def _reason(error: BaseException) -> str:
    """A code and a message, on one line; never the rows that were sent."""
    content = getattr(error, "content", None)
    if isinstance(content, list) and content and isinstance(content[0], dict):
        return f"{content[0].get('errorCode', '')}: {content[0].get('message', '')}"[:300]
    status = getattr(error, "status", None)
    return f"HTTP {status}" if status else (str(error).splitlines() or [type(error).__name__])[0][:300]
