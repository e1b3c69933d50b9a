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
from features.settings import Settings
from features.sources.history import History
from monitoring.alerts.queries import TARGET
from serving.scoring.scorer import Scorer
from serving.scoring.snapshot_store import StoredSnapshot
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
    """

    as_of: datetime
    seeds: tuple[int, ...]
    overlaps: tuple[TopOverlap, ...]

    def lines(self) -> Iterator[str]:
        """Yield the lines for the terminal."""
        shares, tenths = ([getattr(o, name) for o in self.overlaps] for name in ("share", "tenth_share"))
        yield (
            f"{len(self.seeds)} models of the same data with other seeds share {np.mean(shares):.0%} of the top "
            f"{self.overlaps[0].top} ({min(shares):.0%} at worst) and {np.mean(tenths):.0%} of the highest tenth."
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        overlaps = [o.as_dict() for o in self.overlaps]
        return {"as_of": self.as_of.isoformat(), "seeds": [*self.seeds], "overlaps": overlaps}


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
    rankings, accounts = [], np.empty(0, dtype=object)
    for model in models.values():
        scorer = Scorer({TARGET: model}, catalog)
        rows = snapshot.prepare(scorer)
        is_eligible = rows.in_cohort.get(TARGET, np.ones(len(rows), dtype=bool))
        accounts = rows.account_ids[is_eligible]
        rankings.append(scorer.score(rows)[TARGET][is_eligible, model.horizons.index(settings.alert_horizon)])
    overlaps = tuple(compute_top_overlap(accounts, a, b) for a, b in combinations(rankings, 2))
    return ReseedingResult(snapshot.as_of, tuple(models), overlaps)
