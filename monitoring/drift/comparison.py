"""Compare a snapshot column by column with the rows that the model learned from, in numpy: a second, not minutes.

A column has moved when its population stability index is above three figures: 0.1, what chance alone explains with so
few rows and so many columns, and what one training date had against the others. The last lets a column move as far
as it always did: with the seasons, with the length of the month, with a history that began late.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from monitoring.drift.verdict import ColumnDrift, DriftVerdict
from serving.gate.binning import BinnedColumn, Codes, Counts, bin_column, compute_psi, find_noise_level, is_numeric
from serving.gate.schema_checks import ComparableSamples, check_schema

# Rows of each side that are compared; of more a sample is drawn.
ROWS = 10_000
# A PSI below this is small whatever the number of rows, by the rule of thumb of credit scoring. By the same rule,
# above the second it is large: that counts where the training rows have no dates to learn the usual from.
SMALL, LARGE = 0.1, 0.25
# The chance that a verdict calls a column moved where none is, shared by all its columns.
CHANCE = 0.05
# Training rows within so many days of the same day of the year are of the same season.
SEASON_DAYS = 30
_YEAR = 365.25
# Rows for each bin that a training date or a season needs to be compared.
_FEW = 10

# By name: the reference's scores and the current ones, row for row.
Scores = Mapping[str, tuple[ArrayLike, ArrayLike]]


@dataclass(frozen=True)
class TrainingCutoffs:
    """The cutoffs of the training rows.

    Args:
        codes: (n,) the number of each row's cutoff; all 0 where they are not known.
        in_season: (cutoffs,) whether each is of the season of the current snapshot.
        dated: Whether they are known.
    """

    codes: Codes
    in_season: NDArray[np.bool_]
    dated: bool

    @classmethod
    def of(cls, as_ofs: pd.Series | None, rows: int, as_of: datetime | None) -> TrainingCutoffs:
        """Build them from the date of each row.

        Args:
            as_ofs: (n,) of the training rows; None where they are not known.
            rows: How many training rows there are.
            as_of: Of the current snapshot; None leaves the season out.
        """
        if as_ofs is None:
            return cls(np.zeros(rows, dtype=np.intp), np.zeros(1, dtype=bool), dated=False)
        codes, instants = pd.factorize(as_ofs, sort=True)
        if as_of is None:
            return cls(codes, np.zeros(len(instants), dtype=bool), dated=True)
        days = np.array([(pd.Timestamp(cutoff) - as_of).total_seconds() / 86_400 for cutoff in instants])
        apart = np.abs((days + _YEAR / 2) % _YEAR - _YEAR / 2)
        return cls(codes, apart <= SEASON_DAYS, dated=True)

    @property
    def season_rows(self) -> int:
        """Return the number of training rows of the current season."""
        return int(self.in_season[self.codes].sum())

    def count(self, column: BinnedColumn) -> Counts:
        """Return the rows of each cutoff in each bin, (cutoffs, bins)."""
        size = len(self.in_season) * column.count
        counted = np.bincount(self.codes * column.count + column.codes[0], minlength=size)
        return counted.reshape(len(self.in_season), column.count)


def judge_drift(  # noqa: PLR0913  # all named: two samples, and what is known of their columns
    reference: pd.DataFrame,
    current: pd.DataFrame,
    *,
    seed: int,
    scores: Scores | None = None,
    weights: Mapping[str, float] | None = None,
    as_of: datetime | None = None,
    growing: Collection[str] = (),
) -> DriftVerdict:
    """Judge whether `current` looks like `reference`.

    Args:
        reference: Features of the training rows, and their `as_of` where it is known; of more than 10,000 rows a
            sample is drawn.
        current: Features of the newest snapshot's cohort; the same.
        seed: Of the samples.
        scores: Compared like features.
        weights: Each feature's share of the model's weight; without them all weigh the same.
        as_of: Of the newest snapshot, to find training rows of the same season.
        growing: Columns that are not compared, since they grow with an account's age.
    """
    sound, cutoffs = prepare_samples(reference, current, seed=seed, scores=scores, as_of=as_of)
    compared = {name: pair for name, pair in sound.columns.items() if name not in growing}
    chance = CHANCE / max(1, len(compared))
    even = 1 / max(1, len(compared) - len(scores or {}))
    columns = []
    for name, (before, now) in compared.items():
        is_score = name in (scores or {})
        about = _describe(before, now) | ({"kind": "score"} if is_score else {})
        weight = 0.0 if is_score else even if weights is None else weights.get(name, 0.0)
        about |= _compare(bin_column(before, now), cutoffs, chance)
        columns.append(ColumnDrift(name, weight=weight, **about))
    columns.sort(key=lambda c: (-c.psi / c.threshold, c.name))
    rows = min(len(current), ROWS), len(cutoffs.codes)
    left_out = tuple(name for name in sound.columns if name in growing)
    return DriftVerdict(tuple(columns), sound.findings, *rows, cutoffs.season_rows, cutoffs.dated, left_out)


def prepare_samples(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    *,
    seed: int,
    scores: Scores | None = None,
    as_of: datetime | None = None,
) -> tuple[ComparableSamples, TrainingCutoffs]:
    """Return both frames with their scores as columns, sampled, without the columns that can't be compared.

    Args:
        reference: As `judge_drift` takes it.
        current: The same.
        seed: The same.
        scores: The same.
        as_of: The same.
    """
    sides = []
    for at, frame in enumerate((reference, current)):
        drawn = _draw(len(frame), seed)
        sample = frame.iloc[drawn]
        added = {name: np.asarray(pair[at])[drawn] for name, pair in (scores or {}).items()}
        sides.append(pd.concat([sample, pd.DataFrame(added, index=sample.index)], axis=1) if added else sample)
    return check_schema(*sides), TrainingCutoffs.of(sides[0].get("as_of"), len(sides[0]), as_of)


def _draw(rows: int, seed: int) -> slice | NDArray[np.intp]:
    """Return the indices of a sample of the rows, ascending; all of them if they are few enough."""
    if rows <= ROWS:
        return slice(None)
    return np.sort(np.random.default_rng(seed).choice(rows, ROWS, replace=False, shuffle=False))


def _compare(column: BinnedColumn, cutoffs: TrainingCutoffs, chance: float) -> dict[str, Any]:
    """Return the figures of a column by their names in `ColumnDrift`: psi, threshold, bins, usual."""
    whole, now = column.counts
    rows, least = int(now.sum()), SMALL if cutoffs.dated else LARGE
    by_cutoff = cutoffs.count(column)
    usual = _find_usual(by_cutoff) if cutoffs.dated else None
    floor = max(least, usual or 0.0)
    threshold = max(floor, find_noise_level(rows, int(whole.sum()), column.count, chance=chance))
    psi = float(compute_psi(whole, now))
    season = by_cutoff[cutoffs.in_season].sum(axis=0)
    if season.sum() >= _FEW * column.count and psi >= threshold:
        in_season = float(compute_psi(season, now))
        by_season = max(floor, find_noise_level(rows, int(season.sum()), column.count, chance=chance))
        if in_season / by_season < psi / threshold:
            psi, threshold = in_season, by_season
    return {"psi": psi, "threshold": threshold, "bins": column.count, "usual": usual}


def _find_usual(by_cutoff: Counts) -> float:
    """Return the largest PSI of one training date against the others, less what chance adds to it on average."""
    bins = by_cutoff.shape[1]
    rows = by_cutoff.sum(axis=1)
    others = by_cutoff.sum(axis=0) - by_cutoff
    enough = (rows >= _FEW * bins) & (others.sum(axis=1) > 0)
    if not enough.any():
        return 0.0
    by_chance = (bins - 1) * (1 / rows[enough] + 1 / others[enough].sum(axis=1))
    return float(np.maximum(compute_psi(others[enough], by_cutoff[enough]) - by_chance, 0.0).max())


def _describe(before: pd.Series, now: pd.Series) -> dict[str, Any]:
    """Return further figures of a column by their names in `ColumnDrift`: kind, missing, typical, unseen."""
    if is_numeric(before):
        values = before.to_numpy(), now.to_numpy()
        is_missing = np.isnan(values[0]), np.isnan(values[1])
        means = [float(side[~none].mean()) for side, none in zip(values, is_missing, strict=True)]
        return {"kind": "number", "missing": _average(is_missing), "typical": (means[0], means[1])}
    is_missing = before.isna().to_numpy(), now.isna().to_numpy()
    unseen = ~now.isin(before.dropna().unique()).to_numpy() & ~is_missing[1]
    return {"kind": "category", "missing": _average(is_missing), "unseen": float(unseen.mean())}


def _average(flags: tuple[NDArray[np.bool_], NDArray[np.bool_]]) -> tuple[float, float]:
    return float(flags[0].mean()), float(flags[1].mean())
