"""The rows that a company's model learns from and is tested on, as frames: account, day, features, label."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

import pandas as pd

from features.core.errors import FrameError, nearest
from features.settings import Settings, parse_instant
from features.sources.history import History
from training.fitting.fit import build_plans
from training.models.dataset import Dataset, find_data_until, list_cutoffs, load_dataset
from training.targets.labels import compute_labels
from training.targets.time_splits import TimePlan


@dataclass(frozen=True)
class LabelledRows:
    """Labelled snapshots of one target and horizon, divided in time.

    Args:
        target: churn or upsell.
        horizon: In days.
        plan: The days of both parts.
        train: account_id, as_of, features, label (1.0 or 0.0); no label reaches into the test.
        test: The same columns, of later days.
        features: The columns of the catalog and the account's attributes.
        data: All snapshots, with those whose label is not known yet.
    """

    target: str
    horizon: int
    plan: TimePlan
    train: pd.DataFrame
    test: pd.DataFrame
    features: tuple[str, ...]
    data: Dataset

    def __repr__(self) -> str:
        parts = (f"{name} {len(rows):,} rows" for name, rows in (("train", self.train), ("test", self.test)))
        return f"LabelledRows({self.target}, {self.horizon} days: {', '.join(parts)}, {len(self.features)} features)"


def load_labelled_rows(
    history: History,
    settings: Settings,
    *,
    target: str = "churn",
    horizon: int | None = None,
    as_of: datetime | date | str | None = None,
) -> LabelledRows:
    """Load the rows that `training fit` learns from and tests on: the same cohort, labels and days.

    Args:
        history: Of the company.
        settings: Of the company.
        target: churn or upsell.
        horizon: In days; by default the longest.
        as_of: As if it were then: no label looks past it. Default: all the data.

    Raises:
        FrameError: The settings have no such target or horizon.
        LabelError: Too short a history, or an empty cohort.
    """
    if target not in settings.targets:
        raise FrameError(f"there is no target {target}", hint=nearest(target, settings.targets))
    asked = settings.targets[target]
    horizon = max(asked.horizons) if horizon is None else horizon
    if horizon not in asked.horizons:
        raise FrameError(
            f"{target} has no horizon of {horizon} days",
            found=", ".join(map(str, asked.horizons)),
            hint=f"Name one of these, or add it to [{target}] horizons",
        )
    until = find_data_until(history, settings, None if as_of is None else parse_instant(as_of))
    cutoffs = list_cutoffs(history, settings, until)
    plan = build_plans(settings, asked, cutoffs, until)[horizon]
    data = load_dataset(history, settings, target, cutoffs, until)
    labels = compute_labels(history, asked, horizon, data.frame, data_until=until)
    features = tuple(c for c in data.frame if c not in {"account_id", "as_of"})
    labelled = pd.concat([data.frame, labels.rename("label")], axis=1)[labels.notna()]
    train, test = (labelled[labelled["as_of"].isin(days)] for days in (plan.train, plan.test))
    return LabelledRows(target, horizon, plan, train, test, features, data)
