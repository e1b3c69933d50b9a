"""Train models that differ by their seed alone, and compare the tops of their rankings of the newest snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from typing import Any

import numpy as np

from features.core.errors import GarrisonError
from features.core.progress import Progress, ignore
from features.definitions.plays import PLAYS
from features.settings import Settings
from features.sources.history import History
from monitoring.alerts.queries import TARGET
from serving.scoring.drivers import find_drivers
from serving.scoring.scorer import PreparedSnapshots, Scorer
from serving.scoring.snapshot_store import StoredSnapshot
from training.decisions.value import Floats
from training.evaluation.top_overlap import TopOverlap, compute_top_overlap
from training.fitting import fit
from training.models.model import Model


@dataclass(frozen=True)
class ReseedingResult:
    """What models that differ by their seed alone share at the top.

    Args:
        as_of: Of the snapshot that they rank.
        seeds: Of the models.
        overlaps: Of each pair of them.
        explained: Accounts of the highest tenth, by the mean of the models, for which each pair of models has a cause.
        same_cause: For how many of these the first cause is the same, as a share; None without any.
    """

    as_of: datetime
    seeds: tuple[int, ...]
    overlaps: tuple[TopOverlap, ...]
    explained: int = 0
    same_cause: float | None = None

    def lines(self) -> Iterator[str]:
        """Yield the lines for the terminal."""
        shares, tenths = ([getattr(o, name) for o in self.overlaps] for name in ("share", "tenth_share"))
        yield (
            f"{len(self.seeds)} models of the same data with other seeds share {np.mean(shares):.0%} of the top "
            f"{self.overlaps[0].top} ({min(shares):.0%} at worst) and {np.mean(tenths):.0%} of the highest tenth."
        )
        if self.same_cause is not None:
            yield f"Of {self.explained:,} pairs of their scores there, {self.same_cause:.0%} name the same first cause."

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        overlaps = [o.as_dict() for o in self.overlaps]
        causes = {"explained": self.explained, "same_cause": self.same_cause}
        return {"as_of": self.as_of.isoformat(), "seeds": [*self.seeds], "overlaps": overlaps, **causes}


def fit_other_seeds(settings: Settings, count: int, *, progress: Progress = ignore) -> dict[int, Model]:
    """Train the churn model again with other seeds, on the data as they are now; nothing is registered.

    Args:
        settings: Of the company.
        count: Of models, at least 2.
        progress: Called as each step begins.
    """
    models = {}
    with History.open(settings) as history:
        for seed in range(settings.training.seed + 1, settings.training.seed + 1 + count):
            progress(f"training with seed {seed}")
            training = settings.training.model_copy(update={"seed": seed})
            own = settings.model_copy(update={"training": training, "upsell": None})
            models[seed] = fit.fit(history, own, progress=ignore)[TARGET].model
    return models


def compare_seeds(settings: Settings, models: Mapping[int, Model]) -> ReseedingResult:
    """Compare the rankings by models of several seeds of the cohort in the newest stored snapshot.

    Args:
        settings: Of the company.
        models: By seed, at least two.

    Raises:
        GarrisonError: There is no stored snapshot.
    """
    snapshot = StoredSnapshot.load_newest(settings)
    if snapshot is None:
        raise GarrisonError("there is no stored snapshot to rank", hint="Run `python -m serving score` first")
    with History.open(settings) as history:
        catalog = history.catalog
    rankings, scored, accounts = [], [], np.empty(0, dtype=object)
    for model in models.values():
        scorer = Scorer({TARGET: model}, catalog)
        rows = snapshot.prepare(scorer)
        rows = rows.take(np.flatnonzero(rows.in_cohort.get(TARGET, np.ones(len(rows), dtype=bool))))
        accounts, scores = rows.account_ids, scorer.score(rows)[TARGET]
        rankings.append(scores[:, model.horizons.index(settings.alert_horizon)])
        scored.append((model, rows, scores))
    overlaps = tuple(compute_top_overlap(accounts, a, b) for a, b in combinations(rankings, 2))
    tenth = np.argsort(-np.mean(rankings, axis=0), kind="stable")[: overlaps[0].tenth]
    causes = [_find_first_causes(*parts, tenth, settings.alert_horizon) for parts in scored]
    pairs = [(a, b) for one, other in combinations(causes, 2) for a, b in zip(one, other, strict=True) if a and b]
    same = float(np.mean([a == b for a, b in pairs])) if pairs else None
    return ReseedingResult(snapshot.as_of, tuple(models), overlaps, len(pairs), same)


def _find_first_causes(
    model: Model, rows: PreparedSnapshots, scores: Floats, places: np.ndarray, horizon: int
) -> list[str | None]:
    """Return the first cause of each of some accounts' scores; None where none is named."""
    drivers = find_drivers(model, rows.take(places), scores[places], horizon)
    found = [next((d.play for d in own if d.play and d.contribution > 0), None) for own in drivers]
    return [PLAYS[play].cause if play else None for play in found]
