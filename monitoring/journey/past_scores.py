"""Read the scores that accounts had before their tickets: stored ones, and those that a backtest gave as of then."""

from __future__ import annotations

import numpy as np
import pandas as pd
import sqlalchemy as sa

from features.core.timestamps import to_micros_column
from features.settings import Settings
from features.state.database import Store
from features.state.tables import SCORES

CHURN = "churn"


def find_horizon(settings: Settings) -> int:
    """Return the days that accounts are watched for leaving: as set, or the churn horizon nearest to 90."""
    return settings.journey.horizon or min(settings.churn.horizons, key=lambda days: (abs(days - 90), -days))


def read_past_scores(settings: Settings, store: Store) -> pd.DataFrame:
    """Read each account's scores of leaving within the horizon, none made by a model that had seen later labels.

    A stored score counts before one of a backtest, and that before one of the last training's test.

    Returns:
        account_id, as_of (µs), score, one row for both; by as_of.
    """
    days = find_horizon(settings)
    parts = [_read_stored(store, days)]
    folder = settings.var / "evaluation"
    for name in (f"backtest_{CHURN}", f"{CHURN}_{days}d"):
        file = folder / f"{name}.parquet"
        if file.exists():
            parts.append(_read_tested(file, days))
    rows = pd.concat([part for part in parts if len(part)], ignore_index=True) if any(map(len, parts)) else parts[0]
    return rows.drop_duplicates(["account_id", "as_of"]).sort_values("as_of", kind="stable").reset_index(drop=True)


def read_values(settings: Settings, store: Store) -> pd.Series:
    """Read each account's value at stake, as its newest stored score has it, by account id."""
    c = SCORES.c
    times = sa.select(c.account_id, sa.func.max(c.as_of).label("as_of")).where(c.target == CHURN, c.value.is_not(None))
    newest = times.group_by(c.account_id).subquery()
    query = sa.select(c.account_id, sa.func.max(c.value)).join(
        newest, (c.account_id == newest.c.account_id) & (c.as_of == newest.c.as_of)
    )
    query = query.where(c.target == CHURN, c.horizon == settings.alert_horizon).group_by(c.account_id)
    with store.reading() as connection:
        rows = connection.execute(query).all()
    return pd.Series({account: float(value) for account, value in rows}, dtype="float64")


def _read_stored(store: Store, days: int) -> pd.DataFrame:
    c = SCORES.c
    query = sa.select(c.account_id, c.as_of, c.score).where(
        c.target == CHURN, c.horizon == days, c.in_cohort.is_not(False)
    )
    with store.reading() as connection:
        rows = connection.execute(query).all()
    return pd.DataFrame(rows, columns=["account_id", "as_of", "score"]).astype(
        {"account_id": object, "as_of": np.int64, "score": np.float64}
    )


def _read_tested(file: object, days: int) -> pd.DataFrame:
    frame = pd.read_parquet(file)
    if "horizon" in frame:
        frame = frame[frame["horizon"] == days]
    rows = frame[["account_id", "as_of", "score"]].copy()
    rows["as_of"] = to_micros_column(rows["as_of"])
    return rows.astype({"account_id": object, "score": np.float64})
