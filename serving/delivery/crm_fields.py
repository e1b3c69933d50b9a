"""Map score columns to a CRM's fields: name, kind, length and label; only what is mapped here is ever sent."""

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

# Digits after the point: a finer change is not worth sending.
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
# The ends of a score's interval are sent only where `crm.columns` names them: a CRM that was set up without fields for
# them goes on as it is.
_ASKED_FOR = re.compile(r"[a-z]+_\d+d_(low|high)")
# HubSpot's own properties; its other own ones are refused when its properties are read.
_HUBSPOTS = frozenset({"name", "domain", "phone", "address", "city", "state", "zip", "country", "industry", "website"})
_OWN = re.compile(r"hs_|hubspot_|lifecyclestage|createdate|ownername|notes_|num_|owneremail")


@dataclass(frozen=True)
class CrmField:
    """One of a CRM's fields.

    Args:
        column: The score column that fills it.
        name: In the CRM.
        kind: What it holds.
        length: Characters that it takes; 0 where it holds no text.
    """

    column: str
    name: str
    kind: FieldKind
    length: int

    @property
    def label(self) -> str:
        """Return its label for people."""
        return f"Garrison {self.column.replace('_', ' ')}"[:40]


def list_expected_columns(settings: Settings) -> dict[str, FieldKind]:
    """Return the kinds of the columns of a batch, without `account_id`."""
    scores: dict[str, FieldKind] = {}
    for target, wanted in settings.targets.items():
        for horizon in wanted.horizons:
            name = f"{target}_{horizon}d"
            scores |= {name: "share", f"{name}_low": "share", f"{name}_high": "share", f"{name}_trend": "change"}
    return {AS_OF: _KINDS[AS_OF], **scores, **_KINDS}


def infer_kinds(frame: pd.DataFrame) -> dict[str, FieldKind]:
    """Return the kinds of the columns of a frame, without `account_id`."""
    return {str(c): _kind(str(c), frame[c]) for c in frame.columns if c != KEY}


def _kind(column: str, values: pd.Series[Any]) -> FieldKind:
    if column in _KINDS:
        return _KINDS[column]
    if re.fullmatch(r"[a-z]+_\d+d(_low|_high)?", column):
        return "share"
    if re.fullmatch(r"[a-z]+_\d+d_trend", column):
        return "change"
    if pd.api.types.is_bool_dtype(values):
        return "flag"
    if pd.api.types.is_numeric_dtype(values):
        return "number"
    return "instant" if isinstance(values.dtype, pd.DatetimeTZDtype) else "long"


def map_fields(settings: Settings, crm_name: CrmName, columns: Mapping[str, FieldKind]) -> tuple[CrmField, ...]:
    """Return the fields that a CRM gets, in the order of the columns.

    Args:
        settings: Their `crm` says which columns, and may name fields.
        crm_name: Which CRM.
        columns: Kinds by score column.

    Raises:
        DeliveryError: The settings name an unknown column, a standard field, or one field twice.
    """
    crm = settings.crm
    known = set(columns) | set(list_expected_columns(settings))
    for column in (*crm.columns, *crm.fields):
        if column not in known:
            raise DeliveryError("[crm] names an unknown column", found=column, hint=nearest(column, known))
    mapped = tuple(
        CrmField(c, crm.fields.get(c) or build_field_name(crm.prefix, c, crm_name), kind, _LENGTHS.get(kind, 0))
        for c, kind in columns.items()
        if c in crm.columns or c == AS_OF or not (crm.columns or _ASKED_FOR.fullmatch(c))
    )
    identity = crm.salesforce.external_id if crm_name == "salesforce" else crm.hubspot.id_property
    seen = {identity.lower()}
    for field in mapped:
        _check_custom(field, crm_name)
        if field.name.lower() in seen:
            raise DeliveryError(f"[crm] gives the field {field.name} to two columns", found=field.column)
        seen.add(field.name.lower())
    return mapped


def build_field_name(prefix: str, column: str, crm_name: CrmName) -> str:
    """Build a field's name: garrison_churn_90d in HubSpot, Garrison_Churn_90d__c in Salesforce."""
    name = prefix + column
    if crm_name == "hubspot":
        return name
    return "_".join(part[:1].upper() + part[1:] for part in name.split("_") if part) + "__c"


def _check_custom(field: CrmField, crm_name: CrmName) -> None:
    if crm_name == "salesforce":
        standard = not field.name.endswith("__c")
    else:
        standard = field.name in _HUBSPOTS or _OWN.match(field.name) is not None or field.name != field.name.lower()
    if standard:
        raise DeliveryError(
            f"{field.name} is no custom field of {'Salesforce' if crm_name == 'salesforce' else 'HubSpot'}",
            found=f"crm.fields.{field.column}",
            hint="Garrison writes to custom fields only: name one of these",
        )


def limit_lengths(fields: Iterable[CrmField], lengths: Mapping[str, int]) -> tuple[CrmField, ...]:
    """Return the fields with no more characters than the CRM's fields take.

    Args:
        fields: As mapped.
        lengths: Of the CRM's fields, by name, in characters; 0 is without a limit.
    """
    return tuple(
        replace(field, length=min(field.length, lengths.get(field.name, 0) or field.length)) for field in fields
    )


def build_records(frame: pd.DataFrame, fields: Iterable[CrmField]) -> list[OutgoingRecord]:
    """Build a record of each row of a frame, in its order.

    Numbers are rounded, texts cut to their fields; None where there is no value. A record's digest leaves `as_of` out,
    since a new `as_of` alone is no change.
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
    for value, is_known in zip(column, column.notna(), strict=True):
        yield _value(value, field) if is_known else None


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
