"""Count the labels that matured since the champion was trained, and that a training today would learn from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from features.core.errors import LabelError
from features.core.timestamps import to_datetimes
from features.settings import Settings
from features.sources.history import History
from training.diagnostics.sample_size import FEWEST_POSITIVES
from training.fitting import fit
from training.fitting.treatment import read_treatments, to_span
from training.models import dataset
from training.models.model import Model
from training.targets import cohorts
from training.targets.labels import compute_labels

# New positives count as enough from this share of those learned from: fewer hardly move a model.
_ENOUGH = 0.1


@dataclass(frozen=True)
class NewLabels:
    """The labels of one horizon that a training today would learn from.

    Args:
        horizon: In days.
        cutoffs: Number of new ones: their labels end after all that the champion learned from.
        rows: At them.
        positives: Of these.
        learned: Positives at the cutoffs that the champion could learn from.
        treated: Of `rows` those whose owner was told of the account, so that acts may be behind the label.
    """

    horizon: int
    cutoffs: int
    rows: int
    positives: int
    learned: int
    treated: int = 0

    @property
    def is_enough(self) -> bool:
        """Return whether there are enough new positives to train again: thirty, and a tenth of those learned from."""
        return self.positives >= max(FEWEST_POSITIVES, _ENOUGH * self.learned)


def count_new_labels(settings: Settings, history: History, champion: Model) -> tuple[NewLabels, ...]:
    """Count the new labels of each horizon of a champion; none where the history is too short to train at all."""
    target = settings.targets[champion.target]
    until = dataset.find_data_until(history, settings)
    cutoffs = dataset.list_cutoffs(history, settings, until)
    try:
        plans = fit.build_plans(settings, target, cutoffs, until)
    except LabelError:
        return ()
    treatments = read_treatments(settings, champion.target, until)
    counts = []
    for horizon, plan in plans.items():
        if horizon not in champion.horizons:
            continue
        rows = cohorts.find_eligible(history, target.cohort, plan.train)
        labels = compute_labels(history, target, horizon, rows, data_until=until).to_numpy()
        starts = to_datetimes(rows["as_of"].astype("int64"))
        ends = starts + timedelta(days=plan.days)
        known = ~np.isnan(labels)
        treated = np.zeros(len(rows), dtype=bool)
        if treatments is not None:
            treated = treatments.find_treated(rows["account_id"], *to_span(starts, 0, plan.days))
        if settings.training.treated == "leave_out":
            known &= ~treated
        is_new = np.ones(len(rows), dtype=bool)
        if champion.learned_until is not None:
            is_new = (ends > champion.learned_until).to_numpy()
        counts.append(
            NewLabels(
                horizon=horizon,
                cutoffs=int(rows.loc[is_new, "as_of"].nunique()),
                rows=int((known & is_new).sum()),
                positives=int(labels[known & is_new].sum()),
                learned=int(labels[known & ~is_new].sum()),
                treated=int((known & is_new & treated).sum()),
            )
        )
    return tuple(counts)
