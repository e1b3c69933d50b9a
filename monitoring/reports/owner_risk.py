"""Hold what became of owners' accounts against the risk that these were given with.

An owner of sick accounts is not a bad owner. Time is cut into spells of the length that scores look ahead. Each
account's score at the beginning of a spell says what to expect of it, whoever owns it; whether it stayed until the
spell's end is what came of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from features.core.timestamps import DAY, to_datetimes, to_micros
from features.settings import Settings
from features.sources.history import History
from features.state.database import Store
from features.state.tables import SCORES
from monitoring.alerts.queries import TARGET
from monitoring.reports.shrinkage import shrink_ratios
from training.models.dataset import find_data_until
from training.targets.labels import compute_days_needed, compute_labels

# Accounts of an owner below which nothing is told of how well they are kept.
LEAST = 20


@dataclass(frozen=True)
class GivenRisk:
    """What became of a group's accounts against the risk that they were given with.

    Args:
        accounts: That were in a spell, each once.
        spells: Accounts and spells.
        expected: Departures to be expected from the scores, times what all groups' departures are of all expected.
        left: Departures.
        value_expected: Money a year expected to leave, likewise.
        value_left: Money a year that left.
        ratio: Departures against those expected, shrunken: 1 is as all, below is better; None below `LEAST` accounts.
        low: Lower end of its 95 % interval.
        high: Upper end.
    """

    accounts: int
    spells: int
    expected: float
    left: int
    value_expected: float
    value_left: float
    ratio: float | None
    low: float | None
    high: float | None

    @property
    def retention(self) -> float | None:
        """Return the share of spells that accounts stayed: raw, so that whoever was given healthy ones looks good."""
        return 1 - self.left / self.spells if self.spells else None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self) | {"retention": self.retention}


def read_spells(
    settings: Settings, store: Store, history: History, *, since: datetime, until: datetime
) -> pd.DataFrame:
    """Read the spells that begin in a period and whose outcome is known.

    Args:
        settings: The company's.
        store: Its state database.
        history: Its history.
        since: Begin of the period.
        until: Its end, not part of it.

    Returns:
        account_id, as_of (µs), score, value (0 where not known), left (0 or 1).
    """
    starts = _choose_starts(settings, store, since, until, find_data_until(history, settings))
    frames = [frame for at in starts if len(frame := _read_scores(store, settings.alert_horizon, at))]
    columns = ["account_id", "as_of", "score", "value", "left"]
    if not frames:
        return pd.DataFrame(columns=columns)
    frame = pd.concat(frames, ignore_index=True)
    pairs = frame[["account_id"]].assign(as_of=to_datetimes(frame["as_of"]))
    known = find_data_until(history, settings)
    frame["left"] = compute_labels(history, settings.churn, settings.alert_horizon, pairs, data_until=known)
    return frame.dropna(subset=["left"]).reset_index(drop=True)[columns]


def compare_groups(spells: pd.DataFrame, groups: pd.Series) -> dict[str, GivenRisk]:
    """Compare what became of each group's accounts with the risk that they were given with.

    Args:
        spells: As `read_spells` returns them.
        groups: The group of each row, on the same index.

    Returns:
        By group.
    """
    if spells.empty:
        return {}
    rows = spells.assign(group=groups, at_risk=spells["score"] * spells["value"], gone=spells["left"] * spells["value"])
    named = {"spells": ("left", "size"), "accounts": ("account_id", "nunique"), "left": ("left", "sum")}
    sums = {name: (name, "sum") for name in ("score", "at_risk", "gone")}
    table = rows.groupby("group").agg(**named, **sums)
    scale = _divide(table["left"].sum(), table["score"].sum())
    scale_of_value = _divide(table["gone"].sum(), table["at_risk"].sum())
    told = table.loc[(table["accounts"] >= LEAST) & (table["score"] * scale > 0)]
    shrunken = dict(zip(told.index, shrink_ratios(told["left"], told["score"] * scale), strict=True))
    found = {}
    for group, row in table.iterrows():
        ratio = shrunken.get(group)
        ends = (None, None, None) if ratio is None else (ratio.ratio, ratio.low, ratio.high)
        money = (float(row["at_risk"] * scale_of_value), float(row["gone"]))
        found[str(group)] = GivenRisk(
            int(row["accounts"]), int(row["spells"]), float(row["score"] * scale), int(row["left"]), *money, *ends
        )
    return found


def _divide(number: float, by: float) -> float:
    return float(number / by) if by else 1.0


def _choose_starts(
    settings: Settings, store: Store, since: datetime, until: datetime, data_until: datetime
) -> Iterator[int]:
    """Yield the instants of scores (µs) at which spells begin: each after the one before is over."""
    needed = compute_days_needed(settings.churn, settings.alert_horizon) * DAY
    length = (settings.churn.lead_days + settings.alert_horizon) * DAY
    last = min(to_micros(until) - 1, to_micros(data_until) - needed)
    kind = (SCORES.c.target == TARGET, SCORES.c.horizon == settings.alert_horizon)
    query = sa.select(SCORES.c.as_of).distinct().where(*kind, SCORES.c.as_of.between(to_micros(since), last))
    with store.reading() as connection:
        instants: Sequence[int] = sorted(connection.scalars(query))
    free = -np.inf
    for at in instants:
        if at >= free:
            yield at
            free = at + length


def _read_scores(store: Store, horizon: int, at: int) -> pd.DataFrame:
    c = SCORES.c
    query = sa.select(c.account_id, c.as_of, c.score, c.value).where(
        c.target == TARGET, c.horizon == horizon, c.as_of == at, c.in_cohort.is_not(False)
    )
    with store.reading() as connection:
        rows = connection.execute(query.order_by(c.account_id)).all()
    frame = pd.DataFrame(rows, columns=["account_id", "as_of", "score", "value"])
    return frame.astype({"score": "float64", "value": "float64"}).fillna({"value": 0.0})
