"""What a model of upsell is told besides the chance: what a sale brings, and how the accounts buy."""

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
    bundle: Model,
    target: Churn | Upsell,
    *,
    history: History,
    frame: pd.DataFrame,
    learned: Mapping[int, np.ndarray],
    answers: Mapping[int, Floats],
    data_until: datetime,
) -> Model:
    """The bundle with the uplift of each head and the rhythm of sales; one of churn as it is.

    Args:
        bundle: With its heads.
        target: What it is a model of.
        history: Of the company.
        frame: n snapshots.
        learned: By horizon, the places of the rows learned from.
        answers: By horizon, (n,) labels.
        data_until: The instant the data are complete until.
    """
    if not isinstance(target, Upsell):
        return bundle
    heads = []
    for head in bundle.heads:
        rows = frame[_list_columns(frame)].iloc[learned[head.horizon]]
        gained = compute_gains(history, target, head.horizon, rows, data_until=data_until).to_numpy()
        uplift = value.fit_uplift(gained, answers[head.horizon][learned[head.horizon]], rows)
        heads.append(replace(head, uplift=uplift))
    # `rows` are those of the longest horizon: within it the sales are known.
    within = bundle.horizons[-1]
    actual = timing.compute_days_to_sale(history, rows, within=within, data_until=data_until)
    return replace(bundle, heads=tuple(heads), rhythm=timing.fit_rhythm(rows, actual))


def _list_columns(frame: pd.DataFrame) -> list[str]:
    return [column for column in COLUMNS if column in frame]
