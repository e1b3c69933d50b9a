"""Our columns as a CRM's fields: name, type, length and label; only what is mapped here is ever sent."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import pandas as pd

from features.core.errors import DeliveryError, nearest
from features.settings import Settings
from serving.delivery.destination import OutgoingRecord, compute_digest

KEY = "account_id"
AS_OF = "as_of"

CrmName = Literal["salesforce", "hubspot"]
# share: 0 to 1; change: of a share, so from -1 to 1; text: up to 255 characters; long: up to 5,000.
FieldKind = Literal["share", "change", "money", "number", "instant", "flag", "text", "long"]

# Digits after the point: finer changes than these are no news to a CRM.
_DIGITS: dict[str, int] = {"share": 4, "change": 4, "money": 2, "number": 4}
_LENGTHS: dict[str, int] = {"text": 255, "long": 5_000}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")

_KINDS: dict[str, FieldKind] = {
    AS_OF: "instant",
    "value": "money",
    "value_at_risk": "money",
    "upsell_value": "money",
    "tier": "text",
    "recommendation": "text",
    "why": "long",
    "next_sale_days": "number",
    "drivers": "long",
    "sources": "text",
    "model": "text",
    "in_cohort": "flag",
}
# Of HubSpot's own; whatever else it defined itself is refused when its properties are read.
_HUBSPOTS = frozenset({"name", "domain", "phone", "address", "city", "state", "zip", "country", "industry", "website"})
_OWN = re.compile(r"hs_|hubspot_|lifecyclestage|createdate|ownername|notes_|num_|owneremail")


@dataclass(frozen=True)
class CrmField:
    """One of a CRM's fields.

    Args:
        column: Ours.
        name: The CRM's.
        kind: What it holds.
        length: Characters that it takes; 0 where it holds no text.
    """

    column: str
    name: str
    kind: FieldKind
    length: int

    @property
    def label(self) -> str:
        """As people read it."""
        return f"Garrison {self.column.replace('_', ' ')}"[:40]


def list_expected_columns(settings: Settings) -> dict[str, FieldKind]:
    """The columns of a batch, `account_id` aside, and what they hold."""
    scores: dict[str, FieldKind] = {}
    for target, wanted in settings.targets.items():
        for horizon in wanted.horizons:
            scores |= {f"{target}_{horizon}d": "share", f"{target}_{horizon}d_trend": "change"}
    return {AS_OF: _KINDS[AS_OF], **scores, **_KINDS}


def infer_kinds(frame: pd.DataFrame) -> dict[str, FieldKind]:
    """The columns of a frame, `account_id` aside, and what they hold."""
    return {str(c): _kind(str(c), frame[c]) for c in frame.columns if c != KEY}


def _kind(column: str, values: pd.Series[Any]) -> FieldKind:
    if column in _KINDS:
        return _KINDS[column]
    if re.fullmatch(r"[a-z]+_\d+d", column):
        return "share"
    if re.fullmatch(r"[a-z]+_\d+d_trend", column):
        return "change"
    if pd.api.types.is_bool_dtype(values):
        return "flag"
    if pd.api.types.is_numeric_dtype(values):
        return "number"
    return "instant" if isinstance(values.dtype, pd.DatetimeTZDtype) else "long"


def map_fields(settings: Settings, cloud: CrmName, columns: Mapping[str, FieldKind]) -> tuple[CrmField, ...]:
    """The fields that a CRM gets, in the order of the columns.

    Args:
        settings: Their `crm` says which columns, and may name fields.
        cloud: Which CRM's names.
        columns: Ours, and what they hold.

    Raises:
        DeliveryError: The settings name an unknown column, a standard field, or one field twice.
    """
    crm = settings.crm
    known = set(columns) | set(list_expected_columns(settings))
    for column in (*crm.columns, *crm.fields):
        if column not in known:
            raise DeliveryError("[crm] names a column there is not", found=column, hint=nearest(column, known))
    found = tuple(
        CrmField(c, crm.fields.get(c) or build_field_name(crm.prefix, c, cloud), kind, _LENGTHS.get(kind, 0))
        for c, kind in columns.items()
        if not crm.columns or c in crm.columns or c == AS_OF
    )
    identity = crm.salesforce.external_id if cloud == "salesforce" else crm.hubspot.id_property
    seen = {identity.lower()}
    for field in found:
        _allowed(field, cloud)
        if field.name.lower() in seen:
            raise DeliveryError(f"[crm] gives the field {field.name} to two columns", found=field.column)
        seen.add(field.name.lower())
    return found


def build_field_name(prefix: str, column: str, cloud: CrmName) -> str:
    """garrison_churn_90d in HubSpot, Garrison_Churn_90d__c in Salesforce."""
    name = prefix + column
    if cloud == "hubspot":
        return name
    return "_".join(part[:1].upper() + part[1:] for part in name.split("_") if part) + "__c"


def _allowed(field: CrmField, cloud: CrmName) -> None:
    if cloud == "salesforce":
        standard = not field.name.endswith("__c")
    else:
        standard = field.name in _HUBSPOTS or _OWN.match(field.name) is not None or field.name != field.name.lower()
    if standard:
        raise DeliveryError(
            f"{field.name} is no custom field of {'Salesforce' if cloud == 'salesforce' else 'HubSpot'}",
            found=f"crm.fields.{field.column}",
            hint="Garrison writes to fields of its own alone: name a custom one",
        )


def limit_lengths(fields: Iterable[CrmField], lengths: Mapping[str, int]) -> tuple[CrmField, ...]:
    """The same fields, no longer than the CRM's are.

    Args:
        fields: Ours.
        lengths: The CRM's, by name, in characters; 0 is without a limit.
    """
    return tuple(
        replace(field, length=min(field.length, lengths.get(field.name, 0) or field.length)) for field in fields
    )


def build_records(frame: pd.DataFrame, fields: Iterable[CrmField]) -> list[OutgoingRecord]:
    """A frame's rows as a CRM takes them, in its order.

    Numbers are rounded, texts cut to their fields; None where there is nothing. A row's digest leaves out `as_of`: that
    alone makes no row a changed one.
    """
    wanted = tuple(fields)
    columns = [list(_values(frame[field.column], field)) for field in wanted]
    names = [field.name for field in wanted]
    instant = [field.name for field in wanted if field.column == AS_OF]
    values = (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
    return [
        OutgoingRecord(str(account), row, compute_digest(row, without=instant))
        for account, row in zip(frame[KEY], values, strict=True)
    ]


def _values(column: pd.Series[Any], field: CrmField) -> Iterator[Any]:
    there = column.notna()
    for value, is_there in zip(column, there, strict=True):
        yield _value(value, field) if is_there else None


def _value(value: Any, field: CrmField) -> Any:
    if field.kind in _DIGITS:
        number = round(float(value), _DIGITS[field.kind]) + 0.0  # no negative zero
        return number if math.isfinite(number) else None
    if field.kind == "instant":
        return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03}Z"
    if field.kind == "flag":
        return bool(value)
    text = _CONTROL.sub("", str(value))
    return (text if len(text) <= field.length else text[: field.length - 1] + "…") or None
