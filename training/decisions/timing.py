"""Estimates when an account would leave, from its scores over the horizons, and when its next sale is due."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import ibis
import numpy as np
import numpy.typing as npt
import pandas as pd

from features.core.timestamps import to_micros, to_micros_column
from features.definitions.feature import DAY
from features.sources.history import History
from training.decisions.value import Floats, SnapshotColumns, read_column
from training.targets.cohorts import select_purchases
from training.targets.merges import exclude_copies, read_merge_times

# What is read of a snapshot.
COLUMNS = ("orders_in_all", "days_between_orders", "days_since_purchase")


@dataclass(frozen=True)
class ChurnTiming:
    """Estimated times until n accounts leave.

    Args:
        days: (k,) days after `as_of`, ascending.
        curve: (n, k) chance of having left by then, never falling; or, where `order` isn't +1, the chances as given.
        expected: (n,) mean days until it leaves, if it does by the last of `days`; NaN where unknown.
        median: (n,) days by which it has left as likely as not; NaN where the curve does not reach a half.
    """

    days: Floats
    curve: Floats
    expected: Floats
    median: Floats


@dataclass(frozen=True)
class PurchaseRhythm:
    """The rhythm at which a company's accounts buy, as plain numbers.

    Args:
        gap: Mean of the accounts' mean days between orders.
        weight: How many gaps of its own an account needs for them to count as much as `gap`.
        scale: What the expected days are multiplied by, so that as many sales come before as after.
    """

    gap: float
    weight: float
    scale: float


@dataclass(frozen=True)
class NextSale:
    """Estimated times until the next sale of n accounts.

    Args:
        days: (n,) from `as_of`; NaN where it never bought.
        overdue: (n,) whether more days have passed since the last order than its usual gap; False where it never
            bought.
    """

    days: Floats
    overdue: npt.NDArray[np.bool_]


def estimate_time_to_churn(
    horizons: Sequence[int], probabilities: Floats, *, lead: int = 0, order: int = 1
) -> ChurnTiming:
    """Estimate the curve of leaving over the horizons, and the mean and median time until an account leaves.

    Between the horizons the chance is taken to grow evenly, from 0 when the lead ends.

    Args:
        horizons: (k,) days, ascending.
        probabilities: (n, k) of leaving within each.
        lead: `lead_days` of the target.
        order: `targets.labels.order` of the target. Only where it is +1 do the chances add up to a time: the chance
            to buy nothing for 90 days (-1) does not say when the account left, and both times are NaN.

    Example:
        >>> timing = estimate_time_to_churn([30, 90], np.array([[0.25, 0.75]]))
        >>> timing.expected.tolist(), timing.median.tolist()
        ([45.0], [60.0])
    """
    edges = np.concatenate([[0.0], np.asarray(horizons, dtype=np.float64)]) + lead
    if order != 1:
        unknown = np.full(len(probabilities), np.nan)
        return ChurnTiming(edges[1:], np.asarray(probabilities, dtype=np.float64), unknown, unknown)
    curve = np.maximum.accumulate(probabilities, axis=1)
    left = np.column_stack([np.zeros(len(curve)), curve])
    steps = np.diff(left, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = steps @ ((edges[1:] + edges[:-1]) / 2) / curve[:, -1]
        at = np.argmax(left >= 0.5, axis=1)
        rows, before = np.arange(len(left)), np.maximum(at - 1, 0)
        part = (0.5 - left[rows, before]) / (left[rows, at] - left[rows, before])
        median = np.where(at > 0, edges[before] + part * (edges[at] - edges[before]), np.nan)
    return ChurnTiming(edges[1:], curve, expected, median)


def compute_days_to_sale(history: History, rows: pd.DataFrame, *, within: int, data_until: datetime) -> Floats:
    """Return the days from each `as_of` to the account's next purchase; refunds are none.

    Args:
        history: Of the company.
        rows: account_id, as_of (datetime64[us, UTC]).
        within: Days looked at; later sales are not counted.
        data_until: The instant the data are complete until.

    Returns:
        (n,) days, infinite where no sale came `within`; NaN where the data end, or the account was merged into
        another, before it could have come.
    """
    questions = pd.DataFrame({"row": range(len(rows)), "account_id": rows["account_id"].to_numpy()})
    questions["as_of"] = to_micros_column(rows["as_of"]).to_numpy()
    table, sales = (
        ibis.table({"row": "int64", "account_id": "string", "as_of": "int64"}, name="asked"),
        exclude_copies(select_purchases()),
    )
    conditions = [table.account_id == sales.account_id, sales.purchased_at >= table.as_of]
    next_sales = table.join(sales, [*conditions, sales.purchased_at < table.as_of + within * DAY])
    query = next_sales.group_by("row").agg(days=(next_sales.purchased_at - next_sales.as_of).min())
    days_by_row = history.query(ibis.to_sql(query, dialect="duckdb"), asked=questions).set_index("row")["days"]
    days = days_by_row.reindex(questions["row"]).to_numpy(dtype="float64") / DAY
    days[np.isnan(days)] = np.inf
    end = questions["as_of"] + within * DAY
    days[
        ((end > to_micros(data_until)) | (questions["account_id"].map(read_merge_times(history)) < end)).to_numpy()
    ] = np.nan
    return days


def fit_rhythm(frame: pd.DataFrame, actual: Floats) -> PurchaseRhythm | None:
    """Learn the company's rhythm from training snapshots, by moments.

    An account's gaps are taken as exponential with a mean of its own, and the means as inverse gamma over the company:
    so an account with n gaps that sum to S days has the mean `(weight * gap + S) / (weight + n)`. Of the accounts'
    observed means the variance is `v + (gap^2 + v) E[1/n]`, which gives `v`, and with it the weight `1 + gap^2 / v`.

    Source: the gamma mixture of Ehrenberg and of Schmittlein, Morrison and Colombo, "Counting your customers".

    Args:
        frame: n training snapshots; each account's newest counts for gap and weight.
        actual: (n,) of `days_to_sale`, for the scale.

    Returns:
        None where no account has ordered twice.
    """
    newest = frame.sort_values("as_of").groupby("account_id").tail(1)
    number, total, _ = _read_orders(newest)
    number, means = number[number > 0], total[number > 0] / number[number > 0]
    gap = float(means.mean()) if len(means) else 0.0
    if gap <= 0:
        return None
    noise = float((1 / number).mean())
    variance = max((float(means.var()) - gap**2 * noise) / (1 + noise), 0.01 * gap**2)
    unscaled = PurchaseRhythm(gap, 1 + gap**2 / variance, 1.0)
    ratio = actual / predict_next_sale(frame, unscaled).days
    scale = float(np.median(ratio[~np.isnan(ratio)])) if (~np.isnan(ratio)).any() else 1.0
    # Where most never buy again in the days looked at, there is no median.
    return PurchaseRhythm(gap, unscaled.weight, scale if 0 < scale < np.inf else 1.0)


def predict_next_sale(frame: SnapshotColumns, rhythm: PurchaseRhythm) -> NextSale:
    """Predict when each account's next sale is due.

    The days of silence since the last order count as a gap not yet over: the longer it lasts, the later the next one.
    """
    number, total, silent = _read_orders(frame)
    prior, pieces = rhythm.weight * rhythm.gap, rhythm.weight + number
    days = rhythm.scale * (prior + total + silent) / pieces
    return NextSale(days, silent > (prior + total) / pieces)


def _read_orders(frame: SnapshotColumns) -> tuple[Floats, Floats, Floats]:
    """Return each account's number of gaps between orders, their sum in days, and the days since the last order."""
    orders, gap, silent = (read_column(frame, name) for name in COLUMNS)
    number = np.maximum(np.nan_to_num(orders) - 1, 0.0)
    return number, number * np.nan_to_num(gap), silent
