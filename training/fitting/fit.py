"""Fits one model per target: trains on the past and evaluates on what came later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from features.catalog import usage_mix
from features.core.errors import LabelError, RegistryError
from features.core.progress import Progress
from features.core.timestamps import DAY, to_micros_column
from features.settings import Churn, Settings, Upsell
from features.sources.history import History
from training.diagnostics import leakage, sample_size, undated_attributes
from training.diagnostics.sample_size import InsufficientData
from training.evaluation.evaluate import Evaluation
from training.evaluation.holdout import HoldoutResult, evaluate_holdout, is_comparable, list_columns
from training.evaluation.interval_coverage import measure_coverage
from training.fitting import upsell_statistics
from training.fitting.training_rows import TrainingLabels, compute_training_labels, find_training_rows
from training.fitting.treatment import read_treatments
from training.models import hyperparameters as recipes
from training.models.dataset import (
    Dataset,
    DatasetLoader,
    find_data_until,
    list_cutoffs,
    load_dataset,
    select_features,
)
from training.models.hyperparameters import HyperparameterChooser, Hyperparameters, TuningTask
from training.models.matrix import sample_rows
from training.models.model import Model
from training.models.offsets import TERM_COLUMNS, find_columns
from training.models.trainer import Cutoffs, Trainer
from training.targets import time_splits
from training.targets.labels import compute_days_needed, find_order

_REFERENCE_ROWS = 20_000
# Days in which the first accounts of a company's data have too short a past for their base rate to be believed.
_WARMING_UP = 180


@dataclass(frozen=True)
class FittedTarget:
    """One target's model and its results by horizon.

    Args:
        model: Without horizons if none could be trained.
        results: Of the horizons that were trained.
        insufficient: The other horizons, by what they lack.
        hyperparameters: Those it was trained with.
        treated: By horizon, what alerts had to do with its rows, in a sentence; none where they had nothing.
    """

    model: Model
    results: dict[int, HoldoutResult]
    insufficient: dict[int, InsufficientData] = field(default_factory=dict)
    hyperparameters: Hyperparameters = field(default_factory=Hyperparameters)
    treated: dict[int, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        verdicts = [f"{h} days {o.evaluation.verdict}" for h, o in self.results.items()]
        verdicts += [f"{h} days insufficient" for h in self.insufficient]
        return f"FittedTarget({self.model.target}: {', '.join(verdicts)}; {len(self.model.features)} features)"

    def _repr_html_(self) -> str:
        parts = (f"<h4>{self.model.target}, {h} days</h4>{o._repr_html_()}" for h, o in self.results.items())
        return "".join(parts) or f"<p>{self!r}</p>"

    def list_figures(self) -> dict[str, Evaluation | InsufficientData]:
        """Return the evaluation or the lack of data of each horizon, by target and horizon such as churn_90d."""
        figures: dict[int, Evaluation | InsufficientData] = {
            h: outcome.evaluation for h, outcome in self.results.items()
        }
        return {f"{self.model.target}_{h}d": result for h, result in sorted({**figures, **self.insufficient}.items())}


def fit(  # noqa: PLR0913  # all but the first two named
    history: History,
    settings: Settings,
    *,
    as_of: datetime | None = None,
    champions: Mapping[str, Model] | None = None,
    choose: HyperparameterChooser | None = None,
    loader: DatasetLoader | None = None,
    progress: Progress = print,
) -> dict[str, FittedTarget]:
    """Train every target that the settings ask for: check first that there is enough data, and look last for leaks.

    Args:
        history: Of the company.
        settings: Of the company.
        as_of: Train as one would have then: no label looks past it. Default: all the data.
        champions: The models that serve now, by target, to be evaluated beside the new ones.
        choose: Finds better hyperparameters than the default, such as `training.fitting.tuning.Tuner`.
        loader: Loads a target's snapshots; in memory by default. For a cluster: `training.fitting.dask.Cluster`.
        progress: Called as each step begins.

    Raises:
        LabelError: Too short a history for the time plan, or an empty cohort.
    """
    until = find_data_until(history, settings, as_of)
    cutoffs = list_cutoffs(history, settings, until)
    plans = {name: build_plans(settings, target, cutoffs, until) for name, target in settings.targets.items()}
    fitted = {}
    progress(f"snapshots at {len(cutoffs)} cutoffs")
    for name, plan in plans.items():
        champion = (champions or {}).get(name)
        progress(f"{name}: reading the snapshots of its cohort")
        # No name here keeps one target's snapshots in memory while the next one's are read.
        data = (loader or load_dataset)(history, settings, name, cutoffs, until)
        fitted[name] = _fit_and_diagnose(
            history, settings, name, data, plan, champion=champion, choose=choose, progress=progress
        )
        del data
    return fitted


def _fit_and_diagnose(  # noqa: PLR0913  # the arguments of fit_target
    history: History,
    settings: Settings,
    name: str,
    data: Dataset,
    plans: dict[int, time_splits.TimePlan],
    *,
    champion: Model | None,
    choose: HyperparameterChooser | None,
    progress: Progress,
) -> FittedTarget:
    """Fit the horizons that have enough data, and add all doubts to their verdicts."""
    target, frame = settings.targets[name], data.frame
    labels = _label_rows(history, settings, name, data, plans)
    checks = {
        h: sample_size.check_sample_size(f"{name}_{h}d", found.known, frame["as_of"], plans[h])
        for h, found in labels.items()
    }
    insufficient = {h: c.impossible for h, c in checks.items() if c.impossible}
    for h in insufficient:
        progress(f"{name}, {h} days: {plans[h].describe()}; not trained")
    trainable = {h: plan for h, plan in plans.items() if h not in insufficient}
    if not trainable:
        untrained = _build_untrained_model(
            history, settings, name, features=(), categories={}, reference=pd.DataFrame()
        )
        return FittedTarget(untrained, {}, insufficient)
    fitted = fit_target(
        history,
        settings,
        name,
        data,
        trainable,
        training_labels={h: labels[h] for h in trainable},
        champion=champion,
        choose=choose,
        progress=progress,
    )
    progress(f"{name}: looking for leaks")
    keys = frame[["account_id", "as_of"]]
    probe = leakage.LeakProbe(
        history,
        target,
        fitted.model,
        settings=settings,
        plans=((h, result.plan) for h, result in fitted.results.items()),
        keys=keys,
        rows=data.read_rows,
        data_until=data.data_until,
    )
    gaps = (
        *undated_attributes.describe_unused(history, settings),
        *undated_attributes.describe_suspects(history, fitted.model.features),
        *sample_size.describe_gaps(history, fitted.model.features, frame["account_id"], data.data_until),
    )
    results = {}
    for h, result in fitted.results.items():
        evaluation = checks[h].apply(result.evaluation, gaps)
        findings = probe.examine(h, result.plan, result.test)
        results[h] = replace(result, evaluation=findings.apply(evaluation, settings.training.trusted))
    return replace(fitted, results=results, insufficient=insufficient)


def _build_untrained_model(history: History, settings: Settings, name: str, **known: Any) -> Model:
    """Build a model without horizons, with what is `known` of its columns."""
    return Model(
        target=name,
        sources=history.sources,
        catalog=history.catalog.version,
        trained_at=datetime.now(UTC).replace(microsecond=0),
        horizon_models=(),
        order=find_order(settings.targets[name]),
        **known,
    )


def build_plans(
    settings: Settings, target: Churn | Upsell, cutoffs: tuple[datetime, ...], until: datetime
) -> dict[int, time_splits.TimePlan]:
    """Build the plan of each horizon of a target, ascending; the tests of all begin at one instant.

    Raises:
        LabelError: Too short a history.
    """
    horizons = sorted(set(target.horizons))
    longest = compute_days_needed(target, horizons[-1])
    start = time_splits.find_test_start(settings.training, cutoffs, longest=longest, data_until=until)
    return {
        h: time_splits.build_plan(cutoffs, days=compute_days_needed(target, h), start=start, data_until=until)
        for h in horizons
    }


def fit_target(  # noqa: PLR0913  # the whole of what a target is made of
    history: History,
    settings: Settings,
    name: str,
    data: Dataset,
    plans: dict[int, time_splits.TimePlan],
    *,
    training_labels: Mapping[int, TrainingLabels] | None = None,
    champion: Model | None = None,
    choose: HyperparameterChooser | None = None,
    progress: Progress = print,
) -> FittedTarget:
    """Train one target and evaluate it on the test of each plan.

    Args:
        history: Of the company.
        settings: Of the company.
        name: Of the target.
        data: Of the target; rows at cutoffs outside the plans are left alone.
        plans: By horizon, ascending; the tests of all begin later than any label of any train ends.
        training_labels: Of each plan, if they are known already.
        champion: The model that serves now.
        choose: Finds better hyperparameters than the default; it sees the rows to learn from, and no others.
        progress: Called as each step begins.

    Raises:
        LabelError: An empty cohort, or labels of one class only.
    """
    target, frame = settings.targets[name], data.frame
    learned = np.flatnonzero(frame["as_of"].isin(next(iter(plans.values())).train))
    if not len(learned):
        raise LabelError(
            f"the cohort of {name} is empty at every cutoff of the training", hint=f"Look at [{name}] cohort"
        )
    unused = [*undated_attributes.list_unused(history, settings), *_list_shares_of_few(history, frame, learned)]
    features, categories = select_features(data.iterate_columns(learned), unused)
    model = _build_untrained_model(
        history,
        settings,
        name,
        features=features,
        categories=categories,
        reference=data.read_rows(_sample_reference(learned, settings.training.seed)).drop(columns="account_id"),
        learned_until=max(p.train[-1] + timedelta(days=p.days) for p in plans.values()),
    )
    matrix = data.build_matrix(model)
    training_labels = training_labels or _label_rows(history, settings, name, data, plans)
    labels_by_horizon = {h: labels.known for h, labels in training_labels.items()}
    treated = {h: labels.describe() for h, labels in training_labels.items() if labels.treated}
    plans_and_labels = {h: (plan, labels_by_horizon[h]) for h, plan in plans.items()}
    hyperparameters = recipes.build_target_hyperparameters(settings, target, model)
    if choose:
        learned_rows = np.flatnonzero(frame["as_of"].isin({c for plan in plans.values() for c in plan.train}))
        known = {h: (plan, labels[learned_rows]) for h, (plan, labels) in plans_and_labels.items()}
        hyperparameters = choose(
            TuningTask(name, model, matrix.select(learned_rows), frame["as_of"].iloc[learned_rows], known),
            hyperparameters,
        )
        progress(f"{name}: {hyperparameters.tuned}")
    horizon_models, training_rows = [], {}
    days, began = to_micros_column(frame["as_of"]).to_numpy() / DAY, history.all_began / DAY
    terms = find_columns(model.features, TERM_COLUMNS)
    for horizon, (plan, labels) in plans_and_labels.items():
        progress(f"{name}, {horizon} days: {plan.describe()}")
        if horizon in treated:
            progress(f"{name}, {horizon} days: {treated[horizon]}")
        rows = find_training_rows(history, target, horizon, frame[["account_id", "as_of"]], labels, plan)
        trainer = Trainer(
            matrix,
            labels,
            categorical=model.categorical,
            hyperparameters=hyperparameters,
            cutoffs=Cutoffs(days, since=began + _WARMING_UP, span=plan.days),
            terms=terms,
            treated=training_labels[horizon].column,
        )
        weighed = training_labels[horizon].weigh(rows, seed=settings.training.seed)
        horizon_models.append(trainer.train_horizon(horizon, weighed, reach=target.lead_days + horizon))
        training_rows[horizon] = rows.train
    model = replace(model, horizon_models=tuple(horizon_models))
    sold = {"history": history, "frame": frame, "data_until": data.data_until}
    model = upsell_statistics.add_upsell_statistics(
        model, target, learned=training_rows, labels=labels_by_horizon, **sold
    )
    return FittedTarget(
        model,
        _evaluate_horizons(
            model,
            settings,
            data,
            {
                h: (plan, training_labels[h].find_test_labels(frame["as_of"].isin(plan.test).to_numpy()))
                for h, plan in plans.items()
            },
            champion,
        ),
        hyperparameters=hyperparameters,
        treated=treated,
    )


def _label_rows(
    history: History, settings: Settings, name: str, data: Dataset, plans: Mapping[int, time_splits.TimePlan]
) -> dict[int, TrainingLabels]:
    """Return the labels of each horizon, and which rows an alert had a hand in."""
    treatments = read_treatments(settings, name, data.data_until)
    return {
        h: compute_training_labels(history, settings, name, horizon=h, data=data, plan=plan, treatments=treatments)
        for h, plan in plans.items()
    }


def _list_shares_of_few(history: History, frame: pd.DataFrame, learned: np.ndarray) -> tuple[str, ...]:
    """Return the shares of use by product feature where there are too few accounts to learn so many columns from."""
    accounts = frame["account_id"].iloc[learned].nunique()
    return history.catalog.list_shares_of_use() if accounts < usage_mix.FEWEST_ACCOUNTS else ()


def _evaluate_horizons(
    model: Model,
    settings: Settings,
    data: Dataset,
    plans_and_labels: Mapping[int, tuple[time_splits.TimePlan, np.ndarray]],
    champion: Model | None,
) -> dict[int, HoldoutResult]:
    """Evaluate the model on the test of each horizon, beside the champion."""
    columns, results = data.frame[list_columns(data.frame)], {}
    for h, (plan, labels) in plans_and_labels.items():
        scored = columns.assign(score=_score_test(model, data, plan, h), label=labels)
        champion_scores = (
            _score_test(champion, data, plan, h) if champion and is_comparable(champion, plan, h) else None
        )
        result = evaluate_holdout(
            model.target,
            scored,
            plan,
            horizon=h,
            seed=settings.training.seed,
            lead=settings.targets[model.target].lead_days,
            lags={name: table.lag / timedelta(days=1) for name, table in settings.tables.items()},
            champion=champion_scores,
            stakes=settings.stakes,
            tiers=settings.tiers,
        )
        coverage = measure_coverage(model.horizon_model(h), result.test)
        results[h] = replace(result, evaluation=replace(result.evaluation, coverage=coverage))
    return results


def _score_test(model: Model, data: Dataset, plan: time_splits.TimePlan, horizon: int) -> np.ndarray | None:
    """Return (n,) probabilities in the test, elsewhere NaN; None if the data lack a feature that the model needs."""
    test = np.flatnonzero(data.frame["as_of"].isin(plan.test))
    scores = np.full(len(data.frame), np.nan)
    try:
        test_scores = data.build_matrix(model).apply(model.probabilities, test)
    except RegistryError:
        return None
    scores[test] = test_scores[:, model.horizons.index(horizon)]
    return scores


def _sample_reference(training_rows: np.ndarray, seed: int) -> np.ndarray:
    return (
        sample_rows(training_rows, _REFERENCE_ROWS, seed=seed)
        if len(training_rows) > _REFERENCE_ROWS
        else training_rows
    )
