"""Computes labels: what came true inside the window `[as_of + lead, as_of + lead + h)`, see `label_definitions`.

A label is 1 or 0, or null: immature where the data end before it could have come true, or not asked (spend_up
of an account without spend, an account gone within the lead, one merged into another before its label was
mature). Null labels are never trained or tested on.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache

import ibis
import pandas as pd

from features.core.timestamps import to_micros, to_micros_column
from features.definitions.feature import DAY
from features.settings import Churn, ChurnLabel, Upsell, UpsellLabel
from features.sources.history import History
from training.targets.label_definitions import LABEL_KINDS
from training.targets.merges import read_merge_times


def compute_labels(
    history: History, target: Churn | Upsell, horizon: int, rows: pd.DataFrame, *, data_until: datetime
) -> pd.Series:
    """Return the label of each row.

    Args:
        history: Of the company.
        target: Its label defines what counts, its lead_days when the window starts.
        horizon: In days.
        rows: account_id, as_of (datetime64[us, UTC]); any index.
        data_until: The instant the data are complete until.

    Returns:
        float64 on the index of `rows`: 1.0, 0.0 or NaN.
    """
    return _query_labels(history, target, horizon, rows, data_until=data_until)["label"].rename(None)


def compute_gains(
    history: History, target: Upsell, horizon: int, rows: pd.DataFrame, *, data_until: datetime
) -> pd.Series:
    """Return the money that came of each row's upsell, as its kind defines it; arguments as of `compute_labels`.

    Returns:
        float64 on the index of `rows`, in the company's currency; NaN where the label is.
    """
    return _query_labels(history, target, horizon, rows, data_until=data_until)["gain"].rename(None)


def find_order(target: Churn | Upsell) -> int:
    """Return how the chance moves with a longer horizon: +1 never falls, -1 never rises, 0 neither."""
    return LABEL_KINDS[target.label.kind].order


def compute_micros_needed(target: Churn | Upsell, horizon: int) -> int:
    """Return how long after `as_of` the data must reach for the label to be mature, in µs."""
    return compute_days_needed(target, horizon) * DAY


def compute_days_needed(target: Churn | Upsell, horizon: int) -> int:
    """Return the lead, the horizon, and the grace in which a lapsed account may come back, in days."""
    grace = target.label.grace_days if isinstance(target.label, ChurnLabel) and target.label.kind == "lapse" else 0
    return target.lead_days + horizon + grace


def compute_mature_until(target: Churn | Upsell, horizon: int, data_until: datetime) -> datetime:
    """Return the last `as_of` whose labels are mature."""
    return data_until - timedelta(days=compute_days_needed(target, horizon))


def _query_labels(
    history: History, target: Churn | Upsell, horizon: int, rows: pd.DataFrame, *, data_until: datetime
) -> pd.DataFrame:
    """Return `label`, and `gain` for upsell, on the index of `rows`."""
    questions = pd.DataFrame({"row": range(len(rows)), "account_id": rows["account_id"].to_numpy()})
    questions["as_of"] = to_micros_column(rows["as_of"]).to_numpy()
    questions["start"] = questions["as_of"] + target.lead_days * DAY
    questions["end"] = questions["start"] + horizon * DAY
    rows_with_labels = history.query(_compile_query(target.label), asked=questions)
    values = rows_with_labels.set_index("row").reindex(questions["row"]).astype("float64")
    mature = questions["as_of"] + compute_micros_needed(target, horizon)
    # What a merged account would have done after the merge, the survivor does.
    merged = questions["account_id"].map(read_merge_times(history))
    values[((mature > to_micros(data_until)) | (merged < mature)).to_numpy()] = float("nan")
    return values.set_axis(rows.index)


@cache
def _compile_query(label: ChurnLabel | UpsellLabel) -> str:
    """Compile a label's query, once: a training asks for it several times a horizon."""
    integer_columns = dict.fromkeys(("row", "as_of", "start", "end"), "int64")
    table = ibis.table({"account_id": "string", **integer_columns}, name="asked")
    return ibis.to_sql(LABEL_KINDS[label.kind].build(table, label), dialect="duckdb")
