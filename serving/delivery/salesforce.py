"""Deliver to Salesforce: Bulk API 2.0 upserts by an external id; create the custom fields for them."""

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
from serving.delivery.crm_client import CrmClient, read_secret
from serving.delivery.crm_fields import CrmField
from serving.delivery.destination import SENT, FieldStatus, JobCallback, OutgoingRecord, RecordOutcome, StoppedError
from serving.delivery.retries import RetryPolicy
from serving.delivery.salesforce_jobs import IngestJobs
from serving.delivery.salesforce_session import SalesforceSession

# Seconds that a job may take, and at most between two requests for its state.
JOB_TIMEOUT, _LONGEST_PAUSE = 7_200, 30.0
# Errors of a row that no other try mends, by the first word of sf__Error.
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
    "flag": {"type": "Text", "length": 5},  # a checkbox has no value for "unknown"
    "text": {"type": "Text", "length": 255},
    "long": {"type": "LongTextArea", "length": 5_000, "visibleLines": 3},
}


class SalesforceDestination(CrmClient):
    """The org that the settings name; it is not asked anything before it is used."""

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
        self._first_pause = min(settings.crm.wait_s, _LONGEST_PAUSE)
        self._session = SalesforceSession(self._url, settings, RetryPolicy(settings.crm.tries, settings.crm.wait_s))
        self.key = f"salesforce {urlsplit(self._url).netloc} {own.object}"

    @cached_property
    def _client(self) -> Any:
        from simple_salesforce.api import Salesforce as Client

        self._session.login()
        return Client(instance_url=self._url, session_id="in our session", session=self._session)

    @cached_property
    def _jobs(self) -> IngestJobs:
        return IngestJobs(self._client.bulk2_url, self._session)

    def read_fields(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the fields of the object that the API's user may see, by name."""
        with _translate_errors():
            description = self._client.restful(f"sobjects/{self._own.object}/describe") or {}
        return {field["name"]: field for field in description.get("fields", ())}

    def list_fields(self, columns: Mapping[str, crm_fields.FieldKind], *, create: bool = False) -> list[FieldStatus]:
        """Return the fields for these columns, that of the account's id first; create the missing ones if asked."""
        wanted, existing = crm_fields.map_fields(self._settings, "salesforce", columns), self.read_fields()
        if create:
            self._create(wanted, existing)
        key = self._own.external_id
        return [
            FieldStatus(key, "Text(255), external id, unique", key in existing),
            *(FieldStatus(field.name, _type(field), field.name in existing) for field in wanted),
        ]

    def _create(self, wanted: Sequence[CrmField], existing: Mapping[str, Any]) -> None:
        """Create the custom fields that don't exist, through the Tooling API."""
        identity = {"type": "Text", "length": 255, "externalId": True, "unique": True, "caseSensitive": True}
        metadata = {self._own.external_id: identity | {"label": "Garrison account id"}} | {
            field.name: _METADATA[field.kind] | {"label": field.label} for field in wanted
        }
        for name in (n for n in metadata if n not in existing):
            body = {"FullName": f"{self._own.object}.{name}", "Metadata": metadata[name] | {"required": False}}
            with _translate_errors():
                self._client.toolingexecute("sobjects/CustomField", method="POST", data=body)

    def check_fields(self, columns: Mapping[str, crm_fields.FieldKind]) -> None:
        """Check the fields and their types, and keep how long each is."""
        wanted = crm_fields.map_fields(self._settings, "salesforce", columns)
        existing = self.read_fields()
        missing = [name for name in (self._own.external_id, *(f.name for f in wanted)) if name not in existing]
        wrong = [f.name for f in wanted if f.name in existing and not _fits(f, existing[f.name])]
        if missing or wrong:
            raise DeliveryError(
                f"Salesforce's {self._own.object} is not ready for the scores",
                found="; ".join(
                    [f"no field {name}" for name in missing]
                    + [f"{name} is a {existing[name].get('type')} or can't be written to" for name in wrong]
                ),
                hint="python -m serving fields --to salesforce --create, and let the API's user see them",
            )
        lengths = {name: int(field.get("length") or 0) for name, field in existing.items()}
        self._fields = crm_fields.limit_lengths(wanted, lengths)

    def send(self, records: Sequence[OutgoingRecord], on_job: JobCallback) -> list[RecordOutcome]:
        """Send records as one job: create it, note it, fill it, close it, and wait for it."""
        with _translate_errors():
            job = self._jobs.create_upsert(self._own.object, self._own.external_id)
            on_job(job)
            try:
                self._jobs.upload(job, _csv(records, self._own.external_id))
                self._close_job(job)
            except _salesforce_error() as error:
                self._abort_job(job)
                return [RecordOutcome("failed", f"the upload failed: {_reason(error)}")] * len(records)
            return self._outcomes(job, records)

    def recover_job(self, job: str, records: Sequence[OutgoingRecord]) -> list[RecordOutcome]:
        """Return the results of a job whose sender died; a job that was never closed is aborted, and took nothing."""
        from simple_salesforce.exceptions import SalesforceResourceNotFound

        with _translate_errors():
            try:
                state = self._jobs.read_state(job)["state"]
            except SalesforceResourceNotFound:
                return [RecordOutcome("failed", "its job is gone")] * len(records)
            if state == "Open":
                self._abort_job(job)
                return [RecordOutcome("failed", "its job was cut off")] * len(records)
            return self._outcomes(job, records)

    def _close_job(self, job: str) -> None:
        try:
            self._jobs.set_state(job, "UploadComplete")
        except _salesforce_error():
            # The answer to a first try may have been lost: then the job is closed already.
            if self._jobs.read_state(job)["state"] == "Open":
                raise

    def _abort_job(self, job: str) -> None:
        try:
            self._jobs.set_state(job, "Aborted")
        except _salesforce_error():
            return  # Salesforce removes it after seven days, and without data it does nothing

    def _outcomes(self, job: str, records: Sequence[OutgoingRecord]) -> list[RecordOutcome]:
        """Return each record's outcome; a job's results come in any order, with the external id beside each."""
        state = self._wait_for_job(job)
        key = self._own.external_id
        errors = {
            row.get(key): row.get("sf__Error") or "no reason given"
            for row in self._jobs.read_results(job, "failedResults")
        }
        # A row without a record's id was not written, whatever list it stands in.
        taken = {row.get(key) for row in self._jobs.read_results(job, "successfulResults") if row.get("sf__Id")}
        unprocessed = state.get("errorMessage") or f"not processed: the job ended as {state.get('state')}"
        return [
            _read_error(errors[record.account_id])
            if record.account_id in errors
            else SENT
            if record.account_id in taken
            else RecordOutcome("failed", str(unprocessed))
            for record in records
        ]

    def _wait_for_job(self, job: str) -> Mapping[str, Any]:
        deadline, pause = time.monotonic() + JOB_TIMEOUT, self._first_pause
        while time.monotonic() < deadline:
            state = self._jobs.read_state(job)
            if state["state"] in {"JobComplete", "Failed", "Aborted"}:
                return state
            time.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 1.5)
        raise StoppedError(f"Salesforce's job {job} takes too long", hint="Run it again later: the job is found again")

    def close(self) -> None:
        """Close the session."""
        self._session.close()


def _csv(records: Sequence[OutgoingRecord], external_id: str) -> str:
    """Return records as CSV: the external id once; #N/A empties a field, where an empty cell would change nothing."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([external_id, *records[0].content])
    for record in records:
        writer.writerow([record.account_id, *("#N/A" if v is None else _cell(v) for v in record.content.values())])
    return text.getvalue()


def _cell(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _type(field: CrmField) -> str:
    metadata = _METADATA[field.kind]
    sizes = [str(metadata[key]) for key in ("precision", "scale", "length") if key in metadata]
    return metadata["type"] + (f"({', '.join(sizes)})" if sizes else "")


def _fits(field: CrmField, existing: Mapping[str, Any]) -> bool:
    return existing.get("type") in _TYPES.get(field.kind, _NUMBERS) and bool(existing.get("updateable", True))


def _read_error(error: str) -> RecordOutcome:
    return RecordOutcome("refused" if error.partition(":")[0].strip() in _FINAL else "failed", error)


def _salesforce_error() -> type[Exception]:
    from simple_salesforce.exceptions import SalesforceError

    return SalesforceError


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Raise Salesforce's errors as a `StoppedError`: one that is not about a row stops the delivery."""
    try:
        yield
    except _salesforce_error() as error:
        raise StoppedError("Salesforce does not take the scores", found=_reason(error)) from error


def _reason(error: Exception) -> str:
    """Return an error's code and message on one line, never the rows that were sent."""
    content = getattr(error, "content", None)
    if isinstance(content, list) and content and isinstance(content[0], dict):
        return f"{content[0].get('errorCode', '')}: {content[0].get('message', '')}"[:300]
    status = getattr(error, "status", None)
    return f"HTTP {status}" if status else (str(error).splitlines() or [type(error).__name__])[0][:300]
