"""Columns and sources that look like the answer: they alone tell the accounts that have left from those that stay.

No label is needed: who has left shows in the history. What is found is no proof. An attribute of accounts is recorded
as of the export, so one that was filled in or changed when an account left (a status, a reason of cancelling) knows
the answer; one that merely goes with leaving, as a plan may, does not reach these figures.
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

# An account without events for so long, while others have them, has left; one that is silent a month may not have.
_GONE_DAYS, _PRESENT_DAYS = 90, 30
_FEWEST = 20
# Who has left is a fact where ends or terms are recorded. Where silence tells it, it is a guess that blurs the figure.
_KNOWN_AUC, _GUESSED_AUC = 0.95, 0.90


@dataclass(frozen=True)
class LeakSuspect:
    """A column of accounts, or a source, that looks like the answer.

    Args:
        name: The column or source.
        auc: How well it alone tells the gone from the present, 0.5 to 1.
        sentence: What was found and what to do.
    """

    name: str
    auc: float
    sentence: str


@dataclass(frozen=True)
class AloneAuc:
    """How well one column alone tells ones from zeros.

    Args:
        auc: The better direction, 0.5 to 1.
        by: What tells them, in words: its value, or whether it is there.
    """

    auc: float
    by: str


def find_suspects(history: History) -> tuple[LeakSuspect, ...]:
    """What alone tells the gone accounts from the present ones, the clearest first.

    Gone are those whose `lifetimes` have all ended; without that table, whose last term is over; without terms, those
    with no event of any source in the newest 90 days, held against those with one in the newest 30. Nothing is said
    where fewer than 20 accounts are gone or present.
    """
    accounts, least = _label_gone(history)
    gone = accounts.pop("gone").to_numpy(dtype="float64")
    if min(gone.sum(), (1 - gone).sum()) < _FEWEST:
        return ()
    found = []
    for name in accounts.columns.drop("account_id"):
        how = measure_alone(accounts[name], gone)
        if how.auc >= least:
            told = f"{name}: {how.by} alone tells accounts that left from those that stay"
            figures = f"AUC {how.auc:.3f} over {len(gone):,} accounts, {int(gone.sum()):,} of them gone"
            do = "Take it out of the TOML unless it was known before they left"
            found.append(LeakSuspect(name, how.auc, f"{told} ({figures}). {do}."))
    return tuple(sorted(found, key=lambda s: (-s.auc, s.name)))


def measure_alone(values: pd.Series, answers: np.ndarray) -> AloneAuc:
    """The AUC that a column reaches by itself: by its value in either direction, by category, or by being there.

    Args:
        values: (n,) of any type; one row an account, since a category's rate is taken from the other rows.
        answers: (n,) of 0 and 1.
    """
    there = values.notna().to_numpy()
    by_presence = measure_separation(there.astype("float64"), answers)
    if pd.api.types.is_numeric_dtype(values):
        numbers = values.to_numpy(dtype="float64", na_value=np.nan)
        by_value = max(measure_separation(np.nan_to_num(numbers, nan=end), answers) for end in (-np.inf, np.inf))
    else:
        by_value = auc(answers, _rate_categories(values, answers), undefined=0.5)
    if by_presence >= by_value:
        return AloneAuc(by_presence, "whether it is there")
    return AloneAuc(by_value, "its value")


def measure_separation(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the AUC of scores or of their negatives, whichever is higher; 0.5 where a class is missing."""
    area = auc(labels, scores, undefined=0.5)
    return max(area, 1 - area)


def read_attributes(history: History) -> pd.DataFrame:
    """account_id, and the mapped attributes of all accounts: numbers as float64, missing values as null."""
    frame = history.query("SELECT * FROM accounts ORDER BY account_id")
    columns = {
        name: frame[name] if kind == "string" else frame[name].astype("float64") for name, kind in history.attributes
    }
    return pd.DataFrame({"account_id": frame["account_id"], **columns})


def _rate_categories(values: pd.Series, answers: np.ndarray) -> np.ndarray:
    """Each row's category's share of ones among the other rows, drawn to the mean where they are few."""
    groups = pd.Series(answers).groupby(values.astype("string").fillna("\0missing").to_numpy())
    rows, ones = groups.transform("count").to_numpy(), groups.transform("sum").to_numpy()
    return (ones - answers + answers.mean()) / rows


def _label_gone(history: History) -> tuple[pd.DataFrame, float]:
    """account_id, gone, attributes and whether a source has rows; and the AUC from which a column is suspicious."""
    told, least = _label_by_ends(history)
    if told.empty:
        told, least = _label_by_silence(history), _GUESSED_AUC
    frame = told.merge(read_attributes(history), on="account_id")
    for source in history.sources:
        seen = history.query(f"SELECT DISTINCT account_id FROM {source}")["account_id"]  # noqa: S608  # a table of the contract
        frame[source] = frame["account_id"].isin(seen).astype("float64").replace(0.0, np.nan)
    return frame, least


def _label_by_ends(history: History) -> tuple[pd.DataFrame, float]:
    """account_id, gone by recorded ends or terms; no rows where neither is there."""
    for table, ends in _list_ends(history):
        sql = f"SELECT account_id, CAST(max({ends}) < {history.last_event} AS DOUBLE) AS gone FROM {table} GROUP BY 1 ORDER BY 1"  # noqa: S608, E501  # the contract's own names
        told = history.query(sql).dropna()
        if not told.empty and told["gone"].any():
            return told, _KNOWN_AUC
    return pd.DataFrame({"account_id": [], "gone": []}), _KNOWN_AUC


def _list_ends(history: History) -> Iterator[tuple[str, str]]:
    if "lifetimes" in history.tables:
        yield "lifetimes", "coalesce(ended_at, 9e18::BIGINT)"
    if "purchases" in history.tables:
        yield "purchases", "term_ends_at"


def _label_by_silence(history: History) -> pd.DataFrame:
    """account_id, gone by the last event of any source; accounts between gone and present are left out."""
    each = " UNION ALL ".join(
        f"SELECT account_id, max({TABLES[s].time}) AS t FROM {s} GROUP BY 1"  # noqa: S608  # the contract's own names
        for s in history.sources
    )
    last = history.query(f"SELECT account_id, max(t) AS t FROM ({each}) GROUP BY 1 ORDER BY 1")  # noqa: S608  # as above
    silent = (history.last_event - last["t"]) / DAY
    kept = (silent > _GONE_DAYS) | (silent <= _PRESENT_DAYS)
    return pd.DataFrame({"account_id": last["account_id"], "gone": (silent > _GONE_DAYS).astype("float64")})[kept]
