"""HubSpot: batch upserts by a property with unique values, and the properties for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx

from features.core.errors import DeliveryError
from features.settings import Settings
from serving.delivery import crm_fields
from serving.delivery.crm_client import CrmClient, RetryPolicy, read_secret
from serving.delivery.crm_fields import CrmField
from serving.delivery.destination import SENT, FieldStatus, JobCallback, OutgoingRecord, RecordOutcome, StoppedError

_GROUP = "garrison"
_FLAGS = [{"label": "Yes", "value": "true"}, {"label": "No", "value": "false"}]
# HubSpot's type and how it shows it.
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
    """The portal that the settings name. Nothing is asked of it before it is used."""

    size = 100  # what one batch may hold

    def __init__(self, settings: Settings) -> None:
        own = settings.crm.hubspot
        self._settings, self._own = settings, own
        self._patience = RetryPolicy(settings.crm.tries, settings.crm.wait_s)
        headers = {"authorization": f"Bearer {read_secret(own.token_env)}"}
        self._http = httpx.Client(base_url=own.url, headers=headers, timeout=60)
        self.key = f"hubspot {urlsplit(own.url).netloc} {own.object}"

    def there(self) -> Mapping[str, Mapping[str, Any]]:
        """The properties of the object, by name."""
        return {p["name"]: p for p in self._said(self._ask("GET", self._properties)).get("results", ())}

    def needs(self, columns: Mapping[str, crm_fields.FieldKind], *, create: bool = False) -> list[FieldStatus]:
        """The properties for these columns, the one of the account's id first; makes the missing ones if asked."""
        wanted, there = crm_fields.map_fields(self._settings, "hubspot", columns), self.there()
        if create:
            self._create(wanted, there)
        key = self._own.id_property
        return [
            FieldStatus(key, "string, unique", key in there),
            *(FieldStatus(f.name, " as ".join(dict.fromkeys(_TYPES[f.kind])), f.name in there) for f in wanted),
        ]

    def _create(self, wanted: Sequence[CrmField], there: Mapping[str, Any]) -> None:
        """In a group of ours."""
        made = self._ask("POST", f"{self._properties}/groups", {"name": _GROUP, "label": "Garrison"})
        if made.status_code != httpx.codes.CONFLICT:  # it was there
            self._said(made)
        if self._own.id_property not in there:
            name, label = self._own.id_property, "Garrison account id"
            self._make({"name": name, "label": label, "type": "string", "fieldType": "text", "hasUniqueValue": True})
        for field in (f for f in wanted if f.name not in there):
            kind, shown = _TYPES[field.kind]
            options = {"options": _FLAGS} if field.kind == "flag" else {}
            self._make({"name": field.name, "label": field.label, "type": kind, "fieldType": shown} | options)

    def _make(self, definition: Mapping[str, Any]) -> None:
        self._said(self._ask("POST", self._properties, {**definition, "groupName": _GROUP}))

    def check(self, columns: Mapping[str, crm_fields.FieldKind]) -> None:
        """HubSpot turns a number into text unasked: so types count too."""
        wanted = crm_fields.map_fields(self._settings, "hubspot", columns)
        there = self.there()
        missing = [name for name in (self._own.id_property, *(f.name for f in wanted)) if name not in there]
        wrong = [f.name for f in wanted if f.name in there and not _fits(f, there[f.name])]
        if missing or wrong:
            raise DeliveryError(
                f"HubSpot's {self._own.object} are not ready for the scores",
                found="; ".join(
                    [f"no property {name}" for name in missing]
                    + [f"{name} is a {there[name].get('type')} or HubSpot's own" for name in wrong]
                ),
                hint="python -m serving fields --to hubspot --create, or name other properties in [crm.fields]",
            )
        self._fields = wanted

    def found(self, job: str, rows: Sequence[OutgoingRecord]) -> list[RecordOutcome]:  # noqa: ARG002  # as all destinations have it
        """There are no jobs here."""
        return [RecordOutcome("failed", "HubSpot knows no jobs")] * len(rows)

    def send(self, rows: Sequence[OutgoingRecord], job: JobCallback) -> list[RecordOutcome]:
        """One batch; where HubSpot refuses it whole for the sake of a row, halves of it, down to that row."""
        path = f"/crm/v3/objects/{self._own.object}/batch/upsert"
        answer = self._ask("POST", path, {"inputs": [self._input(i, row) for i, row in enumerate(rows)]})
        if answer.status_code not in {httpx.codes.BAD_REQUEST, httpx.codes.CONFLICT}:
            return self._outcomes(rows, self._said(answer))
        if len(rows) == 1:
            fate = RecordOutcome(
                "refused" if answer.status_code == httpx.codes.BAD_REQUEST else "failed", _message(answer)
            )
            return [fate]
        half = len(rows) // 2
        return self.send(rows[:half], job) + self.send(rows[half:], job)

    def _input(self, position: int, row: OutgoingRecord) -> dict[str, Any]:
        properties = {name: _text(value) for name, value in row.content.items()}
        return {
            "idProperty": self._own.id_property,
            "id": row.account_id,
            "objectWriteTraceId": str(position),  # comes back beside the row's result or error
            "properties": properties,
        }

    def _outcomes(self, rows: Sequence[OutgoingRecord], said: Mapping[str, Any]) -> list[RecordOutcome]:
        """By position; a row that the answer does not name may or may not have arrived, so it is sent again."""
        positions = {str(i): i for i in range(len(rows))}
        accounts = {row.account_id: i for i, row in enumerate(rows)}
        errors = said.get("errors") or []
        why = next((str(e.get("message")) for e in errors), "")
        found = [RecordOutcome("failed", f"not in HubSpot's answer. {why}".strip())] * len(rows)
        for result in said.get("results") or []:
            place = positions.get(str(result.get("objectWriteTraceId")))
            if place is None:
                place = accounts.get(str((result.get("properties") or {}).get(self._own.id_property)))
            if place is not None and result.get("id"):
                found[place] = SENT
        for error in errors:
            fate = "refused" if error.get("category") == "VALIDATION_ERROR" else "failed"
            context = error.get("context") or {}
            for place in (positions.get(str(trace)) for trace in context.get("objectWriteTraceId", ())):
                if place is not None:
                    found[place] = RecordOutcome(fate, str(error.get("message"))[:300])  # type: ignore[arg-type]  # one of both
        return found

    @property
    def _properties(self) -> str:
        return f"/crm/v3/properties/{self._own.object}"

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        return self._patience.answer(
            "HubSpot", lambda: self._http.request(method, path, json=body), (httpx.TransportError,)
        )

    def _said(self, answer: httpx.Response) -> dict[str, Any]:
        """An answer's body.

        Raises:
            StoppedError: It is a refusal: of the token, of a scope, or of what was asked.
        """
        if not answer.is_success:
            do = f"Check the token in {self._own.token_env} and its scopes"
            unauthorized = answer.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}
            there = f"HTTP {answer.status_code}: {_message(answer)}"
            raise StoppedError("HubSpot does not take the scores", found=there, hint=do if unauthorized else None)
        try:
            found: dict[str, Any] = answer.json()
        except ValueError:
            raise StoppedError("HubSpot's answer is no JSON", found=f"HTTP {answer.status_code}") from None
        return found

    def close(self) -> None:
        """Close its connections."""
        self._http.close()


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("message", ""))[:300]
    except (ValueError, AttributeError):
        return "no reason given"


def _text(value: Any) -> Any:
    """As HubSpot takes values: text, and "" to empty a property."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else value if isinstance(value, str) else repr(value)


def _fits(field: CrmField, there: Mapping[str, Any]) -> bool:
    allowed = {_TYPES[field.kind][0]} | ({"enumeration"} if field.kind == "flag" else set())
    return there.get("type") in allowed and not there.get("hubspotDefined")
