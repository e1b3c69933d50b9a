"""Tuning: within its time, on the training alone, from where it was left, and never worse than the defaults there."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import optuna
import pandas as pd
import pytest

from features.sources.history import History
from training.fitting import fit, tuning
from training.fitting.tuning import Tuner
from training.models import hyperparameters
from training.models.hyperparameters import TuningTask
from training.models.model import Model
from training.targets import time_splits

MONTHS = tuple(datetime(2023, m, 1, tzinfo=UTC) for m in range(1, 13))
PLAN = time_splits.build_plan(
    (*MONTHS, datetime(2024, 1, 1, tzinfo=UTC)),
    days=30,
    start=datetime(2024, 1, 1, tzinfo=UTC),
    data_until=datetime(2024, 3, 1, tzinfo=UTC),
)
SMALL = replace(hyperparameters.build_hyperparameters(4, seed=7), trees=150)


def task(positives=0.3, rows=120):
    """Rows at each month of 2023; the first column tells the label."""
    random = np.random.default_rng(3)
    as_ofs = pd.Series(np.repeat(pd.DatetimeIndex(MONTHS), rows))
    matrix = random.normal(size=(len(as_ofs), 4))
    answers = (matrix[:, 0] + random.normal(size=len(as_ofs)) > np.quantile(matrix[:, 0], 1 - positives)).astype(float)
    bundle = Model(
        target="churn",
        features=("a", "b", "c", "d"),
        categories={},
        sources=("usage",),
        catalog="0",
        trained_at=datetime(2024, 1, 1, tzinfo=UTC),
        horizon_models=(),
        order=1,
        reference=pd.DataFrame(),
    )
    return TuningTask("churn", bundle, matrix, as_ofs, {30: (PLAN, answers)})


@pytest.fixture
def settings(company, tmp_path):
    paths = company.settings.paths.model_copy(update={"var": tmp_path})
    return company.settings.model_copy(update={"paths": paths})


class Clock:
    """A clock that stands still until a trial ends, which takes ten seconds."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def quick(monkeypatch):
    """Trials without training: each is worth what its parameters say; gives the recipes that were tried."""
    tried, clock = [], Clock()
    monkeypatch.setattr(tuning, "time", clock)

    def worth(_task, recipe, _judged, **_):
        clock.now += 10
        tried.append(recipe)
        return float(recipe.parameters["learning_rate"])

    monkeypatch.setattr(tuning, "_evaluate_trial", worth)
    return tried


def trials(settings):
    """By study, the trials that came to an end."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{settings.var / 'tuning.db'}")
    found = {
        name: [t for t in optuna.load_study(study_name=name, storage=storage).trials if t.value is not None]
        for name in optuna.get_all_study_names(storage)
    }
    storage.remove_session()
    storage.engine.dispose()
    return found


def test_without_time_the_defaults_alone_are_tried(settings):
    found = Tuner(settings, "f", 0)(task(), SMALL)
    assert replace(found, tuned="") == SMALL
    assert found.tuned.startswith("1 trials in ")
    assert "none was better than the defaults" in found.tuned
    [[trial]] = trials(settings).values()
    assert trial.params == tuning._locate_in_space(SMALL)
    assert 0.7 < trial.value < 1


def test_the_best_trial_is_chosen_and_its_other_parameters_are_kept(settings, quick):
    # A minute for each of the two targets, the defaults within it.
    found = Tuner(settings, "f", 2)(task(), SMALL)
    assert len(quick) == 6
    assert found.tuned.startswith("6 trials in 1.0 minutes, 6 finished in all: ")
    assert quick[0] == SMALL
    assert found.parameters["learning_rate"] == max(r.parameters["learning_rate"] for r in quick) > 0.03
    assert {k: v for k, v in found.parameters.items() if k not in tuning._SPACE} == {
        k: v for k, v in SMALL.parameters.items() if k not in tuning._SPACE
    }
    assert f"learning_rate {found.parameters['learning_rate']:.4g}" in found.tuned
    assert "with the defaults 0.0300" in found.tuned
    for tried in quick:
        for name, (low, high, _) in tuning._SPACE.items():
            assert low <= tuning._locate_in_space(tried)[name] <= high


def test_it_goes_on_where_it_was_left_and_repeats_nothing(settings, quick):
    tuner = Tuner(settings, "f", 1)
    tuner(task(), SMALL)
    assert len(quick) == 3
    found = tuner(task(), SMALL)
    assert len(quick) == 6
    assert "6 finished in all" in found.tuned
    assert len({str(tuning._locate_in_space(r)) for r in quick}) == len(quick)
    assert len(trials(settings)) == 1


def test_other_data_another_catalog_or_another_default_begin_another_study(settings, quick):
    own = task()
    for tuner, asked, default in (
        (Tuner(settings, "f", 0), own, SMALL),
        (Tuner(settings, "g", 0), own, SMALL),
        (Tuner(settings, "f", 0), replace(own, model=replace(own.model, catalog="1")), SMALL),
        (Tuner(settings, "f", 0), own, replace(SMALL, trees=200)),
    ):
        tuner(asked, default)
    assert len(quick) == 4
    assert [len(its) for its in trials(settings).values()] == [1] * 4


def test_a_trial_that_time_runs_out_on_is_broken_off_and_forgotten(settings, monkeypatch):
    clock, true, seen = Clock(), tuning._evaluate_trial, []
    monkeypatch.setattr(tuning, "time", clock)

    def late(*given, until=None):
        seen.append(until)
        clock.now += 0 if until is None else 100  # its time is over before its first tree is grown
        return true(*given, until=until)

    monkeypatch.setattr(tuning, "_evaluate_trial", late)
    found = Tuner(settings, "f", 1)(task(), SMALL)
    assert seen == [None, 30.0]
    [[trial]] = trials(settings).values()
    assert trial.params == tuning._locate_in_space(SMALL)
    assert found.tuned.startswith("2 trials in 1.7 minutes, 1 finished in all")


def test_no_label_learned_from_reaches_the_cutoffs_judged_by_and_none_is_of_the_test():
    own = task()
    folds = list(tuning._iterate_folds(own))
    assert len(folds) == 2
    for horizon, (learned, later) in folds:
        first = own.as_ofs[later].min()
        assert own.as_ofs[learned].max() + timedelta(days=horizon) <= first
        assert own.as_ofs[later].max() + timedelta(days=horizon) <= PLAN.test[0]
        assert not set(learned) & set(later)


def test_with_too_few_positives_nothing_is_tuned(settings, quick):
    found = Tuner(settings, "f", 1)(task(positives=0.001, rows=30), SMALL)
    assert "too few positives" in found.tuned
    assert (found.parameters, found.trees, quick) == (SMALL.parameters, SMALL.trees, [])


def test_training_shows_the_tuner_its_own_cutoffs_alone_and_uses_what_it_chose(company):
    settings, seen = company.settings, []

    def choose(task, default):
        seen.append(task)
        return replace(default, trees=20, tuned="by hand")

    told = []
    with History.open(settings) as history:
        fitted = fit.fit(history, settings, choose=choose, progress=told.append)
    assert [t.name for t in seen] == ["churn", "upsell"]
    for task in seen:
        plans = {h: plan for h, (plan, _) in task.horizons.items()}
        assert set(task.as_ofs) == {pd.Timestamp(c) for plan in plans.values() for c in plan.train}
        assert len(task.matrix) == len(task.as_ofs) == len(next(iter(task.horizons.values()))[1])
        bundle = fitted[task.name].model
        assert {head.booster.num_trees() for head in bundle.horizon_models} == {20}
        assert fitted[task.name].hyperparameters.tuned == "by hand"
        assert f"{task.name}: by hand" in told
