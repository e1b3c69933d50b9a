"""Turn what people filter accounts by into conditions of the index."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from features.core.errors import GarrisonError, nearest
from features.core.timestamps import DAY, to_micros

# A rise of the risk by so much (percentage points / 100) is getting worse; so long without a touch is silent.
WORSE, SILENT_DAYS, RENEWAL_DAYS = 0.05, 60, 90
NONE = "none"
# Filters by the value of a column; `none` stands for no value.
BY_VALUE = ("tier", "owner", "region", "recommendation", "parent_id")
_SHOWN: Mapping[str, str] = {
    "customers": "is_customer",
    "all": "TRUE",
    "worse": f"is_customer AND change >= {WORSE}",
    "renewal": f"is_customer AND next_renewal BETWEEN $at AND $at + {RENEWAL_DAYS * DAY}",
    "silent": f"is_customer AND last_touch < $at - {SILENT_DAYS * DAY}",
    "act": "is_customer AND recommendation = 'act'",
    "sell": "is_customer AND recommendation = 'sell'",
}
SHOWN = tuple(_SHOWN)


@dataclass(frozen=True)
class Condition:
    """A condition of DuckDB over the table `accounts`, with the values of its question marks."""

    sql: str
    parameters: tuple[Any, ...] = ()


def build_conditions(filters: Mapping[str, Any], search: str, as_of: datetime) -> list[Condition]:
    """Build the conditions that must all hold.

    Args:
        filters: By name: `show` (one of `SHOWN`, by default customers) and the columns of `BY_VALUE`. Empty values
            count as none. `accounts`, the `AccountIds` that alone are wanted, are no condition: the snapshot looks
            them up.
        search: A part of the name or of the id, in any case; "" for all.
        as_of: Of the scores.

    Raises:
        GarrisonError: There is no such filter.
    """
    shown = str(filters.get("show") or SHOWN[0])
    if shown not in _SHOWN:
        raise GarrisonError(f"accounts can't be shown by {shown!r}", hint=nearest(shown, SHOWN))
    conditions = [Condition(_SHOWN[shown].replace("$at", str(to_micros(as_of))))]
    for name, value in filters.items():
        if name in {"show", "accounts"} or value is None or value == "":
            continue
        if name not in BY_VALUE:
            raise GarrisonError(f"accounts can't be filtered by {name!r}", hint=nearest(name, BY_VALUE))
        conditions.append(Condition(f"{name} IS NULL") if value == NONE else _CONDITIONS[name](str(value)))
    if search.strip():
        wanted = search.strip().lower()
        conditions.append(Condition("(contains(name_lower, ?) OR contains(lower(account_id), ?))", (wanted, wanted)))
    return conditions


def _equals(column: str) -> Callable[[str], Condition]:
    return lambda value: Condition(f"{column} = ?", (value,))


_CONDITIONS: Mapping[str, Callable[[str], Condition]] = {
    name: _equals(name) for name in BY_VALUE if name != "owner"
} | {"owner": lambda value: Condition("owner = ?", (value.lower(),))}
