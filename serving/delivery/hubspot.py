"""Deliver to HubSpot: batch upserts by a property with unique values; create the properties for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx

from features.core.errors import DeliveryError
from features.settings import Settings
from serving.delivery import crm_fields
from serving.delivery.crm_client import CrmClient, read_secret
from serving.delivery.crm_fields import CrmField
from serving.delivery.destination import SENT, FieldStatus, JobCallback, OutgoingRecord, RecordOutcome, StoppedError
from serving.delivery.retries import RetryPolicy

_GROUP = "garrison"
_FLAGS = [{"label": "Yes", "value": "true"}, {"label": "No", "value": "false"}]
# HubSpot's type, and the kind of form field that shows it.
_TYPES: dict[str, tuple[str, str]] = {
    "share": ("number", "number"),
    "change": ("number", "number"),
    "money": ("number", "number"),
    "number": ("number", "number"),
    "instant": ("datetime", "date"),
    "flag": ("bool", "booleancheckbox"),
    "text": ("string", "text"),
    "long": ("string", "textarea"),
}


class HubSpotDestination(CrmClient):
    """The portal that the settings name; it is not asked anything before it is used."""

    size = 100  # records that one batch may hold

    def __init__(self, settings: Settings) -> None:
        own = settings.crm.hubspot
        self._settings, self._own = settings, own
        self._retries = RetryPolicy(settings.crm.tries, settings.crm.wait_s)
        headers = {"authorization": f"Bearer {read_secret(own.token_env)}"}
        self._http = httpx.Client(base_url=own.url, headers=headers, timeout=60)
        self.key = f"hubspot {urlsplit(own.url).netloc} {own.object}"

    def read_properties(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the properties of the object, by name."""
        return {p["name"]: p for p in self._parse(self._request("GET", self._properties)).get("results", ())}

    def list_fields(self, columns: Mapping[str, crm_fields.FieldKind], *, create: bool = False) -> list[FieldStatus]:
        """Return the properties for these columns, that of the account's id first; create the missing ones if asked."""
        wanted, existing = crm_fields.map_fields(self._settings, "hubspot", columns), self.read_properties()
        if create:
            self._create(wanted, existing)
        key = self._own.id_property
        return [
            FieldStatus(key, "string, unique", key in existing),
            *(FieldStatus(f.name, " as ".join(dict.fromkeys(_TYPES[f.kind])), f.name in existing) for f in wanted),
        ]

    def _create(self, wanted: Sequence[CrmField], existing: Mapping[str, Any]) -> None:
        """Create the properties that don't exist, in a group of Garrison's."""
        created = self._request("POST", f"{self._properties}/groups", {"name": _GROUP, "label": "Garrison"})
        if created.status_code != httpx.codes.CONFLICT:  # the group existed
            self._parse(created)
        if self._own.id_property not in existing:
            name, label = self._own.id_property, "Garrison account id"
            self._create_property(
                {"name": name, "label": label, "type": "string", "fieldType": "text", "hasUniqueValue": True}
            )
        for field in (f for f in wanted if f.name not in existing):
            kind, shown = _TYPES[field.kind]
            options = {"options": _FLAGS} if field.kind == "flag" else {}
            self._create_property(
                {"name": field.name, "label": field.label, "type": kind, "fieldType": shown} | options
            )

    def _create_property(self, definition: Mapping[str, Any]) -> None:
        self._parse(self._request("POST", self._properties, {**definition, "groupName": _GROUP}))

    def check_fields(self, columns: Mapping[str, crm_fields.FieldKind]) -> None:
        """Check the properties and their types, since HubSpot turns a number into text without an error."""
        wanted = crm_fields.map_fields(self._settings, "hubspot", columns)
        existing = self.read_properties()
        missing = [name for name in (self._own.id_property, *(f.name for f in wanted)) if name not in existing]
        wrong = [f.name for f in wanted if f.name in existing and not _fits(f, existing[f.name])]
        if missing or wrong:
            raise DeliveryError(
                f"HubSpot's {self._own.object} are not ready for the scores",
                found="; ".join(
                    [f"no property {name}" for name in missing]
                    + [f"{name} is a {existing[name].get('type')} or HubSpot's own" for name in wrong]
                ),
                hint="python -m serving fields --to hubspot --create, or name other properties in [crm.fields]",
            )
        self._fields = wanted

    def recover_job(
        self,
        job: str,  # noqa: ARG002  # the protocol's signature
        records: Sequence[OutgoingRecord],
    ) -> list[RecordOutcome]:
        """Return a failure each: HubSpot has no jobs."""
        return [RecordOutcome("failed", "HubSpot has no jobs")] * len(records)

    def send(self, records: Sequence[OutgoingRecord], on_job: JobCallback) -> list[RecordOutcome]:
        """Send one batch; where HubSpot refuses it because of one record, send halves of it, down to that record."""
        path = f"/crm/v3/objects/{self._own.object}/batch/upsert"
        response = self._request("POST", path, {"inputs": [self._input(i, r) for i, r in enumerate(records)]})
        is_refused = response.status_code == httpx.codes.BAD_REQUEST
        if not is_refused and response.status_code != httpx.codes.CONFLICT:
            return self._outcomes(records, self._parse(response))
        if len(records) == 1:
            return [RecordOutcome("refused" if is_refused else "failed", _message(response))]
        half = len(records) // 2
        return self.send(records[:half], on_job) + self.send(records[half:], on_job)

    def _input(self, position: int, record: OutgoingRecord) -> dict[str, Any]:
        properties = {name: _text(value) for name, value in record.content.items()}
        return {
            "idProperty": self._own.id_property,
            "id": record.account_id,
            "objectWriteTraceId": str(position),  # comes back beside the record's result or error
            "properties": properties,
        }

    def _outcomes(self, records: Sequence[OutgoingRecord], response: Mapping[str, Any]) -> list[RecordOutcome]:
        """Return the outcomes by position; a record that the response omits may not have arrived and is sent again."""
        positions = {str(i): i for i in range(len(records))}
        accounts = {record.account_id: i for i, record in enumerate(records)}
        errors = response.get("errors") or []
        first_error = next((str(error.get("message")) for error in errors), "")
        outcomes = [RecordOutcome("failed", f"not in HubSpot's answer. {first_error}".strip())] * len(records)
        for result in response.get("results") or []:
            position = positions.get(str(result.get("objectWriteTraceId")))
            if position is None:
                position = accounts.get(str((result.get("properties") or {}).get(self._own.id_property)))
            if position is not None and result.get("id"):
                outcomes[position] = SENT
        for error in errors:
            outcome = _read_error(error)
            for trace in (error.get("context") or {}).get("objectWriteTraceId", ()):
                if str(trace) in positions:
                    outcomes[positions[str(trace)]] = outcome
        return outcomes

    @property
    def _properties(self) -> str:
        return f"/crm/v3/properties/{self._own.object}"

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        return self._retries.request(
            "HubSpot", lambda: self._http.request(method, path, json=body), (httpx.TransportError,)
        )

    def _parse(self, response: httpx.Response) -> dict[str, Any]:
        """Return a response's body.

        Raises:
            StoppedError: HubSpot refuses the token, a scope or the request, or the body is no JSON.
        """
        if not response.is_success:
            is_unauthorized = response.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}
            raise StoppedError(
                "HubSpot does not take the scores",
                found=f"HTTP {response.status_code}: {_message(response)}",
                hint=f"Check the token in {self._own.token_env} and its scopes" if is_unauthorized else None,
            )
        try:
            body: dict[str, Any] = response.json()
        except ValueError:
            raise StoppedError("HubSpot's answer is no JSON", found=f"HTTP {response.status_code}") from None
        return body

    def close(self) -> None:
        """Close its connections."""
        self._http.close()


def _read_error(error: Mapping[str, Any]) -> RecordOutcome:
    is_refused = error.get("category") == "VALIDATION_ERROR"
    return RecordOutcome("refused" if is_refused else "failed", str(error.get("message"))[:300])


def _message(response: httpx.Response) -> str:
    try:
        return str(response.json().get("message", ""))[:300]
    except (ValueError, AttributeError):
        return "no reason given"


def _text(value: Any) -> Any:
    """Return a value as HubSpot takes it: text, and "" to empty a property."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else value if isinstance(value, str) else repr(value)


def _fits(field: CrmField, existing: Mapping[str, Any]) -> bool:
    allowed = {_TYPES[field.kind][0]} | ({"enumeration"} if field.kind == "flag" else set())
    return existing.get("type") in allowed and not existing.get("hubspotDefined")
