"""Performance of the stored scores: estimated from the scores alone, and measured once their labels matured."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from sklearn.metrics import brier_score_loss

from features.core.auc import auc
from features.core.errors import GarrisonError
from features.core.timestamps import from_micros, to_datetimes, to_micros
from features.settings import Settings
from features.sources.history import History
from features.state import database
from features.state.database import Store
from features.state.tables import SCORES
from training.decisions.value import Floats
from training.models.dataset import find_data_until
from training.targets.labels import compute_labels, compute_mature_until


@dataclass(frozen=True)
class EstimatedPerformance:
    """The performance to expect of calibrated scores, before any label is known.

    Args:
        accounts: Number of accounts scored.
        positives: Expected number of positives.
        low: Lower end of the 95 % interval of their number, 0 or more.
        high: Its upper end.
        auc: Expected area under the ROC curve; None if the scores leave no doubt about any account.
        brier: Expected mean squared error of the probability.
    """

    accounts: int
    positives: float
    low: float
    high: float
    auc: float | None
    brier: float


@dataclass(frozen=True)
class RealisedPerformance:
    """The measured performance over the accounts whose labels matured.

    Args:
        accounts: Number of accounts.
        positives: Number of those whose label came true.
        auc: Area under the ROC curve; None if all labels came true or none.
        brier: Mean squared error of the probability.
    """

    accounts: int
    positives: int
    auc: float | None
    brier: float


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

    def __str__(self) -> str:
        name = f"{self.target} {self.horizon} days, {self.as_of:%Y-%m-%d}, {self.model}"
        estimate = self.estimate
        between = f"{estimate.positives:,.0f} ({estimate.low:,.0f} to {estimate.high:,.0f})"
        if self.realised is None:
            expected = f"AUC {_format_auc(estimate.auc)}, Brier {estimate.brier:.4f}"
            return f"{name}: of {estimate.accounts:,} accounts expect {between}\n    expected {expected}"
        true = self.realised
        surprise = "" if estimate.low <= true.positives <= estimate.high else ", outside of what was expected"
        return (
            f"{name}: of {true.accounts:,} accounts {true.positives:,} came true{surprise}\n"
            f"    expected {between}; AUC {_format_auc(true.auc)} (expected {_format_auc(estimate.auc)}), "
            f"Brier {true.brier:.4f} (expected {estimate.brier:.4f})"
        )


@dataclass(frozen=True)
class PerformanceReport:
    """Estimated performance of the newest scores, and measured performance of matured ones; oldest first."""

    estimated: tuple[ScoredCohort, ...]
    realised: tuple[ScoredCohort, ...]

    def lines(self) -> Iterator[str]:
        """Yield the lines for the terminal."""
        yield "Expected of the newest scores, as far as the model is calibrated:"
        yield from (f"  {scored}" for scored in self.estimated)
        yield "Measured, where the outcome is known:" if self.realised else "Measured: no label has matured yet."
        yield from (f"  {scored}" for scored in self.realised)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            name: [asdict(s) | {"as_of": s.as_of.isoformat()} for s in group]
            for name, group in (("estimated", self.estimated), ("realised", self.realised))
        }


def estimate_performance(scores: Floats) -> EstimatedPerformance:
    """Estimate the performance of calibrated scores, before any label is known.

    If each score `p` is the account's true chance, the positives number `sum(p)`, with variance `sum(p (1 - p))` where
    accounts decide independently; the Brier score is `mean(p (1 - p))`; and of the pairs of a positive and a negative,
    each pair (i, j) is met with weight `p_i (1 - p_j)` and is in order where `p_i > p_j`. The estimate can't see that
    the model has gone wrong; the difference from the measured performance shows by how much.

    Source: confidence-based performance estimation (CBPE), as in NannyML.

    Args:
        scores: (n,) probabilities, n > 0.
    """
    doubt = scores * (1 - scores)
    expected, spread = float(scores.sum()), 1.96 * math.sqrt(doubt.sum())
    low, high = max(0.0, expected - spread), min(float(len(scores)), expected + spread)
    area, pairs = None, expected * (len(scores) - expected)
    # An account makes no pair with itself.
    if pairs - doubt.sum() > 1e-9:
        outcomes = np.repeat([1, 0], len(scores))
        weights = np.concatenate([scores, 1 - scores])
        ordered = auc(outcomes, np.tile(scores, 2), weights) * pairs - doubt.sum() / 2
        area = float(ordered / (pairs - doubt.sum()))
    return EstimatedPerformance(len(scores), expected, low, high, area, float(doubt.mean()))


def measure_performance(scores: Floats, labels: Floats) -> RealisedPerformance:
    """Measure the performance of scores against their labels.

    Accounts that owners acted on after an alert are included: if alerts save accounts, the model looks worse than it
    is. Only a holdout separates the two (`monitoring.experiments.holdout`).

    Args:
        scores: (n,) probabilities, n > 0.
        labels: (n,) of 0 and 1.
    """
    positives = int(labels.sum())
    area = auc(labels, scores) if 0 < positives < len(labels) else None
    return RealisedPerformance(len(labels), positives, area, float(brier_score_loss(labels, scores)))


def run(settings: Settings) -> PerformanceReport:
    """Estimate the performance of the newest scores, and measure it for all scores whose labels matured.

    Raises:
        GarrisonError: There are no scores in the store.
    """
    with database.open(settings) as state, History.open(settings) as history:
        until = find_data_until(history, settings)
        estimated, realised = [], []
        for target, horizon, as_ofs in _list_scored(state, settings):
            estimated.append(_evaluate(_read_scores(state, target, horizon, as_ofs[-1])))
            rule = settings.targets[target]
            last = to_micros(compute_mature_until(rule, horizon, until))
            for rows in (_read_scores(state, target, horizon, a) for a in as_ofs if a <= last):
                pairs = rows[["account_id"]].assign(as_of=to_datetimes(rows["as_of"]))
                labels = compute_labels(history, rule, horizon, pairs, data_until=until)
                known = labels.notna().to_numpy()
                if known.any():
                    realised.append(_evaluate(rows[known], labels[known].to_numpy()))
    if not estimated:
        raise GarrisonError("there are no scores yet", hint="Run `python -m serving score --as-of D` first")
    return PerformanceReport(tuple(estimated), tuple(realised))


def _list_scored(state: Store, settings: Settings) -> Iterator[tuple[str, int, list[int]]]:
    """Yield each target and horizon with the instants (µs, ascending) that have scores of its cohort."""
    kinds = sa.select(SCORES.c.target, SCORES.c.horizon, SCORES.c.as_of).where(_is_in_cohort()).distinct()
    with state.reading() as connection:
        instants = pd.DataFrame(connection.execute(kinds).all(), columns=["target", "horizon", "as_of"])
    for (target, horizon), rows in instants.groupby(["target", "horizon"]):
        if target in settings.targets:
            yield str(target), int(horizon), sorted(rows["as_of"])


def _read_scores(state: Store, target: str, horizon: int, as_of: int) -> pd.DataFrame:
    """Read the cohort's scores: account_id, as_of (µs), target, horizon, model, score."""
    columns = [SCORES.c[c] for c in ("account_id", "as_of", "target", "horizon", "model", "score")]
    conditions = (SCORES.c.target == target, SCORES.c.horizon == horizon, SCORES.c.as_of == as_of)
    with state.reading() as connection:
        rows = connection.execute(
            sa.select(*columns).where(*conditions, _is_in_cohort()).order_by(SCORES.c.account_id)
        ).all()
    return pd.DataFrame(rows, columns=[c.name for c in columns])


def _is_in_cohort() -> sa.ColumnElement[bool]:
    return SCORES.c.in_cohort.is_not(False)


def _evaluate(rows: pd.DataFrame, labels: Floats | None = None) -> ScoredCohort:
    scores = rows["score"].to_numpy(np.float64)
    first = rows.iloc[0]
    return ScoredCohort(
        target=str(first["target"]),
        horizon=int(first["horizon"]),
        as_of=from_micros(first["as_of"]),
        model=", ".join(sorted(rows["model"].unique())),
        estimate=estimate_performance(scores),
        realised=None if labels is None else measure_performance(scores, labels),
    )


def _format_auc(auc: float | None) -> str:
    return "not defined" if auc is None else f"{auc:.3f}"
