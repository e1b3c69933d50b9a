"""Performance of the stored scores: estimated from the scores alone, and measured once their labels matured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from features.core.errors import GarrisonError
from features.core.timestamps import from_micros
from features.settings import Settings
from features.sources.history import History
from features.state import database
from monitoring.performance.figures import (
    EstimatedPerformance,
    RealisedPerformance,
    estimate_performance,
    measure_performance,
)
from monitoring.performance.scored_rows import ScoredRows, ScoreReader
from training.evaluation.segments import FEWEST_ROWS, iterate_segments
from training.models.dataset import find_data_until

# Matured cutoffs that are measured, the newest: a year of months.
MOST_CUTOFFS = 12
_MOST_OWNERS = 12


@dataclass(frozen=True)
class ScoredCohort:
    """The performance of a cohort's scores of one target, horizon and `as_of`.

    Args:
        target: churn or upsell.
        horizon: In days.
        as_of: The instant that the scores look from.
        model: Versions of the models that gave them.
        estimate: Over the accounts of `realised`, or over all if that is None.
        realised: None if no label has matured.
    """

    target: str
    horizon: int
    as_of: datetime
    model: str
    estimate: EstimatedPerformance
    realised: RealisedPerformance | None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self) | {"as_of": self.as_of.isoformat()}


@dataclass(frozen=True)
class AccountGroup:
    """The performance of one group of accounts over all measured cutoffs together.

    Args:
        target: churn or upsell.
        horizon: In days.
        by: What divides the accounts: alerts, tier, owner, model, an attribute, or all.
        value: Of that.
        estimate: Over its rows; its AUC is None where the measured one is.
        realised: Its AUC is None where either class has fewer than ten rows.
    """

    target: str
    horizon: int
    by: str
    value: str
    estimate: EstimatedPerformance
    realised: RealisedPerformance

    @property
    def is_surprising(self) -> bool:
        """Return whether the number of positives is outside of what was expected."""
        return not self.estimate.low <= self.realised.positives <= self.estimate.high


@dataclass(frozen=True)
class PerformanceReport:
    """Estimated performance of the newest scores, and measured performance of matured ones; oldest first.

    Args:
        estimated: The newest cohort of each target and horizon.
        realised: Those whose labels matured, at most one a month and twelve of a target and horizon.
        groups: All of `realised` together, then divided by alerts, model, tier, owner and text attributes.
    """

    estimated: tuple[ScoredCohort, ...]
    realised: tuple[ScoredCohort, ...]
    groups: tuple[AccountGroup, ...] = ()

    @property
    def kinds(self) -> tuple[tuple[str, int], ...]:
        """Return each target and horizon."""
        return tuple((s.target, s.horizon) for s in self.estimated)

    def find_overall(self, target: str, horizon: int, *, by: str = "all", value: str = "all") -> AccountGroup | None:
        """Return one group of a target and horizon, by default that of all accounts; None if nothing was measured."""
        wanted = (target, horizon, by, value)
        return next((g for g in self.groups if (g.target, g.horizon, g.by, g.value) == wanted), None)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "estimated": [s.as_dict() for s in self.estimated],
            "realised": [s.as_dict() for s in self.realised],
            "groups": [asdict(g) for g in self.groups],
        }


def run(settings: Settings) -> PerformanceReport:
    """Estimate the performance of the newest scores, and measure it for scores whose labels matured.

    Raises:
        GarrisonError: There are no scores in the store.
    """
    with database.open(settings) as state, History.open(settings) as history:
        reader = ScoreReader(settings, state, history, find_data_until(history, settings))
        estimated, realised, groups = [], [], []
        for target, horizon, as_ofs in reader.list_scored():
            estimated.append(evaluate_cohort(reader.read(target, horizon, as_ofs[-1:]), is_measured=False))
            mature = reader.find_mature(target, horizon, as_ofs)[-MOST_CUTOFFS:]
            if not mature:
                continue
            rows = reader.read(target, horizon, mature)
            known = rows.select(rows.frame["label"].notna())
            cutoffs = known.frame["as_of"]
            realised += [evaluate_cohort(known.select(cutoffs == at)) for at in sorted(cutoffs.unique())]
            groups += list(iterate_groups(known))
    if not estimated:
        raise GarrisonError("there are no scores yet", hint="Run `python -m serving score --as-of D` first")
    return PerformanceReport(tuple(estimated), tuple(realised), tuple(groups))


def evaluate_cohort(rows: ScoredRows, *, is_measured: bool = True) -> ScoredCohort:
    """Evaluate the rows of one cutoff."""
    frame = rows.frame
    scores, labels = (frame[c].to_numpy(np.float64) for c in ("score", "label"))
    return ScoredCohort(
        target=rows.target,
        horizon=rows.horizon,
        as_of=from_micros(frame["as_of"].iloc[0]),
        model=", ".join(sorted(frame["model"].unique())),
        estimate=estimate_performance(scores, is_above=rows.is_above),
        realised=measure_performance(scores, labels, is_above=rows.is_above) if is_measured else None,
    )


def iterate_groups(rows: ScoredRows) -> Iterator[AccountGroup]:
    """Yield the performance of all rows together, then of each group of accounts.

    Args:
        rows: Of all cutoffs, with their labels.
    """
    if not len(rows.frame):
        return
    yield _evaluate_group(rows, "all", "all")
    about = rows.frame[["model", *rows.divided_by]].copy()
    owners = about["owner"].value_counts().index
    about["owner"] = about["owner"].where(about["owner"].isin(owners[:_MOST_OWNERS]))
    for by, value, indices in iterate_segments(about.astype(object)):
        # An owner's address is shown without its domain: terminals and their logs are read by others.
        shown = value.partition("@")[0] if by == "owner" else value
        yield _evaluate_group(rows.select(pd.Series(range(len(about))).isin(indices)), by, shown)


def _evaluate_group(rows: ScoredRows, by: str, value: str) -> AccountGroup:
    frame = rows.frame
    scores, labels, accounts = (frame[c].to_numpy() for c in ("score", "label", "account_id"))
    estimate = estimate_performance(scores, is_above=rows.is_above, accounts=accounts)
    realised = measure_performance(scores, labels, is_above=rows.is_above, accounts=accounts)
    if by != "all" and min(realised.positives, realised.accounts - realised.positives) < FEWEST_ROWS:
        estimate = replace(estimate, auc=None, auc_low=None, auc_high=None)
        realised = replace(realised, auc=None, auc_low=None, auc_high=None)
    return AccountGroup(rows.target, rows.horizon, by, value, estimate, realised)
