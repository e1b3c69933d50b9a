"""Read what was done first about each ticket, what was known when it was opened, and what came of it."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd

from features.core.timestamps import DAY, from_micros, to_micros
from features.settings import Settings
from features.sources.history import History
from features.state.database import Store
from monitoring.cost_to_serve.service_tickets import read_service_tickets
from monitoring.cost_to_serve.ticket_topics import find_topics
from monitoring.journey.ticket_costs import cost_tickets, read_staff
from training.targets.cohorts import find_eligible
from training.targets.labels import compute_labels

FAST, SLOW = "fast", "slow"
_DAYS = 730
# An attribute of accounts with more values than this is no class of theirs.
_MOST_VALUES = 12
# Days after which a ticket that is not resolved counts as not settled.
_PATIENCE = 30
_HOUR = DAY // 24


def read_path_tickets(settings: Settings, store: Store, history: History, as_of: datetime) -> pd.DataFrame:
    """Read the tickets of two years whose first action and outcome are known.

    Returns:
        ticket_id, account_id, topic_id, action, speed (fast, slow or None); cost (money), settled (1.0 where it was
        resolved and its account did not come back with the topic within the return days), csat, left (1.0 where the
        account left within the alerts' horizon after the month of the ticket); and as `x_…` what was known at its
        opening: categories as text, numbers as float64.
    """
    tickets = read_service_tickets(history, as_of, days=_DAYS)
    costs = cost_tickets(settings, tickets, read_staff(history)).frame
    frame = costs.assign(topic_id=find_topics(settings, store, tickets), action=tickets["first_action"])
    frame = _add_outcomes(frame, days=settings.problems.return_days, at=to_micros(as_of))
    frame["left"] = _find_departures(settings, history, frame, as_of)
    response = (frame["first_response_at"] - frame["opened_at"]) / _HOUR
    speed = np.where(response <= settings.cost_to_serve.fast_hours, FAST, SLOW)
    frame["speed"] = pd.Series(speed, index=frame.index, dtype=object).where(response.notna())
    frame = _add_known(frame, history)
    return frame[frame["action"].notna() & frame["settled"].notna()].reset_index(drop=True)


def _add_outcomes(frame: pd.DataFrame, *, days: int, at: int) -> pd.DataFrame:
    """Add whether each ticket was settled; NaN where it is too early to know."""
    order = frame.sort_values(["account_id", "topic_id", "opened_at"], kind="stable")
    following = order.groupby(["account_id", "topic_id"])["opened_at"].shift(-1).reindex(frame.index)
    is_back = frame["reopened"] | (following <= frame["resolved_at"] + days * DAY)
    settled = (~is_back).astype("float64").where(frame["resolved_at"] + days * DAY <= at)
    is_stuck = frame["resolved_at"].isna() & (frame["opened_at"] <= at - _PATIENCE * DAY)
    return frame.assign(settled=settled.where(~is_stuck, 0.0))


def _find_departures(settings: Settings, history: History, frame: pd.DataFrame, as_of: datetime) -> pd.Series:
    """Find whether each ticket's account left within the horizon after the next month began; NaN where not known."""
    opened = pd.to_datetime(frame["opened_at"], unit="us", utc=True)
    month = opened.dt.tz_localize(None).dt.to_period("M") + 1
    months = [m.to_timestamp().to_pydatetime().replace(tzinfo=UTC) for m in sorted(month.unique())]
    asked = [m for m in months if m <= as_of]
    if not asked:
        return pd.Series(np.nan, index=frame.index)
    rows = find_eligible(history, settings.churn.cohort, asked)
    horizon = settings.alert_horizon
    rows["left"] = compute_labels(history, settings.churn, horizon, rows, data_until=as_of)
    labels = rows.set_index([rows["account_id"], rows["as_of"].dt.tz_localize(None).dt.to_period("M")])["left"]
    keys = pd.MultiIndex.from_arrays([frame["account_id"], month])
    return pd.Series(labels.reindex(keys).to_numpy(), index=frame.index)


def _add_known(frame: pd.DataFrame, history: History) -> pd.DataFrame:
    """Add what was known when each ticket was opened."""
    order = frame.sort_values(["account_id", "opened_at"], kind="stable")
    earlier = order.groupby("account_id").cumcount().reindex(frame.index).astype("float64")
    times = order.groupby("account_id")["opened_at"]
    recent = _count_recent(order["account_id"].to_numpy(), order["opened_at"].to_numpy(), 90 * DAY)
    instants = pd.to_datetime(frame["opened_at"], unit="us", utc=True)
    known = {
        "x_priority": frame["priority"].astype("object").fillna(""),
        "x_channel": frame["channel"].astype("object").fillna(""),
        "x_language": frame["language"].astype("object").fillna(""),
        "x_tag": frame["topic"].astype("object").fillna(""),
        "x_topic": frame["topic_id"],
        "x_earlier": np.log1p(earlier),
        "x_recent": np.log1p(pd.Series(recent, index=order.index).reindex(frame.index)),
        "x_since": np.log1p((frame["opened_at"] - times.shift(1).reindex(frame.index)).fillna(_DAYS * DAY) / DAY),
        "x_weekend": (instants.dt.dayofweek >= 5).astype("float64"),
    }
    attributes = [name for name, kind in history.attributes if kind == "string"]
    if attributes:
        names = ", ".join(f'"{name}"' for name in attributes)
        rows = history.query(f"SELECT account_id, {names} FROM accounts").set_index("account_id")  # noqa: S608  # names of the settings
        for name in attributes:
            if rows[name].nunique() <= _MOST_VALUES:
                own = frame["account_id"].map(rows[name].to_dict()).astype("object")
                known[f"x_{name}"] = own.fillna("")
    return frame.assign(**known)


def _count_recent(accounts: np.ndarray, times: np.ndarray, span: int) -> np.ndarray:
    """Count each ticket's earlier ones of its account within a span; by account and time ordered, (n,)."""
    counts, first = np.zeros(len(times)), 0
    for n in range(len(times)):
        if n and accounts[n] != accounts[n - 1]:
            first = n
        while times[n] - times[first] > span:
            first += 1
        counts[n] = n - first
    return counts


def find_first_day(frame: pd.DataFrame) -> datetime | None:
    """Return when the first of the tickets was opened; None without any."""
    return None if frame.empty else from_micros(int(frame["opened_at"].min()))
