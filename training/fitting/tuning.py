"""Tunes hyperparameters of one target within a stated time, evaluated on later cutoffs of the training only.

The study lies in SQLite in the company's folder and goes on where it was left, as long as the data, the target and
the catalog are the same. The test's cutoffs are not there to be looked at: a `Task` has no row of them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from features.settings import Settings
from training.evaluation.metrics import RankedScores
from training.models.hyperparameters import Hyperparameters, TuningTask
from training.models.trainer import Trainer

# (lowest, highest, whether searched by ratio); whole numbers where both ends are. Around the defaults, which fit
# most data: a wider space needs more trials than a user waits for.
_SPACE: dict[str, tuple[float, float, bool]] = {
    "trees": (100, 800, True),
    "learning_rate": (0.01, 0.1, True),
    "num_leaves": (4, 31, True),
    "feature_fraction": (0.1, 1.0, False),
    "min_data_in_leaf": (10, 300, True),
    "lambda_l2": (0.1, 100.0, True),
}
_FEWEST = 10  # rows of either class to learn from, and to evaluate on

FoldRows = tuple[np.ndarray, np.ndarray]


class _OutOfTime(Exception):  # noqa: N818  # it ends a trial, and no user ever sees it
    pass


@dataclass(frozen=True)
class Tuner:
    """Chooses the hyperparameters of each target.

    Args:
        settings: Of the company.
        fingerprint: Of its data.
        minutes: For all targets together. The defaults are tried whatever it is.
    """

    settings: Settings
    fingerprint: str
    minutes: float

    def __call__(self, task: TuningTask, hyperparameters: Hyperparameters) -> Hyperparameters:
        """Return the best hyperparameters found for a target so far, by the mean AUC over its horizons and their folds.

        Args:
            task: What there is to learn from.
            hyperparameters: The default; parameters outside the search space are kept.
        """
        folds = list(_iterate_folds(task))
        if not folds:
            return replace(hyperparameters, tuned="not tuned: the training has too few positives to evaluate trials on")
        with self._study(task, hyperparameters) as study:
            before, began = len(study.trials), time.monotonic()
            until = began + self.minutes * 60 / len(self.settings.targets)
            if not any(_is_trial_of(trial, hyperparameters) for trial in _list_finished(study)):
                study.enqueue_trial(_locate_in_space(hyperparameters))
                study.optimize(lambda trial: _evaluate_trial(task, _suggest(trial, hyperparameters), folds), n_trials=1)
            while time.monotonic() < until:
                study.optimize(
                    lambda trial: _evaluate_trial(task, _suggest(trial, hyperparameters), folds, until=until),
                    n_trials=1,
                    catch=(_OutOfTime,),
                )
            return _choose_best(
                study, hyperparameters, new=len(study.trials) - before, minutes=(time.monotonic() - began) / 60
            )

    @contextlib.contextmanager
    def _study(self, task: TuningTask, hyperparameters: Hyperparameters) -> Iterator[Any]:
        import optuna

        # Its log would tell each trial; the end of one that ran out of time, with a traceback.
        optuna.logging.set_verbosity(optuna.logging.CRITICAL)
        file = self.settings.var / "tuning.db"
        file.parent.mkdir(parents=True, exist_ok=True)
        storage = optuna.storages.RDBStorage(f"sqlite:///{file}")
        try:
            name = f"{task.name}-{self._same(task, hyperparameters)}"
            study = optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)
            # From the same seed a study that goes on would only repeat what it has tried.
            study.sampler = optuna.samplers.TPESampler(seed=self.settings.training.seed + len(study.trials))
            yield study
        finally:
            storage.remove_session()
            storage.engine.dispose()

    def _same(self, task: TuningTask, hyperparameters: Hyperparameters) -> str:
        """Return 16 hexadecimal digits of all that trials must share to be comparable."""
        plans = {h: plan.describe() for h, (plan, _) in task.horizons.items()}
        target = self.settings.targets[task.name].model_dump(mode="json")
        parts = (
            self.fingerprint,
            task.model.catalog,
            task.model.features,
            target,
            plans,
            dict(hyperparameters.parameters),
        )
        return hashlib.sha256(json.dumps([*parts, hyperparameters.trees], default=str).encode()).hexdigest()[:16]


def _iterate_folds(task: TuningTask) -> Iterator[tuple[int, FoldRows]]:
    """Yield (horizon, (rows to learn from, rows to evaluate on)): the last quarter of the training, and that before it.

    No label that is learned from reaches into the cutoffs evaluated on.
    """
    for horizon, (plan, labels) in task.horizons.items():
        for learned, later in plan.folds:
            rows = tuple(
                np.flatnonzero(task.as_ofs.isin(cutoffs).to_numpy() & ~np.isnan(labels)) for cutoffs in (learned, later)
            )
            if all(min(labels[r].sum(), len(r) - labels[r].sum()) >= _FEWEST for r in rows):
                yield horizon, (rows[0], rows[1])


def _evaluate_trial(
    task: TuningTask, hyperparameters: Hyperparameters, folds: list[tuple[int, FoldRows]], *, until: float | None = None
) -> float:
    aucs = []
    for horizon, (learned, later) in folds:
        labels = task.horizons[horizon][1]
        trainer = Trainer(task.matrix, labels, categorical=task.model.categorical, hyperparameters=hyperparameters)
        booster = trainer.train_booster(learned, [_stop_at(until)] if until else None)
        aucs.append(RankedScores(labels[later], trainer.predict_raw(booster, later)).compute_auc())
    return float(np.mean(aucs))


def _stop_at(until: float) -> Callable[[Any], None]:
    def after_a_tree(_: Any) -> None:
        if time.monotonic() > until:
            raise _OutOfTime

    return after_a_tree


def _suggest(trial: Any, hyperparameters: Hyperparameters) -> Hyperparameters:
    suggested = {}
    for name, (low, high, log) in _SPACE.items():
        suggest = trial.suggest_int if isinstance(low, int) and isinstance(high, int) else trial.suggest_float
        suggested[name] = suggest(name, low, high, log=log)
    return _replace_parameters(hyperparameters, suggested)


def _replace_parameters(hyperparameters: Hyperparameters, chosen: dict[str, Any], tuned: str = "") -> Hyperparameters:
    rest = {name: value for name, value in chosen.items() if name != "trees"}
    return replace(
        hyperparameters, parameters={**hyperparameters.parameters, **rest}, trees=chosen["trees"], tuned=tuned
    )


def _locate_in_space(hyperparameters: Hyperparameters) -> dict[str, Any]:
    """Return the values of hyperparameters in the search space."""
    return {name: hyperparameters.trees if name == "trees" else hyperparameters.parameters[name] for name in _SPACE}


def _is_trial_of(trial: Any, hyperparameters: Hyperparameters) -> bool:
    return bool(trial.params == _locate_in_space(hyperparameters))


def _list_finished(study: Any) -> list[Any]:
    return [trial for trial in study.trials if trial.value is not None]


def _choose_best(study: Any, hyperparameters: Hyperparameters, *, new: int, minutes: float) -> Hyperparameters:
    finished = _list_finished(study)
    default = next(trial for trial in finished if _is_trial_of(trial, hyperparameters))
    best = max(finished, key=lambda trial: trial.value)
    spent = f"{new} trials in {minutes:.1f} minutes, {len(finished)} finished in all"
    comparison = f"mean AUC on later months of the training {best.value:.4f}, with the defaults {default.value:.4f}"
    if best.value <= default.value:
        return replace(hyperparameters, tuned=f"{spent}: none was better than the defaults ({comparison})")
    chosen = ", ".join(f"{name} {value:.4g}" for name, value in best.params.items())
    return _replace_parameters(hyperparameters, best.params, f"{spent}: {comparison}: {chosen}")
