"""Find the models of a past time: a champion that had learned nothing later, or else the backtest's model of then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from features.core.errors import GarrisonError, LabelError, RegistryError
from features.core.progress import Progress
from features.settings import Settings
from features.sources.history import History
from training.fitting import backtest
from training.models import dataset
from training.models.model import Model
from training.registry import promotion_log
from training.registry.promotion_log import Promotion
from training.targets.time_splits import TimePlan

Refit = Literal["month", "quarter"]
# A champion stands in for the backtest's model if it had learned until so few days before.
_FRESH = timedelta(days=200)


def find_past_models(  # noqa: PLR0913  # all but the first three named
    history: History,
    settings: Settings,
    scratch: Settings,
    instants: Sequence[datetime],
    *,
    refit: Refit,
    progress: Progress,
) -> dict[datetime, Mapping[str, Model]]:
    """Find the models for past instants: none has learned from a label that was not mature then.

    Args:
        history: Of the company.
        settings: Of the company.
        scratch: Settings whose promotion log and folder of models keep those that are trained here.
        instants: Ascending.
        refit: How often a model is trained anew where no champion serves.
        progress: Called after each model.

    Returns:
        By instant and target.

    Raises:
        GarrisonError: No model of the risk of leaving could have been trained by the first instant.
    """
    champions = list(_load_champions(settings))
    trained: dict[datetime, dict[str, Model]] = {}
    found: dict[datetime, Mapping[str, Model]] = {}
    for number, at in enumerate(instants):
        progress("models of then", number, len(instants))
        served = {name: _find_champion(champions, name, at, _find_horizon(settings, name)) for name in settings.targets}
        models = {name: model for name, model in served.items() if model is not None}
        if "churn" not in models:
            origin = _find_origin(at, refit)
            if origin not in trained:
                trained[origin] = _fit_all(history, settings, scratch, origin)
            if "churn" not in trained[origin]:  # the first model that a young company could have
                origin = _find_origin(at, "month")
                if origin not in trained:
                    trained[origin] = _fit_all(history, settings, scratch, origin)
            models = trained[origin]
        if "churn" not in models:
            raise GarrisonError(
                f"no model could have been trained by {at:%Y-%m-%d}",
                found="too few labels were mature by then",
                hint="Give a later --from",
            )
        found[at] = models
    _log_models(settings, scratch, {m.version: m for past in found.values() for m in past.values()})
    return found


def copy_promotions(settings: Settings, scratch: Settings) -> None:
    """Make the company's promoted models known to the scratch settings, in the folders where they are."""
    known = {p.version for p in promotion_log.read_promotions(scratch)}
    for made in promotion_log.read_promotions(settings):
        if made.version not in known:
            place = (settings.paths.mlruns / made.bundle).absolute()
            promotion_log.append_promotion(scratch, replace(made, bundle=str(place)))
            known.add(made.version)


def _load_champions(settings: Settings) -> Iterator[tuple[Promotion, Model]]:
    """Load every model that was ever promoted and is still there."""
    seen = set[str]()
    for made in promotion_log.read_promotions(settings):
        if made.version not in seen:
            seen.add(made.version)
            try:
                yield made, promotion_log.load_model(settings, made)
            except RegistryError:
                continue


def _find_champion(champions: Sequence[tuple[Promotion, Model]], name: str, at: datetime, horizon: int) -> Model | None:
    """Return the model ever promoted that had learned the most by an instant, and nothing after it."""
    usable = [
        model
        for made, model in champions
        if made.target == name
        and model.learned_until is not None
        and at - _FRESH <= model.learned_until <= at
        and horizon in model.horizons
    ]
    return max(usable, key=lambda m: (m.learned_until, m.version), default=None)


def _find_horizon(settings: Settings, name: str) -> int:
    """Return the horizon that alerts use of a target."""
    return settings.alert_horizon if name == "churn" else max(settings.targets[name].horizons)


def _find_origin(at: datetime, refit: Refit) -> datetime:
    """Return the first day of the month or quarter of an instant."""
    month = at.month if refit == "month" else 3 * ((at.month - 1) // 3) + 1
    return at.replace(month=month, day=1, hour=0, minute=0, second=0, microsecond=0)


def _fit_all(history: History, settings: Settings, scratch: Settings, origin: datetime) -> dict[str, Model]:
    """Return the backtest's models of an origin, by target; without those that too little was known for."""
    fitted = {name: _fit(history, settings, scratch, name, origin) for name in settings.targets}
    return {name: model for name, model in fitted.items() if model is not None}


def _fit(history: History, settings: Settings, scratch: Settings, name: str, origin: datetime) -> Model | None:
    """Return the backtest's model of an origin, trained at the first asking; None where too little was known."""
    until, horizon = dataset.find_data_until(history, settings), _find_horizon(settings, name)
    cutoffs = dataset.list_cutoffs(history, settings, until)
    plans = [p for p in backtest.iterate_plans(settings.targets[name], horizon, cutoffs, until) if p.test[0] <= origin]
    if not plans:
        return None
    plan = plans[-1]
    version = f"{name}-then-{plan.test[0]:%Y-%m-%d}"
    folder = _locate(scratch, version)
    if (folder / "bundle.json").exists():
        return Model.load(folder, version=version)
    try:
        model = _train(history, settings, name, horizon, plan, until)
    except LabelError:
        return None
    model.save(folder)
    return Model.load(folder, version=version)


def _train(  # noqa: PLR0913, PLR0917  # the whole of what a model is made of
    history: History, settings: Settings, name: str, horizon: int, plan: TimePlan, until: datetime
) -> Model:
    used = tuple(sorted({*plan.train, *plan.test}))
    data = dataset.load_dataset(history, settings, name, used, until)
    return backtest.fit_origin(history, settings, name, data, horizon, plan).model


def _locate(scratch: Settings, version: str) -> Path:
    return scratch.paths.mlruns / "then" / version


def _log_models(settings: Settings, scratch: Settings, models: Mapping[str, Model]) -> None:
    """Write the models that scored into the scratch promotion log, so that all that reads scores finds them."""
    copy_promotions(settings, scratch)
    known = {p.version for p in promotion_log.read_promotions(scratch)}
    for version, model in models.items():
        if version not in known:
            made = Promotion(
                promotion_log.format_now(), "promote", model.target, version, "", f"then/{version}", "the model of then"
            )
            promotion_log.append_promotion(scratch, made)
