"""Finds the registered models of a run in MLflow, promotes them and rolls them back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from features.core.errors import RegistryError
from features.settings import Settings
from training.models.model import Model
from training.registry import promotion_checks, promotion_log
from training.registry.mlflow_database import open_mlflow
from training.registry.promotion_checks import PromotionCheck
from training.registry.promotion_log import Promotion


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
    with open_mlflow(settings) as mlflow:
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
    outcomes = {c.name: f"{'passed' if c.passed else 'refused, and forced'}: {c.explanation}" for c in checks}
    folder = str(version.folder.relative_to(settings.paths.mlruns))
    promotion = Promotion(
        promotion_log.format_now(), "promote", target, version.version, version.run_id, folder, reason, outcomes
    )
    with promotion_log.hold_log(settings) as append:
        _move_champion_alias(client, settings, target, version.version)
        append(promotion)
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
    with open_mlflow(settings) as mlflow:
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
    promotion = replace(earlier, at=promotion_log.format_now(), action="rollback", reason=reason, checks={})
    with open_mlflow(settings) as mlflow, promotion_log.hold_log(settings) as append:
        _move_champion_alias(mlflow.MlflowClient(), settings, target, earlier.version)
        append(promotion)
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
