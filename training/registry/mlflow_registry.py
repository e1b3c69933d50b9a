"""Logs and registers models in MLflow, and promotes them; no other file imports MLflow."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sqlite3
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from features.core.errors import RegistryError
from features.settings import Settings
from training.evaluation import plots
from training.fitting.fit import FittedTarget
from training.models import hyperparameters
from training.models.model import Model
from training.registry import model_card, promotion_checks, promotion_log
from training.registry.promotion_checks import PromotionCheck
from training.registry.promotion_log import Promotion

_LOCK_S = 300.0  # making the tables takes seconds
_REQUIREMENTS = ["lightgbm", "numpy", "pandas", "scipy"]


@dataclass(frozen=True)
class RegisteredModel:
    """One target's model in the registry.

    Args:
        version: Such as churn-3.
        bundle: Its folder, relative to mlruns/.
        verdict: Of its evaluation, the worst over the horizons.
    """

    version: str
    bundle: str
    verdict: str


def prepare(settings: Settings) -> None:
    """Make MLflow's database where there is none, and check that it can be used: before hours of training.

    Raises:
        RegistryError: It can't be used, or its folder has been moved.
    """
    with _open_mlflow(settings) as mlflow:
        _check_not_moved(mlflow, settings)


def log_run(
    settings: Settings, fitted: dict[str, FittedTarget], *, fingerprint: str
) -> tuple[str, dict[str, RegisteredModel]]:
    """Record one training as an MLflow run and register its models.

    Everything is written before the first version is registered: a run that is killed leaves no half model.

    Returns:
        The run's id, and what was registered by target.

    Raises:
        RegistryError: MLflow's database can't be used, or its folder has been moved.
    """
    with _open_mlflow(settings) as mlflow:
        _check_not_moved(mlflow, settings)
        return _log_run(mlflow, settings, fitted, fingerprint=fingerprint)


def _log_run(
    mlflow: Any, settings: Settings, fitted: dict[str, FittedTarget], *, fingerprint: str
) -> tuple[str, dict[str, RegisteredModel]]:
    with mlflow.start_run() as run:
        mlflow.set_tags({"data_fingerprint": fingerprint, "company": settings.company.name})
        mlflow.log_params(
            {**hyperparameters.PARAMETERS, "trees": hyperparameters.TREES, "seed": settings.training.seed}
        )
        mlflow.log_text(settings.file.read_text(encoding="utf-8"), "garrison.toml")
        about = model_card.CardContext(settings, fingerprint, run.info.run_id)
        models = {name: _log_target(mlflow, about, name, f) for name, f in fitted.items() if f.results}
        return run.info.run_id, {n: _register(mlflow, settings, n, m, fitted[n]) for n, m in models.items()}


def _log_target(mlflow: Any, about: model_card.CardContext, name: str, fitted: FittedTarget) -> Any:
    pictures: dict[int, list[Any]] = {}
    mlflow.log_params({f"{name}_{k}": v for k, v in _list_changed_parameters(fitted).items()})
    for horizon, outcome in fitted.results.items():
        key = f"{name}_{horizon}d"
        figures_by_name = outcome.evaluation.as_dict()
        mlflow.log_metrics({f"{key}_{k}": v for k, v in figures_by_name.items() if isinstance(v, int | float)})
        for rival, figures in outcome.evaluation.baselines.items():
            mlflow.log_metrics({f"{key}_{rival}_auc": figures.auc, f"{key}_{rival}_ap": figures.ap})
        mlflow.log_params({f"{key}_plan": outcome.plan.describe()})
        mlflow.set_tag(f"{key}_verdict", outcome.evaluation.verdict)
        for file, figure in plots.draw_figures(key, outcome):
            mlflow.log_figure(figure, f"plots/{file}")
            pictures.setdefault(horizon, []).append(figure)
    model = replace(fitted.model, run_id=about.run_id)
    page = model_card.render_card(about, name, fitted, pictures)
    mlflow.log_text(page, f"cards/{name}.html")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # An input example would put a row of the data beside the model; the signature is given outright.
        warnings.filterwarnings("ignore", message=".*input example.*")
        model_folder = Path(folder) / "bundle"
        model.save(model_folder)
        promotion_checks.write_evidence(model, fitted.list_figures(), model_folder)
        (model_folder / model_card.FILE).write_text(page, encoding="utf-8")
        logged = mlflow.pyfunc.log_model(
            name=name,
            loader_module="training.models.model",
            data_path=str(model_folder),
            signature=_build_signature(model),
            pip_requirements=_REQUIREMENTS,
        )
    if logged.signature is None:
        raise RegistryError(f"MLflow stored no signature for {name}", hint="Report this: every column is float64")
    return logged


def _list_changed_parameters(fitted: FittedTarget) -> dict[str, Any]:
    """Return the hyperparameters that differ from the default, what was tuned, and which features are constrained."""
    defaults = {**hyperparameters.PARAMETERS, "trees": hyperparameters.TREES}
    used = {**fitted.hyperparameters.parameters, "trees": fitted.hyperparameters.trees}
    descriptions = {
        "tuned": fitted.hyperparameters.tuned,
        "monotone": ", ".join(fitted.hyperparameters.constrained(fitted.model.features)),
    }
    changed = {k: v for k, v in used.items() if k != "seed" and not k.startswith("monotone") and v != defaults.get(k)}
    return changed | {k: v for k, v in descriptions.items() if v}


def _build_signature(model: Model) -> Any:
    from mlflow.models import infer_signature

    # One row with a hole: all columns float64, so that a missing value is always welcome.
    inputs = pd.DataFrame([[0.5] * len(model.features)], columns=list(model.features), dtype="float64")
    outputs = pd.DataFrame([[0.5] * len(model.horizons)], columns=[f"{model.target}_{h}d" for h in model.horizons])
    return infer_signature(inputs, outputs)


def _register(mlflow: Any, settings: Settings, name: str, model: Any, fitted: FittedTarget) -> RegisteredModel:
    client = mlflow.MlflowClient()
    registered = f"{settings.company.slug}-{name}"
    verdicts = [o.evaluation.verdict for o in fitted.results.values()]
    verdicts += ["insufficient"] * len(fitted.insufficient)
    worst = (v for v in ("leak_suspected", *verdicts) if v in verdicts and v != "signal")
    verdict = next(worst, "signal")
    artifact_folder = Path(mlflow.get_logged_model(model.model_id).artifact_location.removeprefix("file://"))
    # Where the flavour keeps the folder that it was given.
    inside = model.flavors["python_function"]["data"]
    bundle = (artifact_folder / inside).resolve().relative_to(settings.paths.mlruns.resolve())
    # Tags come with the version in one step: a run killed here leaves no version that can't be promoted.
    tags = {"target": name, "verdict": verdict, "bundle": str(bundle)}
    # It prints to standard error whatever the level of logging.
    with contextlib.redirect_stderr(io.StringIO()):
        registered_version = mlflow.register_model(model.model_uri, registered, tags=tags)
    client.set_registered_model_alias(registered, "challenger", registered_version.version)
    return RegisteredModel(f"{name}-{registered_version.version}", str(bundle), verdict)


def promote(settings: Settings, run: str, *, reason: str, force: bool = False) -> dict[str, Promotion | str]:
    """Make a run's models the champions, those that pass every check of `training.registry.promotion_checks`.

    Args:
        settings: Of the company.
        run: As for `versions`.
        reason: For the log.
        force: Promote whatever the checks say, but for a suspected leak.

    Returns:
        By target: the promotion, or the checks that stood against it.

    Raises:
        RegistryError: There is no such run, or it has no models.
        GarrisonError: There are champions to hold them against, and the company's tables can't be read.
    """
    present = promotion_log.read_current(settings)
    version_by_target = find_versions(settings, run)
    new = {t: f.folder for t, f in version_by_target.items() if t not in present or present[t].version != f.version}
    checks = promotion_checks.run_checks(settings, new, present)
    with _open_mlflow(settings) as mlflow:
        client = mlflow.MlflowClient()
        results: dict[str, Promotion | str] = {}
        for target, version in version_by_target.items():
            if target not in checks:
                _move_champion_alias(client, settings, target, version.version)
                results[target] = present[target]
                continue
            failed = list(promotion_checks.list_failed(checks[target]))
            if failed and (not force or any(c.final for c in failed)):
                reasons = "; ".join(f"{c.name}: {c.explanation}" for c in failed)
                results[target] = f"{version.version} stays a challenger: {reasons}"
            else:
                results[target] = _promote(settings, client, version, target, reason=reason, checks=checks[target])
    return results


def _promote(  # noqa: PLR0913  # all but the first four named
    settings: Settings,
    client: Any,
    version: ModelVersion,
    target: str,
    *,
    reason: str,
    checks: tuple[PromotionCheck, ...],
) -> Promotion:
    _move_champion_alias(client, settings, target, version.version)
    outcomes = {c.name: f"{'passed' if c.passed else 'refused, and forced'}: {c.explanation}" for c in checks}
    folder = str(version.folder.relative_to(settings.paths.mlruns))
    promotion = Promotion(
        promotion_log.format_now(), "promote", target, version.version, version.run_id, folder, reason, outcomes
    )
    promotion_log.append_promotion(settings, promotion)
    return promotion


def _move_champion_alias(client: Any, settings: Settings, target: str, version: str) -> None:
    """Move the alias `champion`; a challenger that becomes champion is none any more."""
    name, number = f"{settings.company.slug}-{target}", version.rpartition("-")[2]
    client.set_registered_model_alias(name, "champion", number)
    if str(client.get_registered_model(name).aliases.get("challenger")) == number:
        client.delete_registered_model_alias(name, "challenger")


@dataclass(frozen=True)
class ModelVersion:
    """Registered model of one target of a run.

    Args:
        version: Such as churn-3.
        run_id: The MLflow run that made it.
        folder: Of the saved model.
    """

    version: str
    run_id: str
    folder: Path


def find_versions(settings: Settings, run: str) -> dict[str, ModelVersion]:
    """Return a run's models by target.

    Args:
        settings: Of the company.
        run: The run's id; `latest`, the newest that ended well and has models; or one of the aliases `champion` and
            `challenger`, which may be of several runs.

    Raises:
        RegistryError: There is no such run, or it has no models.
    """
    with _open_mlflow(settings) as mlflow:
        client = mlflow.MlflowClient()
        names = {target: f"{settings.company.slug}-{target}" for target in settings.targets}
        registered = {t: client.search_model_versions(f"name = '{name}'") for t, name in names.items()}
        if run == "latest":
            run = _find_latest_run(
                mlflow, settings, {v.run_id for version_by_target in registered.values() for v in version_by_target}
            )
        version_by_target = {}
        for target, target_versions in registered.items():
            for v in target_versions:
                # A search does not tell aliases.
                if run == v.run_id or run in client.get_model_version(names[target], v.version).aliases:
                    folder = settings.paths.mlruns / v.tags["bundle"]
                    version_by_target[target] = ModelVersion(f"{target}-{v.version}", v.run_id, folder)
                    break
    if not version_by_target:
        raise RegistryError(
            f"there is no run {run} with models of {settings.company.name}",
            hint="Name one that fit printed, or latest, champion or challenger",
        )
    return version_by_target


def load_models(settings: Settings, run: str) -> dict[str, Model]:
    """Load a run's models by target; arguments and errors as those of `find_versions`."""
    return {t: Model.load(v.folder, version=v.version) for t, v in find_versions(settings, run).items()}


def rollback(settings: Settings, target: str, *, reason: str) -> Promotion:
    """Make the champion before the present one champion again."""
    earlier = promotion_log.find_previous(settings, target)
    # It must load before it may serve.
    promotion_log.load_model(settings, earlier)
    with _open_mlflow(settings) as mlflow:
        _move_champion_alias(mlflow.MlflowClient(), settings, target, earlier.version)
    promotion = replace(earlier, at=promotion_log.format_now(), action="rollback", reason=reason, checks={})
    promotion_log.append_promotion(settings, promotion)
    return promotion


def _find_latest_run(mlflow: Any, settings: Settings, known: set[str]) -> str:
    """Return the newest run that ended well, of those that have models."""
    runs = mlflow.search_runs(
        experiment_names=[settings.company.slug],
        filter_string="attributes.status = 'FINISHED'",
        order_by=["attributes.start_time DESC"],
        output_format="list",
    )
    for run in runs:
        if run.info.run_id in known:
            return str(run.info.run_id)
    raise RegistryError(
        f"{settings.company.name} has no training run with models", hint="Train: python -m training fit"
    )


def _check_not_moved(mlflow: Any, settings: Settings) -> None:
    """Raise an error if the database's folder was moved: MLflow would go on writing to where it was made."""
    made = Path(mlflow.get_experiment_by_name(settings.company.slug).artifact_location.removeprefix("file://"))
    if made.resolve() != settings.paths.mlruns.resolve() / "artifacts":
        raise RegistryError(
            f"the folder {settings.paths.mlruns} was moved after MLflow's database was made in it",
            found=f"models would go to {made}",
            hint="Move it back, or name a new folder under [paths] mlruns",
        )


@contextlib.contextmanager
def _open_mlflow(settings: Settings) -> Iterator[Any]:
    """Open MLflow on this company's database; its errors become `RegistryError`."""
    # No figures to third parties, and no noise of hints, progress bars, and traces of errors that become ours.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    import mlflow
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    folder = settings.paths.mlruns.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _lock_folder(folder):
            _make_database(mlflow, folder / "mlflow.db")
            mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
            if mlflow.get_experiment_by_name(settings.company.slug) is None:
                mlflow.create_experiment(settings.company.slug, artifact_location=str(folder / "artifacts"))
        mlflow.set_experiment(settings.company.slug)
        yield mlflow
    except (MlflowException, SQLAlchemyError) as error:
        message = str(error).strip().splitlines()[0]
        hint = "Another process holds it: wait, or end that process" if "locked" in message else "See mlruns/README.md"
        raise RegistryError(
            f"MLflow's database {folder / 'mlflow.db'} can't be used", found=message, hint=hint
        ) from error


@contextlib.contextmanager
def _lock_folder(folder: Path) -> Iterator[None]:
    """Wait until no other process makes or migrates MLflow's database; the end of a process frees the lock."""
    with contextlib.closing(sqlite3.connect(folder / "mlflow.lock", timeout=_LOCK_S, isolation_level=None)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise RegistryError(
                f"MLflow's database in {folder} is being made by another process",
                found=str(error),
                hint="Wait, or end that process",
            ) from error
        yield


def _make_database(mlflow: Any, file: Path) -> None:
    """Make MLflow's tables beside the file and move them there whole: a process killed half-way leaves nothing."""
    if file.exists():
        return
    part = file.with_suffix(".new")
    part.unlink(missing_ok=True)
    mlflow.set_tracking_uri(f"sqlite:///{part}")
    mlflow.search_experiments(max_results=1)
    part.replace(file)
