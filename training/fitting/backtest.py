"""Backtests with a rolling origin: trains at past cutoffs as one would have then, and evaluates what came."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from features.core.errors import LabelError
from features.core.progress import Progress, ignore
from features.settings import Churn, Settings, Upsell
from features.sources.history import History
from training.evaluation import holdout
from training.evaluation.evaluate import Evaluation
from training.evaluation.holdout import HoldoutResult
from training.fitting import fit
from training.fitting.fit import FittedTarget
from training.models import dataset
from training.models.dataset import Dataset
from training.targets import time_splits
from training.targets.labels import compute_days_needed


@dataclass(frozen=True)
class BacktestOrigin:
    """One cutoff at which a model was trained and its scores were compared with what came.

    Args:
        as_of: The cutoff.
        plan: What was learned from; its test is the cutoff alone.
        evaluation: Figures on it.
    """

    as_of: datetime
    plan: time_splits.TimePlan
    evaluation: Evaluation

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON fields."""
        plain = self.evaluation.as_dict()
        learned = self.plan.train[-1] + timedelta(days=self.plan.days)
        return {"as_of": self.as_of.isoformat(), "learned_until": learned.isoformat()} | {
            k: v for k, v in plain.items() if k not in {"by_segment", "by_cutoff"}
        }


@dataclass(frozen=True)
class Backtest:
    """Results of one target and horizon over its origins.

    Args:
        origins: Ascending.
        skipped: Cutoffs at which nothing could be learned or evaluated, and why.
        pooled: Of the rows of all origins together: each scored by a model that could not know its label.
    """

    origins: tuple[BacktestOrigin, ...]
    skipped: tuple[tuple[datetime, str], ...]
    pooled: HoldoutResult

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON fields: the pooled figures by the names of the command contract, and those of each origin."""
        skipped = [{"as_of": at.isoformat(), "reason": reason} for at, reason in self.skipped]
        by_origin = [o.as_dict() for o in self.origins]
        return {**self.pooled.evaluation.as_dict(), "by_origin": by_origin, "skipped": skipped}


def backtest(  # noqa: PLR0913  # all but the first two named
    history: History,
    settings: Settings,
    *,
    origins: int = 12,
    embargo: int = 0,
    as_of: datetime | None = None,
    progress: Progress = ignore,
) -> dict[str, Backtest]:
    """Backtest every target that the settings ask for.

    Args:
        history: Of the company.
        settings: Of the company.
        origins: At most so many cutoffs for each horizon, the newest with mature labels.
        embargo: Days that must lie between the end of the last label learned from and the origin.
        as_of: As if it were then. Default: all the data.
        progress: Called after each model.

    Returns:
        By target and horizon, such as churn_90d.

    Raises:
        LabelError: At no cutoff is there enough before it to learn from.
    """
    until = dataset.find_data_until(history, settings, as_of)
    cutoffs = dataset.list_cutoffs(history, settings, until)
    problems = [
        (name, horizon, tuple(iterate_plans(target, horizon, cutoffs, until, embargo=embargo))[-origins:])
        for name, target in settings.targets.items()
        for horizon in sorted(set(target.horizons))
    ]
    count, total = 0, sum(len(plans) for _, _, plans in problems)
    backtests = {}
    frames = dict(dataset.load_datasets(history, settings, cutoffs, until))
    for name, horizon, plans in problems:
        results: list[HoldoutResult | str] = []
        for plan in plans:
            results.append(_fit_origin(history, settings, name, frames[name], horizon, plan))
            count += 1
            progress("models", count, total)
        key = f"{name}_{horizon}d"
        backtests[key] = _pool(key, name, list(zip(plans, results, strict=True)), settings)
    return backtests


def iterate_plans(
    target: Churn | Upsell, horizon: int, cutoffs: tuple[datetime, ...], until: datetime, *, embargo: int = 0
) -> Iterator[time_splits.TimePlan]:
    """Yield the plan of each possible origin, ascending: its test is the origin, and its labels were known by then.

    Args:
        target: Its label defines how long labels take to mature.
        horizon: In days.
        cutoffs: All of the company, ascending.
        until: The instant the data are complete until.
        embargo: Days between the end of the last label learned from and the origin.
    """
    days = compute_days_needed(target, horizon)
    for origin in cutoffs:
        known_by = origin - timedelta(days=embargo)
        # The origin itself is never learned from: a label takes a day at least.
        usable = tuple(c for c in cutoffs if c <= known_by or c == origin)
        try:
            plan = time_splits.build_plan(usable, days=days, start=known_by, data_until=until)
        except LabelError:
            continue  # too early, or its label is not mature
        if origin in plan.test:
            yield replace(plan, test=(origin,))


def _fit_origin(  # noqa: PLR0913, PLR0917  # the whole of what a model is made of
    history: History, settings: Settings, name: str, data: Dataset, horizon: int, plan: time_splits.TimePlan
) -> HoldoutResult | str:
    """Return one origin's result, or the reason why there is none."""
    try:
        return fit_origin(history, settings, name, data, horizon, plan).results[horizon]
    except LabelError as error:
        return str(error)


def fit_origin(  # noqa: PLR0913, PLR0917  # the whole of what a model is made of
    history: History, settings: Settings, name: str, data: Dataset, horizon: int, plan: time_splits.TimePlan
) -> FittedTarget:
    """Train the model of one origin, as one would have then.

    Args:
        history: Of the company.
        settings: Of the company.
        name: Of the target.
        data: Of the target, at least at the cutoffs of the plan.
        horizon: In days.
        plan: Of `iterate_plans`.

    Raises:
        LabelError: The labels are of one class only, or the cohort is empty.
    """
    is_used = data.frame["as_of"].isin([*plan.train, *plan.test])
    own_data = replace(data, frame=data.frame[is_used].reset_index(drop=True), cutoffs=(*plan.train, *plan.test))
    return fit.fit_target(history, settings, name, own_data, {horizon: plan}, progress=ignore)


def _pool(
    key: str, name: str, results: list[tuple[time_splits.TimePlan, HoldoutResult | str]], settings: Settings
) -> Backtest:
    """Evaluate the test rows of all origins together."""
    skipped = tuple((plan.test[0], outcome) for plan, outcome in results if isinstance(outcome, str))
    outcomes = [outcome for _, outcome in results if isinstance(outcome, HoldoutResult)]
    if not outcomes:
        raise LabelError(
            f"there is no cutoff at which {key} could be trained and evaluated",
            found=skipped[-1][1] if skipped else "too short a history before every cutoff with a mature label",
            hint="Give more history, shorter horizons, an earlier training.first, or training.every = 'week'",
        )
    test, baselines, attributes = (
        pd.concat([getattr(o, f) for o in outcomes]) for f in ("test", "baselines", "attributes")
    )
    last = outcomes[-1].plan
    plan = replace(last, test=tuple(o.plan.test[0] for o in outcomes))
    # A rival that had too little to learn from at some origin has no score there, and none in the pool.
    known, seed = baselines.dropna(axis=1), settings.training.seed
    pooled = holdout.evaluate_scores(name, plan, test, known, attributes, seed=seed, stakes=settings.stakes)
    origins = tuple(BacktestOrigin(o.plan.test[0], o.plan, o.evaluation) for o in outcomes)
    return Backtest(origins, skipped, pooled)
