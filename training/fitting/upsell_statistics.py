"""Adds to a model of upsell what a sale brings and how the accounts buy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import numpy as np
import pandas as pd

from features.settings import Churn, Upsell
from features.sources.history import History
from training.decisions import timing, value
from training.decisions.value import Floats
from training.models.model import Model
from training.targets.labels import compute_gains

COLUMNS = ("account_id", "as_of", *value.COLUMNS, *timing.COLUMNS)


def add_upsell_statistics(  # noqa: PLR0913  # all but the first two named
    model: Model,
    target: Churn | Upsell,
    *,
    history: History,
    frame: pd.DataFrame,
    learned: Mapping[int, np.ndarray],
    labels: Mapping[int, Floats],
    data_until: datetime,
) -> Model:
    """Return the model with the uplift of each horizon and the rhythm of sales; a model of churn as it is.

    Args:
        model: With its horizons.
        target: The model's target.
        history: Of the company.
        frame: n snapshots.
        learned: By horizon, the indices of the rows learned from.
        labels: By horizon, (n,).
        data_until: The instant the data are complete until.
    """
    if not isinstance(target, Upsell):
        return model
    horizon_models = []
    for horizon_model in model.horizon_models:
        rows = frame[_list_columns(frame)].iloc[learned[horizon_model.horizon]]
        gains = compute_gains(history, target, horizon_model.horizon, rows, data_until=data_until).to_numpy()
        uplift = value.fit_uplift(gains, labels[horizon_model.horizon][learned[horizon_model.horizon]], rows)
        horizon_models.append(replace(horizon_model, uplift=uplift))
    # `rows` are those of the longest horizon: within it the sales are known.
    within = model.horizons[-1]
    actual = timing.compute_days_to_sale(history, rows, within=within, data_until=data_until)
    return replace(model, horizon_models=tuple(horizon_models), rhythm=timing.fit_rhythm(rows, actual))


def _list_columns(frame: pd.DataFrame) -> list[str]:
    return [column for column in COLUMNS if column in frame]
