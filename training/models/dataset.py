"""Loads a target's snapshots to learn from: its cohort's at all cutoffs, and which of their columns a model reads."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from features.catalog import FEATURES
from features.core.errors import LabelError
from features.core.timestamps import from_micros
from features.engine import snapshot_cache, snapshots
from features.settings import Settings
from features.sources.history import History
from training.models.matrix import Matrix, join_snapshots
from training.models.model import Model
from training.targets import cohorts, time_splits
from training.targets.label_overview import explain_empty_cohort

# Features that need other accounts' rows: one posted account has none beside it.
_PEER_FEATURES = frozenset(name for name, f in FEATURES.items() if f.scope)
_MOST_CATEGORIES = 200
_FEWEST_ACCOUNTS = 30  # of a category that is told apart

DatasetLoader = Callable[[History, Settings, str, tuple[datetime, ...], datetime], "Dataset"]


@dataclass(frozen=True)
class Dataset:
    """Snapshots of one target's cohort at all cutoffs.

    Args:
        frame: account_id, as_of, features.
        cutoffs: Ascending.
        data_until: The instant the data are complete until.
    """

    frame: pd.DataFrame
    cutoffs: tuple[datetime, ...]
    data_until: datetime

    def read_rows(self, indices: np.ndarray) -> pd.DataFrame:
        """Return the rows at these indices, with every column."""
        return self.frame.iloc[indices]

    def iterate_columns(self, indices: np.ndarray) -> Iterator[tuple[str, pd.Series]]:
        """Yield each column's name and its values at these indices, one column at a time."""
        return ((name, self.frame[name].iloc[indices]) for name in self.frame)

    def build_matrix(self, model: Model) -> Matrix:
        """Return a model's columns of all rows."""
        return Matrix(model.build_columns(self.frame))


def list_cutoffs(history: History, settings: Settings, until: datetime) -> tuple[datetime, ...]:
    """Return all cutoffs of the company, ascending.

    Raises:
        LabelError: There is none.
    """
    cutoffs = time_splits.list_cutoffs(settings.training, all_began=from_micros(history.all_began), data_until=until)
    if not cutoffs:
        raise LabelError(f"there is no cutoff before {until:%Y-%m-%d}", hint="Set an earlier training.first")
    return cutoffs


def load_datasets(
    history: History, settings: Settings, cutoffs: tuple[datetime, ...], until: datetime
) -> Iterator[tuple[str, Dataset]]:
    """Yield each target's name and its cohort's snapshots.

    Raises:
        LabelError: A cohort is empty at every cutoff.
    """
    for name in settings.targets:
        yield name, load_dataset(history, settings, name, cutoffs, until)


def load_dataset(
    history: History, settings: Settings, name: str, cutoffs: tuple[datetime, ...], until: datetime
) -> Dataset:
    """Load one target's cohort's snapshots.

    Raises:
        LabelError: The cohort is empty at every cutoff.
    """
    members = cohorts.find_eligible(history, settings.targets[name].cohort, cutoffs)
    frame = join_snapshots(snapshot_cache.load_parts(settings, history, cutoffs), members)
    if frame.empty:
        emptied = explain_empty_cohort(history, settings.targets[name].cohort, cutoffs)
        hint = f"Look at [{name}] cohort, and at the cohort by month in features check"
        raise LabelError(f"the cohort of {name} is empty at every cutoff", found=emptied, hint=hint)
    return Dataset(frame, cutoffs, until)


def find_data_until(history: History, settings: Settings, as_of: datetime | None = None) -> datetime:
    """Return the instant until which the data are complete: as configured, or the end of the last day with an event."""
    until = settings.company.data_until or snapshots.find_latest_as_of(history)
    return min(until, as_of) if as_of else until


def select_features(
    columns: Iterable[tuple[str, pd.Series]], unused: Collection[str] = ()
) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Return the features that vary, and the categories of those that are text.

    One that never varies tells nothing, such as that of a column that isn't mapped.

    Args:
        columns: Names and values, `account_id` before any text.
        unused: Names of columns to leave out whatever they hold.
    """
    features, categories, accounts = [], {}, pd.Series(dtype="object")
    for name, values in columns:
        if name == "account_id":
            accounts = values
        if name in {"account_id", "as_of", *_PEER_FEATURES, *unused} or not _is_varying(values):
            continue
        if not pd.api.types.is_numeric_dtype(values):
            categories[name] = _list_categories(values, accounts)
        features.append(name)
    return tuple(features), categories


def _is_varying(column: pd.Series) -> bool:
    values = column.to_numpy()
    return bool((column.notna() != pd.notna(values[0])).any() or (values[pd.notna(values)] != values[0]).any())


def _list_categories(values: pd.Series, accounts: pd.Series) -> tuple[str, ...]:
    """Return the categories of a text column, the commonest first.

    Those of few accounts are pooled: they count as unseen, as do those beyond the limit. A column of rare values
    alone keeps them all.
    """
    counts = values.value_counts().sort_index(kind="stable")
    accounts_each = accounts.groupby(values, observed=True).nunique().reindex(counts.index)
    common = counts[accounts_each >= _FEWEST_ACCOUNTS]
    return tuple((common if len(common) else counts).nlargest(_MOST_CATEGORIES).index)
