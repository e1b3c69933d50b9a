"""The only file that meets MLflow: runs with figures and plots, registered models, the alias `champion`."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from features.errors import RegistryError
from features.settings import Settings
from training import fit, plots, promotions
from training.bundle import Bundle
from training.fit import Fitted
from training.promotions import Promotion

_REQUIREMENTS = ["lightgbm", "numpy", "pandas", "scipy"]


@dataclass(frozen=True)
class Registered:
    """One target's model in the registry.

    Args:
        version: Such as churn-3.
        bundle: Its folder, relative to mlruns/.
        verdict: Of its evaluation, the worst over the horizons.
    """

    version: str
    bundle: str
    verdict: str


def log(settings: Settings, fitted: dict[str, Fitted], *, fingerprint: str) -> tuple[str, dict[str, Registered]]:
    """Record one training as an MLflow run and register its models.

    Everything is written before the first version is registered: a run that is killed leaves no half model.

    Returns:
        The run's id, and what was registered by target.

    Raises:
        RegistryError: MLflow's database can't be used, or its folder has been moved.
    """
    with _mlflow(settings) as mlflow:
        _refuse_moved(mlflow, settings)
        return _log(mlflow, settings, fitted, fingerprint=fingerprint)


def _log(
    mlflow: Any, settings: Settings, fitted: dict[str, Fitted], *, fingerprint: str
) -> tuple[str, dict[str, Registered]]:
    with mlflow.start_run() as run:
        mlflow.set_tags({"data_fingerprint": fingerprint, "company": settings.company.name})
        mlflow.log_params({**fit.PARAMETERS, "trees": fit.TREES, "seed": settings.training.seed})
        mlflow.log_text(settings.file.read_text(encoding="utf-8"), "garrison.toml")
        models = {name: _log_target(mlflow, name, f, run.info.run_id) for name, f in fitted.items() if f.outcomes}
        return run.info.run_id, {n: _register(mlflow, settings, n, m, fitted[n]) for n, m in models.items()}


def _log_target(mlflow: Any, name: str, fitted: Fitted, run_id: str) -> Any:
    for horizon, outcome in fitted.outcomes.items():
        what = f"{name}_{horizon}d"
        plain = outcome.evaluation.as_dict()
        mlflow.log_metrics({f"{what}_{k}": v for k, v in plain.items() if isinstance(v, int | float)})
        for rival, figures in outcome.evaluation.baselines.items():
            mlflow.log_metrics({f"{what}_{rival}_auc": figures.auc, f"{what}_{rival}_ap": figures.ap})
        mlflow.log_params({f"{what}_plan": outcome.plan.sentence()})
        mlflow.set_tag(f"{what}_verdict", outcome.evaluation.verdict)
        for file, figure in plots.figures(what, outcome):
            mlflow.log_figure(figure, f"plots/{file}")
    bundle = replace(fitted.bundle, run_id=run_id)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # An input example would put a row of the data beside the model; the signature is given outright.
        warnings.filterwarnings("ignore", message=".*input example.*")
        bundle.save(Path(folder) / "bundle")
        model = mlflow.pyfunc.log_model(
            name=name,
            loader_module="training.bundle",
            data_path=str(Path(folder) / "bundle"),
            signature=_signature(bundle),
            pip_requirements=_REQUIREMENTS,
        )
    if model.signature is None:
        raise RegistryError(f"MLflow stored no signature for {name}", do="Report this: every column is float64")
    return model


def _signature(bundle: Bundle) -> Any:
    from mlflow.models import infer_signature

    # One row with a hole: all columns float64, so that a missing value is always welcome.
    inputs = pd.DataFrame([[0.5] * len(bundle.features)], columns=list(bundle.features), dtype="float64")
    outputs = pd.DataFrame([[0.5] * len(bundle.horizons)], columns=[f"{bundle.target}_{h}d" for h in bundle.horizons])
    return infer_signature(inputs, outputs)


def _register(mlflow: Any, settings: Settings, name: str, model: Any, fitted: Fitted) -> Registered:
    client = mlflow.MlflowClient()
    registered = f"{settings.company.slug}-{name}"
    verdicts = [o.evaluation.verdict for o in fitted.outcomes.values()]
    verdicts += ["insufficient"] * len(fitted.lacking)
    worst = (v for v in ("leak_suspected", *verdicts) if v in verdicts and v != "signal")
    verdict = next(worst, "signal")
    place = Path(mlflow.get_logged_model(model.model_id).artifact_location.removeprefix("file://"))
    # Where the flavour keeps the folder that it was given.
    inside = model.flavors["python_function"]["data"]
    bundle = (place / inside).resolve().relative_to(settings.paths.mlruns.resolve())
    # Tags come with the version in one step: a run killed here leaves no version that can't be promoted.
    tags = {"target": name, "verdict": verdict, "bundle": str(bundle)}
    # It prints to standard error whatever the level of logging.
    with contextlib.redirect_stderr(io.StringIO()):
        found = mlflow.register_model(model.model_uri, registered, tags=tags)
    client.set_registered_model_alias(registered, "challenger", found.version)
    return Registered(f"{name}-{found.version}", str(bundle), verdict)


def promote(settings: Settings, run_id: str, *, reason: str, force: bool = False) -> dict[str, Promotion | str]:
    """Make a run's models the champions, if they have a signal.

    Args:
        settings: Of the company.
        run_id: The run, or `latest`.
        reason: For the log.
        force: Promote even without a signal.

    Returns:
        By target: the promotion, or why there was none.

    Raises:
        RegistryError: There is no such run, or it has no models.
    """
    with _mlflow(settings) as mlflow:
        client = mlflow.MlflowClient()
        run_id = _latest(mlflow, settings) if run_id == "latest" else run_id
        done: dict[str, Promotion | str] = {}
        for target in settings.targets:
            name = f"{settings.company.slug}-{target}"
            found = [v for v in client.search_model_versions(f"name = '{name}'") if v.run_id == run_id]
            if found:
                done[target] = _promote(settings, client, found[0], target, reason=reason, force=force)
    if not done:
        raise RegistryError(
            f"the run {run_id} has no models of {settings.company.name}", do="Name one that fit printed"
        )
    return done


def _promote(  # noqa: PLR0913  # all but the first four named
    settings: Settings, client: Any, found: Any, target: str, *, reason: str, force: bool
) -> Promotion | str:
    version, verdict = f"{target}-{found.version}", found.tags["verdict"]
    present = promotions.current(settings).get(target)
    if verdict == "leak_suspected" or (verdict != "signal" and not force):
        return f"{version} stays a challenger: its verdict is {verdict}"
    # It must load before it may serve.
    Bundle.load(settings.paths.mlruns / found.tags["bundle"])
    client.set_registered_model_alias(found.name, "champion", found.version)
    if present and present.version == version:
        return present
    promotion = Promotion(promotions.now(), "promote", target, version, found.run_id, found.tags["bundle"], reason)
    promotions.append(settings, promotion)
    return promotion


def bundles(settings: Settings, run_id: str) -> dict[str, Bundle]:
    """A run's models by target.

    Args:
        settings: Of the company.
        run_id: The run, `latest`, or one of the aliases `champion` and `challenger`, which may be of several runs.

    Raises:
        RegistryError: There is no such run, or it has no models.
    """
    found = {}
    with _mlflow(settings) as mlflow:
        client = mlflow.MlflowClient()
        run_id = _latest(mlflow, settings) if run_id == "latest" else run_id
        for target in settings.targets:
            name = f"{settings.company.slug}-{target}"
            for v in client.search_model_versions(f"name = '{name}'"):
                # A search does not tell aliases.
                if run_id == v.run_id or run_id in client.get_model_version(name, v.version).aliases:
                    place = settings.paths.mlruns / v.tags["bundle"]
                    found[target] = Bundle.load(place, version=f"{target}-{v.version}")
                    break
    if not found:
        raise RegistryError(
            f"there is no run {run_id} with models of {settings.company.name}",
            do="Name one that fit printed, or latest, champion or challenger",
        )
    return found


def rollback(settings: Settings, target: str, *, reason: str) -> Promotion:
    """Make the champion before the present one champion again."""
    earlier = promotions.before(settings, target)
    # It must load before it may serve.
    Bundle.load(settings.paths.mlruns / earlier.bundle)
    with _mlflow(settings) as mlflow:
        name = f"{settings.company.slug}-{target}"
        mlflow.MlflowClient().set_registered_model_alias(name, "champion", earlier.version.rpartition("-")[2])
    promotion = replace(earlier, at=promotions.now(), action="rollback", reason=reason)
    promotions.append(settings, promotion)
    return promotion


def _latest(mlflow: Any, settings: Settings) -> str:
    runs = mlflow.search_runs(experiment_names=[settings.company.slug], output_format="list", max_results=1)
    if not runs:
        raise RegistryError(f"{settings.company.name} has no training run", do="Train: python -m training fit")
    return str(runs[0].info.run_id)


def _refuse_moved(mlflow: Any, settings: Settings) -> None:
    """Refuse a database whose folder was moved: MLflow would go on writing to where it was made."""
    made = Path(mlflow.get_experiment_by_name(settings.company.slug).artifact_location.removeprefix("file://"))
    if made.resolve() != settings.paths.mlruns.resolve() / "artifacts":
        raise RegistryError(
            f"the folder {settings.paths.mlruns} was moved after MLflow's database was made in it",
            there=f"models would go to {made}",
            do="Move it back, or name a new folder under [paths] mlruns",
        )


@contextlib.contextmanager
def _mlflow(settings: Settings) -> Iterator[Any]:
    """MLflow on this company's database; its errors become ours."""
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
        mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
        if mlflow.get_experiment_by_name(settings.company.slug) is None:
            mlflow.create_experiment(settings.company.slug, artifact_location=str(folder / "artifacts"))
        mlflow.set_experiment(settings.company.slug)
        yield mlflow
    except (MlflowException, SQLAlchemyError) as error:
        there = str(error).strip().splitlines()[0]
        hint = "Another process holds it: wait, or end that process" if "locked" in there else "See mlruns/README.md"
        raise RegistryError(f"MLflow's database {folder / 'mlflow.db'} can't be used", there=there, do=hint) from error
