"""Puts scores in money: the revenue that leaving puts at risk, and the gain that an upsell would bring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
# n snapshots: a frame, or some of its columns as arrays, with the same names.
SnapshotColumns: TypeAlias = pd.DataFrame | Mapping[str, Floats]
# What the functions here read of a snapshot.
COLUMNS = ("days_since_first_purchase", "spend_365d", "recurring_revenue_year")

_YEAR = 365.0
# A first order of last week is no rate yet: the spend of a young account is spread over so many days at least.
_LEAST_DAYS = 90.0


@dataclass(frozen=True)
class Uplift:
    """Money that upsells brought in training, as plain numbers.

    Args:
        share: Gain for each unit of the account's yearly revenue; None where no positive's revenue was known.
        amount: Mean gain of a positive, in the company's currency; used where an account's revenue is not known.
    """

    share: float | None
    amount: float


def compute_yearly_revenue(frame: SnapshotColumns) -> Floats:
    """Return the revenue that each account brings in a year at its present rate.

    That is the recurring revenue of the terms in force; without any, the spend of 365 days, by the year: divided by
    the days for which the account has been buying, from 90 to 365. Less than nothing (refunds) counts as nothing.

    Args:
        frame: n snapshots; columns that it lacks count as not known.

    Returns:
        (n,) in the company's currency a year, 0 or more; NaN where there is neither a term in force nor any purchase.
    """
    bought_for = np.clip(read_column(frame, "days_since_first_purchase"), _LEAST_DAYS, _YEAR)
    spend = read_column(frame, "spend_365d") * (_YEAR / bought_for)
    recurring = read_column(frame, "recurring_revenue_year")
    return np.maximum(np.where(np.isnan(recurring), spend, recurring), 0.0)


def compute_revenue_at_risk(frame: SnapshotColumns, probability: Floats, *, days: int = 365) -> Floats:
    """Return the expected revenue at risk: the probability of leaving times the revenue of the `days` after leaving.

    What leaving costs is what would have come after it. Revenue until then, such as that of a term still to run,
    comes in either way and is not at risk; so the term's rest does not enter, whether leaving means a term that is not
    renewed or purchases that stop. With `days` 365 it is the probability times a year's revenue.

    Args:
        frame: n snapshots.
        probability: (n,) of leaving within the horizon.
        days: `value_days` of the settings.

    Returns:
        (n,) in the company's currency; NaN where the account's revenue or its probability is not known.

    Example:
        >>> frame = pd.DataFrame({"recurring_revenue_year": [1200.0, 600.0]})
        >>> compute_revenue_at_risk(frame, np.array([0.25, 0.5])).tolist()
        [300.0, 300.0]
    """
    return np.asarray(probability * compute_yearly_revenue(frame) * (days / _YEAR), dtype=np.float64)


def fit_uplift(gains: Floats, labels: Floats, frame: SnapshotColumns) -> Uplift | None:
    """Measure what the positives of the training rows gained, to be kept with the model.

    The share is the sum of gains over the sum of yearly revenue: a mean of each account's own share would be ruled by
    those who had hardly any revenue.

    Args:
        gains: (n,) as `training.targets.labels.compute_gains` gives them.
        labels: (n,) of 1, 0 and NaN.
        frame: The n snapshots.

    Returns:
        None where there is no positive.
    """
    is_positive = (labels == 1) & ~np.isnan(gains)
    if not is_positive.any():
        return None
    revenue = compute_yearly_revenue(frame)
    is_known = is_positive & (revenue > 0)
    share = float(gains[is_known].sum() / revenue[is_known].sum()) if is_known.any() else None
    return Uplift(share, float(gains[is_positive].mean()))


def compute_upsell_value(frame: SnapshotColumns, probability: Floats, uplift: Uplift) -> Floats:
    """Return the expected upsell value: the probability times what such an upsell brought in training.

    Args:
        frame: n snapshots.
        probability: (n,) of the upsell within the horizon.
        uplift: Of the same target and horizon.

    Returns:
        (n,) in the company's currency: money inside the horizon, or a year of it where the label is `recurring_up`.
    """
    revenue = compute_yearly_revenue(frame)
    share = np.nan if uplift.share is None else uplift.share
    gain = np.where((revenue > 0) & ~np.isnan(share), revenue * share, uplift.amount)
    return np.asarray(probability * gain, dtype=np.float64)


def read_column(frame: SnapshotColumns, name: str) -> Floats:
    """Return a column of snapshots; NaN throughout if its source is missing."""
    if name in frame:
        return np.asarray(frame[name], dtype=np.float64)
    number = len(frame) if isinstance(frame, pd.DataFrame) else len(next(iter(frame.values())))
    return np.full(number, np.nan)
