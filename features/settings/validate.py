"""Check the settings of a company for contradictions between their sections."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import get_args

from features.core.contract import TABLES, Column, describe_kind
from features.core.errors import nearest
from features.settings import Churn, Settings, TableMap, Upsell, Value


def find_problems(settings: Settings) -> Iterator[str]:
    """Yield one sentence for each contradiction, naming its key."""
    if "accounts" not in settings.tables:
        yield "tables.accounts is missing: every company needs it"
    for name, table in settings.tables.items():
        if name not in TABLES:
            yield f"tables.{name} is not a table of the contract. {nearest(name, TABLES)}"
            continue
        if table.source is not None and table.source not in settings.sources:
            hint = nearest(table.source, settings.sources)
            yield f"tables.{name}.source {table.source!r} is not in [sources]. {hint}"
        if table.system is not None and name in {"accounts", "identities", "rates"}:
            yield f"tables.{name}.system can't be set: it has no account_id of another system"
        elif table.system is not None and "identities" not in settings.tables:
            yield f"tables.{name}.system is set, but there is no [tables.identities] to look it up in"
        if table.version is not None and not TABLES[name].key and "event_id" not in table.columns:
            maps = "map event_id" if "event_id" in TABLES[name].columns else "its rows have no key"
            yield f"tables.{name}.version is set, but nothing says which rows are versions of one: {maps}"
        yield from _match(name, table, settings)
        yield from _columns(name, table)
    yield from _targets(settings)
    yield from _others(settings)


def _others(settings: Settings) -> Iterator[str]:
    """Yield one sentence for each value that contradicts another, or that no later step could use."""
    if not re.fullmatch(r"[A-Za-z]{3}", settings.company.currency):
        yield f"company.currency: {settings.company.currency!r} is not a code of three letters such as EUR (ISO 4217)"
    if settings.state_url and not re.match(r"(sqlite|postgresql)(\+\w+)?://", settings.state_url):
        yield "state_url begins neither with sqlite:/// nor with postgresql://"
    for name, source in settings.sources.items():
        if source.path is not None and not source.path.strip():
            yield f"sources.{name}.path is empty: name a file, a folder or a glob"
    training = settings.training
    for later, earlier in (("test_from", "first"), ("last", "first"), ("last", "test_from")):
        after, before = getattr(training, later), getattr(training, earlier)
        if after and before and after < before:
            yield f"training.{later} {after:%Y-%m-%d} is before training.{earlier} {before:%Y-%m-%d}"
    addresses = {
        "alerts.fallback_owner": settings.alerts.fallback_owner,
        "monitoring.data_team": settings.monitoring.data_team,
    }
    for key, address in addresses.items():
        if address is not None and "@" not in address:
            yield f"{key}: {address!r} is not an e-mail address"


def _match(name: str, table: TableMap, settings: Settings) -> Iterator[str]:
    others = [n for n, t in settings.tables.items() if t.system == table.system and t.match != table.match]
    if table.match != "exact" and table.system is None:
        yield f"tables.{name}.match is set, but there is no tables.{name}.system"
    elif table.match != "exact" and others:
        yield f"tables.{name}.match is {table.match}, but not that of {others[0]}: one system is matched in one way"


def _columns(name: str, table: TableMap) -> Iterator[str]:
    contract = TABLES[name]
    for column, value in table.columns.items():
        yield from _values(f"tables.{name}.columns.{column}", contract.columns.get(column, Column(value.kind)), value)
        if value.inclusive and column not in _ENDS:
            yield f"tables.{name}.columns.{column}.inclusive has no effect: only {', '.join(sorted(_ENDS))} are ends"
        twin = next((c for c in (*contract.columns, *table.columns) if c.casefold() == column.casefold()), column)
        if twin != column and (contract.open or twin not in contract.columns):
            yield f"tables.{name}.columns.{column} differs from {twin} in the case of its letters alone"
        elif column not in contract.columns and not contract.open:
            hint = nearest(column, contract.columns)
            yield f"tables.{name}.columns.{column} is not in the contract. {hint}"
        elif column in contract.columns and contract.columns[column].made and not contract.columns[column].mappable:
            yield f"tables.{name}.columns.{column} can't be mapped: Garrison fills it"
    for one, other in (("merged_into", "merged_at"), ("merged_at", "merged_into")):
        if name == "accounts" and one in table.columns and other not in table.columns:
            yield f"tables.{name}.columns.{one} needs {other} as well"
    for column, spec in contract.columns.items():
        if spec.needed and column not in table.columns:
            yield f"tables.{name}.columns.{column} is missing: the contract needs it"


_ENDS = frozenset({"term_ends_at", "ended_at", "valid_until", "ends", "notice_until", "until"})


def _values(key: str, column: Column, value: Value) -> Iterator[str]:
    """Yield one sentence for each value that the TOML itself gives and that the column can't hold."""
    given = {f"{key}.map.{word}": mapped for word, mapped in value.map.items() if mapped}
    if value.value is not None:
        given[f"{key}.value"] = str(value.value)
    for place, text in given.items():
        if column.among and text not in column.among:
            yield f"{place}: {text!r} is not one of {', '.join(column.among)}. {nearest(text, column.among)}"
        elif not _READABLE[column.kind](text):
            yield f"{place}: {text!r} is not a {describe_kind(column)}"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _is_time(text: str) -> bool:
    return bool(re.match(r"\d{4}-\d{1,2}-\d{1,2}", text))


_READABLE: dict[str, Callable[[str], bool]] = {
    "text": lambda _: True,
    "time": _is_time,
    "decimal": _is_number,
    "rate": _is_number,
    "whole": lambda text: _is_number(text) and float(text).is_integer(),
    "flag": lambda text: text.casefold() in {"true", "false", "t", "f", "yes", "no", "y", "n", "1", "0"},
}


def _targets(settings: Settings) -> Iterator[str]:
    mapped = set(settings.tables["purchases"].columns) if "purchases" in settings.tables else set()
    for name, target in settings.targets.items():
        tables = {target.cohort.table, target.label.table}
        if "lifetimes" in tables and "lifetimes" not in settings.tables:
            yield f"{name} has kind lifetime or ended, but there is no [tables.lifetimes]"
        for table in sorted(tables - {"lifetimes"} - set(settings.tables)):
            yield f"{name} needs the table {table}, but there is no [tables.{table}]"
        if "purchases" in settings.tables and (lacking := sorted(_list_needed_columns(target) - mapped)):
            yield f"{name} can't be computed: purchases maps no {' and '.join(lacking)}"
        for part, section in (("cohort", target.cohort), ("label", target.label)):
            for key in sorted(section.model_fields_set - {"kind"} - _KEYS[section.kind]):
                kinds = get_args(type(section).model_fields["kind"].annotation)
                users = ", ".join(kind for kind in kinds if key in _KEYS[kind])
                yield f"{name}.{part}.{key} has no effect for kind {section.kind}: it belongs to {users}"
    if settings.alerts.horizon and settings.alerts.horizon not in settings.churn.horizons:
        allowed = list(settings.churn.horizons)
        yield f"alerts.horizon {settings.alerts.horizon} is not one of churn.horizons {allowed}"


# The keys that each kind of cohort and label reads, beside `kind`.
_KEYS = {
    "in_force": {"products"},
    "active": {"within_days", "products"},
    "using": {"within_days"},
    "lifetime": set[str](),
    "lapse": {"grace_days", "products"},
    "no_purchase": {"products"},
    "no_usage": set[str](),
    "ended": set[str](),
    "downgrade": {"ratio", "products"},
    "expansion": {"products"},
    "new_product": {"products"},
    "spend_up": {"ratio", "products"},
    "recurring_up": {"ratio", "products"},
}
_TERMS = {"term_starts_at", "term_ends_at"}
_COLUMNS = {
    "in_force": _TERMS,
    "lapse": _TERMS,
    "downgrade": _TERMS,
    "recurring_up": _TERMS,
    "expansion": {"kind"},
    "new_product": {"product"},
}


def _list_needed_columns(target: Churn | Upsell) -> set[str]:
    """Return the columns of purchases without which the cohort is empty or the label never true."""
    products = {"product"} if target.cohort.products or target.label.products else set[str]()
    return _COLUMNS.get(target.cohort.kind, set()) | _COLUMNS.get(target.label.kind, set()) | products
