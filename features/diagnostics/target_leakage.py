"""Search for target leakage: columns and sources that alone separate accounts that have left from those that stay.

No label is needed, since the history shows who has left. A finding is no proof. Attributes of accounts are recorded as
of the export, so one that was filled in or changed when an account left (a status, a reason for cancelling) gives the
label away. One that is merely correlated with leaving, such as a plan, does not reach these thresholds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.core.auc import auc
from features.core.contract import TABLES
from features.definitions.feature import DAY
from features.sources.history import History

# An account silent for 90 days while others have events has left; one silent for 30 days may have stayed.
_GONE_DAYS, _PRESENT_DAYS = 90, 30
_FEWEST = 20
# Recorded ends or terms show who has left for certain. Silence is a guess, which lowers the AUC.
_KNOWN_AUC, _GUESSED_AUC = 0.95, 0.90
# An undated number may be a count that went on until the export: who left early has less of it.
_NUMBER_AUC = 0.80


@dataclass(frozen=True)
class LeakSuspect:
    """A column of accounts, or a source, that may leak the target.

    Args:
        name: The column or source.
        auc: AUC at which it alone separates gone from present accounts, 0.5 to 1.
        sentence: The finding, and the advice.
    """

    name: str
    auc: float
    sentence: str


@dataclass(frozen=True)
class AloneAuc:
    """The AUC that one column reaches alone.

    Args:
        auc: The better direction, 0.5 to 1.
        by: What separates the classes, in words: its value, or whether it is there.
    """

    auc: float
    by: str


def find_suspects(history: History) -> tuple[LeakSuspect, ...]:
    """Find the columns and sources that alone separate gone from present accounts, the highest AUC first.

    Gone are accounts whose `lifetimes` have all ended; without that table, accounts whose last term is over; without
    terms, accounts with no event of any source in the newest 90 days, compared with those that have one in the newest
    30. The result is empty where fewer than 20 accounts are gone or present.
    """
    if not history.has_events:
        return ()
    accounts, least = _label_gone(history)
    gone = accounts.pop("gone").to_numpy(dtype="float64")
    if min(gone.sum(), (1 - gone).sum()) < _FEWEST:
        return ()
    numbers = {name for name, kind in history.attributes if kind not in {"string", "boolean"}}
    undated = set() if history.dated else numbers
    suspects = []
    for name in accounts.columns.drop("account_id"):
        separation = measure_alone(accounts[name], gone)
        if separation.auc >= (_NUMBER_AUC if name in undated else least):
            claim = f"{name}: {separation.by} alone tells accounts that left from those that stay"
            figures = f"AUC {separation.auc:.3f} over {len(gone):,} accounts, {int(gone.sum()):,} of them gone"
            advice = "Take it out of the TOML unless it was known before they left"
            if name in undated:
                advice = "Map valid_from, or take it out of the TOML unless it was the same before they left"
            suspects.append(LeakSuspect(name, separation.auc, f"{claim} ({figures}). {advice}."))
    return tuple(sorted(suspects, key=lambda s: (-s.auc, s.name)))


def measure_alone(values: pd.Series, labels: np.ndarray) -> AloneAuc:
    """Measure the AUC that a column reaches alone: by its value in either direction, by category, or by presence.

    Args:
        values: (n,) of any type; one row an account, since a category's rate is computed from the other rows.
        labels: (n,) of 0 and 1.
    """
    is_present = values.notna().to_numpy()
    by_presence = measure_separation(is_present.astype("float64"), labels)
    if pd.api.types.is_numeric_dtype(values):
        numbers = values.to_numpy(dtype="float64", na_value=np.nan)
        by_value = max(measure_separation(np.nan_to_num(numbers, nan=end), labels) for end in (-np.inf, np.inf))
    else:
        by_value = auc(labels, _rate_categories(values, labels), undefined=0.5)
    if by_presence >= by_value:
        return AloneAuc(by_presence, "whether it is there")
    return AloneAuc(by_value, "its value")


def measure_separation(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the AUC of scores or of their negatives, whichever is higher; 0.5 where a class is missing."""
    area = auc(labels, scores, undefined=0.5)
    return max(area, 1 - area)


def read_attributes(history: History) -> pd.DataFrame:
    """Read account_id and the mapped attributes of all accounts: numbers as float64, missing values as null."""
    frame = history.query("SELECT * FROM accounts ORDER BY account_id")
    columns = {
        name: frame[name] if kind == "string" else frame[name].astype("float64") for name, kind in history.attributes
    }
    return pd.DataFrame({"account_id": frame["account_id"], **columns})


def _rate_categories(values: pd.Series, labels: np.ndarray) -> np.ndarray:
    """Return for each row its category's share of ones among the other rows, shrunk to the mean where they are few."""
    groups = pd.Series(labels).groupby(values.astype("string").fillna("\0missing").to_numpy())
    rows, ones = groups.transform("count").to_numpy(), groups.transform("sum").to_numpy()
    return (ones - labels + labels.mean()) / rows


def _label_gone(history: History) -> tuple[pd.DataFrame, float]:
    """Return account_id, gone, attributes and presence in each source; and the least AUC that is suspicious."""
    labels, least = _label_by_ends(history)
    if labels.empty:
        labels, least = _label_by_silence(history), _GUESSED_AUC
    frame = labels.merge(read_attributes(history), on="account_id")
    for source in history.sources:
        with_rows = history.query(f"SELECT DISTINCT account_id FROM {source}")["account_id"]  # noqa: S608  # a table of the contract
        frame[source] = frame["account_id"].isin(with_rows).astype("float64").replace(0.0, np.nan)
    return frame, least


def _label_by_ends(history: History) -> tuple[pd.DataFrame, float]:
    """Return account_id and gone by recorded ends or terms; no rows where neither is recorded."""
    for table, ends in _list_ends(history):
        sql = f"SELECT account_id, CAST(max({ends}) < {history.last_event} AS DOUBLE) AS gone FROM {table} GROUP BY 1 ORDER BY 1"  # noqa: S608, E501  # the contract's own names
        labels = history.query(sql).dropna()
        if not labels.empty and labels["gone"].any():
            return labels, _KNOWN_AUC
    return pd.DataFrame({"account_id": [], "gone": []}), _KNOWN_AUC


def _list_ends(history: History) -> Iterator[tuple[str, str]]:
    if "lifetimes" in history.tables:
        yield "lifetimes", "coalesce(ended_at, 9e18::BIGINT)"
    if "purchases" in history.tables:
        yield "purchases", "term_ends_at"


def _label_by_silence(history: History) -> pd.DataFrame:
    """Return account_id and gone by the last event of any source; accounts silent for 30 to 90 days are left out."""
    last_events = " UNION ALL ".join(
        f"SELECT account_id, max({TABLES[s].time}) AS t FROM {s} GROUP BY 1"  # noqa: S608  # the contract's own names
        for s in history.sources
    )
    last = history.query(f"SELECT account_id, max(t) AS t FROM ({last_events}) GROUP BY 1 ORDER BY 1")  # noqa: S608  # as above
    silent = (history.last_event - last["t"]) / DAY
    decided = (silent > _GONE_DAYS) | (silent <= _PRESENT_DAYS)
    return pd.DataFrame({"account_id": last["account_id"], "gone": (silent > _GONE_DAYS).astype("float64")})[decided]
