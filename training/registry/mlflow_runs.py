"""Logs a training as an MLflow run and registers its models."""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from features.core.errors import RegistryError
from features.core.plot import Plot
from features.settings import Settings
from training.evaluation import plots
from training.fitting.fit import FittedTarget
from training.models import hyperparameters
from training.models.model import Model
from training.registry import model_card, promotion_checks, run_notes
from training.registry.mlflow_database import check_not_moved, open_mlflow

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
    with open_mlflow(settings) as mlflow:
        check_not_moved(mlflow, settings)
        return _log_run(mlflow, settings, fitted, fingerprint=fingerprint)


def _log_run(
    mlflow: Any, settings: Settings, fitted: dict[str, FittedTarget], *, fingerprint: str
) -> tuple[str, dict[str, RegisteredModel]]:
    with mlflow.start_run(run_name=run_notes.name_run(fitted)) as run:
        mlflow.set_tags({"data_fingerprint": fingerprint, "company": settings.company.name})
        mlflow.set_tag("mlflow.note.content", run_notes.write_note(settings, fitted, run.info))
        mlflow.log_params(
            {**hyperparameters.PARAMETERS, "trees": hyperparameters.TREES, "seed": settings.training.seed}
        )
        if settings.file.exists():  # settings from a dictionary have no file
            mlflow.log_text(settings.file.read_text(encoding="utf-8"), "garrison.toml")
        run_notes.log_datasets(mlflow, settings, fitted, fingerprint=fingerprint)
        about = model_card.CardContext(settings, fingerprint, run.info.run_id)
        models = {name: _log_target(mlflow, about, name, f) for name, f in fitted.items() if f.results}
        return run.info.run_id, {n: _register(mlflow, settings, n, m, fitted[n]) for n, m in models.items()}


def _log_target(mlflow: Any, about: model_card.CardContext, name: str, fitted: FittedTarget) -> Any:
    drawn: dict[int, list[Plot]] = {}
    mlflow.log_params({f"{name}_{k}": v for k, v in _list_changed_parameters(fitted).items()})
    for horizon, outcome in fitted.results.items():
        key = f"{name}_{horizon}d"
        figures_by_name = outcome.evaluation.as_dict()
        mlflow.log_metrics({f"{key}_{k}": v for k, v in figures_by_name.items() if isinstance(v, int | float)})
        for rival, figures in outcome.evaluation.baselines.items():
            mlflow.log_metrics({f"{key}_{rival}_auc": figures.auc, f"{key}_{rival}_ap": figures.ap})
        mlflow.log_params({f"{key}_plan": outcome.plan.describe()})
        mlflow.set_tag(f"{key}_verdict", outcome.evaluation.verdict)
        for plot in plots.draw_plots(key, outcome):
            mlflow.log_text(plot.svg, f"plots/{plot.name}.svg")
            drawn.setdefault(horizon, []).append(plot)
    model = replace(fitted.model, run_id=about.run_id)
    page = model_card.render_card(about, name, fitted, drawn)
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
    verdict = run_notes.find_worst_verdict(fitted)
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
