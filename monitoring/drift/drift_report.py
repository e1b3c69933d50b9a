"""Compare the scored accounts with each champion's training rows: a verdict and a page for each target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from features.catalog import Catalog
from features.core.errors import RegistryError
from features.engine import snapshots
from features.settings import Settings
from features.sources.history import History
from monitoring.drift.comparison import Scores, judge_drift
from monitoring.drift.drift_page import name_drift_page, write_drift_page
from monitoring.drift.growth import find_growing_columns
from monitoring.drift.verdict import DriftVerdict
from serving.gate.schema_checks import select_model_columns
from serving.gate.verdict import STATES, Reason, State
from serving.scoring.snapshot_store import StoredSnapshot
from training.models.importance import compute_feature_weights
from training.models.model import Model
from training.registry import promotion_log


@dataclass(frozen=True)
class DriftReport:
    """Drift of each target's champion at one `as_of`.

    Args:
        as_of: Of the snapshot.
        verdicts: By target.
        pages: By target.
    """

    as_of: datetime
    verdicts: Mapping[str, DriftVerdict]
    pages: Mapping[str, Path]

    @property
    def state(self) -> State:
        """Return the worst state of all targets."""
        return max((verdict.state for verdict in self.verdicts.values()), key=STATES.index, default="ok")

    def lines(self) -> Iterator[str]:
        """Yield the lines for the terminal."""
        for target, verdict in self.verdicts.items():
            yield f"{target}, as of {self.as_of:%Y-%m-%d}: {verdict.state}"
            yield from (f"  {line}" for line in verdict.lines())
            yield f"  page: {self.pages[target]}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        targets = {t: v.as_dict() | {"page": str(self.pages[t])} for t, v in self.verdicts.items()}
        return {"as_of": self.as_of.isoformat(), "state": self.state, "targets": targets}


def run(settings: Settings, *, as_of: datetime | None = None, with_pages: bool = True) -> DriftReport:
    """Compare the cohort at `as_of` with each champion's training rows, and write a page for each.

    Args:
        settings: The company's.
        as_of: By default the midnight that ends the last day with an event.
        with_pages: Whether pages are written.

    Raises:
        GarrisonError: There is no champion, or no account at `as_of`.
    """
    champions = promotion_log.load_champions(settings)
    if not champions:
        raise RegistryError("no model is champion", hint="Run `python -m training fit`, then `… promote RUN`")
    with History.open(settings) as history:
        snapshot = StoredSnapshot.load(settings, history, as_of or snapshots.find_latest_as_of(history))
    catalog = history.catalog
    verdicts, pages = {}, {}
    for target, model in champions.items():
        verdicts[target], samples = _compare(settings, model, snapshot, catalog)
        if not with_pages:
            continue
        file = name_drift_page(drift_folder(settings), snapshot.as_of, target)
        heading = f"{settings.company.name}: {target} model {model.version}, accounts as of {snapshot.as_of:%Y-%m-%d}"
        about: dict[str, Any] = {"file": file, "heading": heading, "catalog": catalog}
        pages[target] = write_drift_page(verdicts[target], **samples, **about)
    return DriftReport(snapshot.as_of, verdicts, pages)


def judge_columns(
    settings: Settings, models: Mapping[str, Model], snapshot: StoredSnapshot, catalog: Catalog
) -> Iterator[Reason]:
    """Yield a reason to watch for each target of which much that its model reads has moved since training.

    Drift alone holds no run: a moved column may be the business itself.

    Args:
        settings: The company's.
        models: The champions, by target.
        snapshot: That was scored, or a sample of its rows.
        catalog: The company's features.
    """
    for target, model in models.items():
        verdict, _ = _compare(settings, model, snapshot, catalog)
        if verdict.state == "watch":
            figures = {"columns": len(verdict.moved_features), "weight": verdict.moved_weight}
            yield Reason("column", target, "watch", verdict.sentence.rstrip("."), figures)


def _compare(
    settings: Settings, model: Model, snapshot: StoredSnapshot, catalog: Catalog
) -> tuple[DriftVerdict, dict[str, Any]]:
    """Return the verdict on one champion's columns and scores, and the samples that it compared."""
    reference, current = select_model_columns(model, snapshot)
    samples: dict[str, Any] = {"reference": reference, "current": current}
    samples |= {"seed": settings.training.seed, "scores": _score(model, reference, current)}
    # Models registered earlier lack the dates of their training rows.
    dated = reference.assign(as_of=model.reference["as_of"]) if "as_of" in model.reference else reference
    verdict = judge_drift(
        **samples | {"reference": dated},
        weights=compute_feature_weights(model),
        as_of=snapshot.as_of,
        growing=find_growing_columns(model.reference, model.features, catalog),
    )
    return verdict, samples


def drift_folder(settings: Settings) -> Path:
    """Return the company's folder of drift pages."""
    return settings.var / "drift"


def _score(model: Model, reference: pd.DataFrame, current: pd.DataFrame) -> Scores:
    """Return the champion's scores of both frames; none where a frame lacks a column or has no rows."""
    for frame in (reference, current):
        if frame.empty or not set(model.features).issubset(frame.columns):
            return {}
    before, now = (model.probabilities(model.matrix(frame)) for frame in (reference, current))
    names = [f"score {model.target} {days} days" for days in model.horizons]
    return {name: (before[:, at], now[:, at]) for at, name in enumerate(names)}
