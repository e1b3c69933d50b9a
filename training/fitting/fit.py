"""Training: from a history to one model a target, fitted on the past and judged on what came later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from features.core.errors import LabelError, RegistryError
from features.settings import Churn, Settings, Upsell
from features.sources.history import History
from training.diagnostics import leakage, sample_size
from training.diagnostics.sample_size import InsufficientData
from training.evaluation.evaluate import Evaluation
from training.evaluation.holdout import HoldoutResult, evaluate_holdout, is_comparable, list_columns
from training.fitting import upsell_statistics
from training.models import hyperparameters as recipes
from training.models.dataset import (
    Dataset,
    DatasetLoader,
    Say,
    find_data_until,
    list_cutoffs,
    load_dataset,
    select_features,
)
from training.models.hyperparameters import HyperparameterChooser, Hyperparameters, TuningTask
from training.models.matrix import sample_rows
from training.models.model import Model
from training.models.trainer import Trainer
from training.targets import time_splits
from training.targets.labels import compute_days_needed, compute_labels, find_order

_REFERENCE_ROWS = 20_000


@dataclass(frozen=True)
class FittedTarget:
    """One target's model and, by horizon, how it did.

    Args:
        bundle: Without heads where no horizon could be trained.
        outcomes: Of the horizons that were.
        lacking: What the others lack.
        recipe: How it was trained.
    """

    bundle: Model
    outcomes: dict[int, HoldoutResult]
    lacking: dict[int, InsufficientData] = field(default_factory=dict)
    recipe: Hyperparameters = field(default_factory=Hyperparameters)

    def figures(self) -> dict[str, Evaluation | InsufficientData]:
        """What there is to tell of each horizon, by target and horizon such as churn_90d."""
        found: dict[int, Evaluation | InsufficientData] = {
            h: outcome.evaluation for h, outcome in self.outcomes.items()
        }
        return {f"{self.bundle.target}_{h}d": told for h, told in sorted({**found, **self.lacking}.items())}


def fit(  # noqa: PLR0913  # all but the first two named
    history: History,
    settings: Settings,
    *,
    as_of: datetime | None = None,
    champions: Mapping[str, Model] | None = None,
    choose: HyperparameterChooser | None = None,
    held: DatasetLoader | None = None,
    say: Say = print,
) -> dict[str, FittedTarget]:
    """Train every target that the settings ask for, telling first what it lacks and last what may have leaked.

    Args:
        history: Of the company.
        settings: Of the company.
        as_of: Train as one would have then: no label looks past it. Default: all the data.
        champions: The models that serve now, by target, to be judged beside the new ones.
        choose: Finds a better recipe than the default, such as `training.fitting.tuning.Tuner`.
        held: Where a target's snapshots are held, if not in memory by `dataset`: `training.fitting.dask.Cluster`.
        say: Is told what is under way.

    Raises:
        LabelError: Too short a history for the time plan, or an empty cohort.
    """
    until = find_data_until(history, settings, as_of)
    cutoffs = list_cutoffs(history, settings, until)
    plans = {name: _build_plans(settings, target, cutoffs, until) for name, target in settings.targets.items()}
    fitted = {}
    say(f"snapshots at {len(cutoffs)} cutoffs")
    for name, plan in plans.items():
        champion = (champions or {}).get(name)
        # No name here keeps one target's snapshots in memory while the next one's are read.
        data = (held or load_dataset)(history, settings, name, cutoffs, until)
        fitted[name] = _fit_and_diagnose(history, settings, name, data, plan, champion=champion, choose=choose, say=say)
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
    say: Say,
) -> FittedTarget:
    """What `fit_target` gives of the horizons that have enough, with what else there is to doubt in their verdicts."""
    target, frame = settings.targets[name], data.frame
    checked = {
        h: sample_size.check_sample_size(f"{name}_{h}d", answers.to_numpy(), frame["as_of"], plan)
        for h, plan in plans.items()
        for answers in [compute_labels(history, target, h, frame, data_until=data.data_until)]
    }
    lacking = {h: c.impossible for h, c in checked.items() if c.impossible}
    for h in lacking:
        say(f"{name}, {h} days: {plans[h].sentence()}; not trained")
    able = {h: plan for h, plan in plans.items() if h not in lacking}
    if not able:
        nothing = _build_untrained_model(history, settings, name, features=(), categories={}, reference=pd.DataFrame())
        return FittedTarget(nothing, {}, lacking)
    fitted = fit_target(history, settings, name, data, able, champion=champion, choose=choose, say=say)
    say(f"{name}: looking for leaks")
    keys = frame[["account_id", "as_of"]]
    probe = leakage.LeakProbe(history, target, fitted.bundle, keys=keys, rows=data.rows, data_until=data.data_until)
    short = sample_size.describe_gaps(history, fitted.bundle.features, frame["account_id"], data.data_until)
    outcomes = {}
    for h, outcome in fitted.outcomes.items():
        judged = checked[h].applied(outcome.evaluation, short)
        found = probe.found(h, outcome.plan, outcome.test)
        outcomes[h] = replace(outcome, evaluation=found.applied(judged, settings.training.trusted))
    return replace(fitted, outcomes=outcomes, lacking=lacking)


def _build_untrained_model(history: History, settings: Settings, name: str, **known: Any) -> Model:
    """A model of nothing yet, with what is `known` of its columns."""
    return Model(
        target=name,
        sources=history.sources,
        catalog=history.catalog.version,
        trained_at=datetime.now(UTC).replace(microsecond=0),
        heads=(),
        order=find_order(settings.targets[name]),
        **known,
    )


def _build_plans(
    settings: Settings, target: Churn | Upsell, cutoffs: tuple[datetime, ...], until: datetime
) -> dict[int, time_splits.TimePlan]:
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
    champion: Model | None = None,
    choose: HyperparameterChooser | None = None,
    say: Say = print,
) -> FittedTarget:
    """Train one target and judge it on the test of each plan.

    Args:
        history: Of the company.
        settings: Of the company.
        name: Of the target.
        data: Of the target; rows at cutoffs outside the plans are left alone.
        plans: By horizon, ascending; the tests of all begin later than any label of any train ends.
        champion: The model that serves now.
        choose: Finds a better recipe than the default; it is shown the rows to learn from, and no other.
        say: Is told what is under way.

    Raises:
        LabelError: An empty cohort, or labels of one class only.
    """
    target, frame = settings.targets[name], data.frame
    learned = np.flatnonzero(frame["as_of"].isin(next(iter(plans.values())).train))
    if not len(learned):
        raise LabelError(
            f"the cohort of {name} is empty at every cutoff of the training", hint=f"Look at [{name}] cohort"
        )
    features, categories = select_features(data.columns(learned))
    bundle = _build_untrained_model(
        history,
        settings,
        name,
        features=features,
        categories=categories,
        reference=data.rows(_sample_reference(learned, settings.training.seed)).drop(columns=["account_id", "as_of"]),
        learned_until=max(p.train[-1] + timedelta(days=p.days) for p in plans.values()),
    )
    matrix = data.matrix(bundle)
    answered = {h: compute_labels(history, target, h, frame, data_until=data.data_until).to_numpy() for h in plans}
    asked = {h: (plan, answered[h]) for h, plan in plans.items()}
    recipe = recipes.build_target_hyperparameters(settings, target, bundle)
    if choose:
        learns = np.flatnonzero(frame["as_of"].isin({c for plan in plans.values() for c in plan.train}))
        known = {h: (plan, answers[learns]) for h, (plan, answers) in asked.items()}
        recipe = choose(TuningTask(name, bundle, matrix.only(learns), frame["as_of"].iloc[learns], known), recipe)
        say(f"{name}: {recipe.tuned}")
    heads, places = [], {}
    for horizon, (plan, answers) in asked.items():
        say(f"{name}, {horizon} days: {plan.sentence()}")
        rows = _find_training_rows(f"{name}_{horizon}d", frame["as_of"], answers, plan)
        trainer = Trainer(matrix, answers, coded=bundle.coded, recipe=recipe)
        heads.append(trainer.head(horizon, **rows))
        places[horizon] = rows["train"]
    bundle = replace(bundle, heads=tuple(heads))
    sold = {"history": history, "frame": frame, "data_until": data.data_until}
    bundle = upsell_statistics.add_upsell_statistics(bundle, target, learned=places, answers=answered, **sold)
    return FittedTarget(
        bundle, _evaluate_horizons(bundle, target, data, asked, champion, settings.training.seed), recipe=recipe
    )


def _evaluate_horizons(  # noqa: PLR0913, PLR0917  # a model, and all that it is judged by
    bundle: Model,
    target: Churn | Upsell,
    data: Dataset,
    asked: Mapping[int, tuple[time_splits.TimePlan, np.ndarray]],
    champion: Model | None,
    seed: int,
) -> dict[int, HoldoutResult]:
    """How the model did in the test of each horizon, beside the champion."""
    seen, outcomes = data.frame[list_columns(data.frame)], {}
    for h, (plan, answers) in asked.items():
        scored = seen.assign(score=_score_test(bundle, data, plan, h), label=answers)
        serving = _score_test(champion, data, plan, h) if champion and is_comparable(champion, plan, h) else None
        lead = target.lead_days
        outcomes[h] = evaluate_holdout(bundle.target, scored, plan, horizon=h, seed=seed, lead=lead, champion=serving)
    return outcomes


def _score_test(bundle: Model, data: Dataset, plan: time_splits.TimePlan, horizon: int) -> np.ndarray | None:
    """(n,) probabilities in the test, elsewhere NaN; None where the data lack a feature that the model needs."""
    test = np.flatnonzero(data.frame["as_of"].isin(plan.test))
    scores = np.full(len(data.frame), np.nan)
    try:
        found = data.matrix(bundle).applied(bundle.probabilities, test)
    except RegistryError:
        return None
    scores[test] = found[:, bundle.horizons.index(horizon)]
    return scores


def _find_training_rows(
    what: str, as_ofs: pd.Series, answers: np.ndarray, plan: time_splits.TimePlan
) -> dict[str, np.ndarray]:
    """Places of the rows of each part of the training."""
    parts = {"early": plan.early, "late": plan.late, "train": plan.train}
    return {part: _find_labelled_rows(what, as_ofs, answers, cutoffs) for part, cutoffs in parts.items()}


def _find_labelled_rows(what: str, as_ofs: pd.Series, answers: np.ndarray, cutoffs: tuple[datetime, ...]) -> np.ndarray:
    """Places of the rows with a label at these cutoffs; both classes must be there."""
    rows = np.flatnonzero(as_ofs.isin(cutoffs).to_numpy() & ~np.isnan(answers))
    positives = int(answers[rows].sum())
    if positives in {0, len(rows)}:
        raise LabelError(
            f"the labels of {what} are of one class only between {cutoffs[0]:%Y-%m-%d} and {cutoffs[-1]:%Y-%m-%d}",
            found=f"{positives} positives among {len(rows)} rows",
            hint="Look at its label and cohort in the TOML, or give more history",
        )
    return rows


def _sample_reference(places: np.ndarray, seed: int) -> np.ndarray:
    return sample_rows(places, _REFERENCE_ROWS, seed=seed) if len(places) > _REFERENCE_ROWS else places
