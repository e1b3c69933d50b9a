"""Find the accounts that left in the time replayed: when, what they were worth, and whether their owner was told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pandas as pd
import sqlalchemy as sa

from features.core.timestamps import DAY, to_datetimes, to_micros
from features.settings import Churn, Settings
from features.sources.history import History
from features.state.database import Store
from features.state.tables import SCORES
from monitoring.alerts.mailing import SHARED_KINDS
from monitoring.alerts.queries import TARGET
from monitoring.notifications.dead_letters import SENT
from training.targets.labels import compute_labels

# Labels that say that an account did nothing: it is lost when it has been silent for long enough.
_SILENCE = frozenset({"no_purchase", "no_usage"})
_LONGEST_LOOK_BACK = 366
_FOREVER = 2**62  # µs


def find_departed(
    settings: Settings, state: Store, history: History, instants: Sequence[datetime], *, data_until: datetime
) -> pd.DataFrame:
    """Find the accounts that the label of leaving came true of at some instant, each once, at its first.

    Args:
        settings: Of the scratch company.
        state: Its state database.
        history: Of the company.
        instants: At which alerts looked.
        data_until: The instant the data are complete until.

    Returns:
        account_id, at (the first instant of which the label is true, µs), value at stake then, lost (µs: the day on
        which it was lost for certain).
    """
    c = SCORES.c
    at = [to_micros(i) for i in instants]
    query = sa.select(c.account_id, c.as_of, c.value).where(
        c.target == TARGET, c.horizon == settings.alert_horizon, c.in_cohort.is_(True), c.as_of.in_(at)
    )
    with state.reading() as connection:
        rows = pd.DataFrame(connection.execute(query).all(), columns=["account_id", "at", "value"])
    rows = rows.sort_values(["at", "account_id"], ignore_index=True)
    if rows.empty:
        return rows.assign(lost=pd.Series(dtype="float64"))
    pairs = pd.DataFrame({"account_id": rows["account_id"], "as_of": to_datetimes(rows["at"])})
    labels = compute_labels(history, settings.churn, settings.alert_horizon, pairs, data_until=data_until)
    gone = rows[labels == 1].drop_duplicates("account_id").reset_index(drop=True)
    gone["value"] = gone["value"].astype("float64").fillna(0.0)
    gone["lost"] = _find_lost(settings, history, gone, data_until)
    return gone


def match_alerts(departed: pd.DataFrame, alerts: pd.DataFrame) -> pd.DataFrame:
    """Add the first alert about each departed account whose episode was open as it left.

    Args:
        departed: Of `find_departed`.
        alerts: Of `read_alerts`.

    Returns:
        The same rows with told (whether a message reached its owner), alerted_at (µs, NaN where not told), and
        lead_days from that message to the day on which the account was lost.
    """
    risks = alerts[alerts["kind"].isin(SHARED_KINDS) & (alerts["message"] == SENT)]
    both = departed[["account_id", "at", "lost"]].merge(risks[["account_id", "opened_as_of", "closed_as_of"]])
    is_near = (both["opened_as_of"] <= both["lost"]) & ~(both["closed_as_of"] <= both["at"])
    first = both[is_near].groupby("account_id")["opened_as_of"].min()
    alerted = departed["account_id"].map(first).astype("float64")
    return departed.assign(
        alerted_at=alerted, told=alerted.notna(), lead_days=(departed["lost"].astype("float64") - alerted) / DAY
    )


def find_unalerted_span(missed: pd.DataFrame, alerts: pd.DataFrame, *, since: int) -> pd.DataFrame:
    """Find the time in which no alert spoke of accounts that left unannounced.

    Args:
        missed: The accounts, of `match_alerts`.
        alerts: Of `read_alerts`.
        since: When the time begins (µs) for those of whom no alert had spoken before.

    Returns:
        since: after the last alert that ended before the account was leaving; end: the day on which it was lost, for
        those of whom an alert spoke afterwards, or else the end of all time. Both µs, on the index of `missed`.
    """
    risks = alerts[alerts["kind"].isin(SHARED_KINDS) & (alerts["message"] == SENT)]
    both = missed[["account_id", "at", "lost"]].merge(risks[["account_id", "opened_as_of", "closed_as_of"]])
    before = both[both["closed_as_of"] <= both["at"]].groupby("account_id")["closed_as_of"].max() + 1
    after = both[both["opened_as_of"] > both["lost"]].groupby("account_id")["lost"].first()
    accounts = missed["account_id"]
    begin, end = accounts.map(before).fillna(since), accounts.map(after).fillna(_FOREVER)
    return pd.DataFrame({"since": begin.astype("int64"), "end": end.astype("int64")}, index=missed.index)


def _find_lost(settings: Settings, history: History, gone: pd.DataFrame, data_until: datetime) -> pd.Series:
    """Return when each account was lost (µs).

    Where leaving is an event, such as the end of a contract, that is its day. Where leaving is silence, it is the day
    on which the account drops out of the cohort of the active, or has been silent for the horizon.
    """
    churn = settings.churn.model_copy(update={"lead_days": 0})
    lead, horizon = settings.churn.lead_days, settings.alert_horizon
    if churn.label.kind not in _SILENCE:
        days = range(lead, lead + horizon)
        hits = _ask_days(history, churn, gone, days, data_until, value=1.0)
        return hits.groupby("row")["day"].min().reindex(gone.index).fillna(gone["at"] + (lead + horizon) * DAY)
    within = churn.cohort.within_days if churn.cohort.kind in {"active", "using"} else horizon
    look_back = range(-min(_LONGEST_LOOK_BACK, within + 1), lead)
    last = _ask_days(history, churn, gone, look_back, data_until, value=0.0).groupby("row")["day"].max()
    return last.reindex(gone.index).fillna(gone["at"] - DAY) + (1 + within) * DAY


def _ask_days(  # noqa: PLR0913, PLR0917  # a label of single days, and of whom it is asked
    history: History, churn: Churn, gone: pd.DataFrame, days: range, data_until: datetime, value: float
) -> pd.DataFrame:
    """Return the row and the day (µs) of each account's days, counted from its instant, that have this label."""
    asked = pd.DataFrame({"row": gone.index.repeat(len(days)), "offset": [*days] * len(gone)})
    asked["day"] = gone["at"].to_numpy()[asked["row"]] + asked["offset"].to_numpy() * DAY
    asked["account_id"] = gone["account_id"].to_numpy()[asked["row"]]
    pairs = pd.DataFrame({"account_id": asked["account_id"], "as_of": to_datetimes(asked["day"])})
    # The label itself has matured: of its single days nothing is open.
    labels = compute_labels(history, churn, 1, pairs, data_until=data_until + timedelta(days=_LONGEST_LOOK_BACK))
    return asked[labels.to_numpy() == value]
