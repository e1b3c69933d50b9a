"""Read what a replay sent: every alert with its account, owner and value, and what came true of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pandas as pd
import sqlalchemy as sa

from features.core.timestamps import DAY, from_micros, to_datetimes, to_micros
from features.settings import Settings
from features.sources.history import History
from features.state.database import Store
from features.state.tables import EPISODES, OUTBOX
from monitoring.alerts.kinds import UPSELL
from monitoring.alerts.mailing import SHARED_KINDS
from serving.scoring import score_table
from training.targets.labels import compute_labels, compute_mature_until

RIGHT, WRONG, OPEN, UNJUDGED = "right", "wrong", "open", "not judged"
NOBODY = "nobody"
_COLUMNS = (
    "id",
    "account_id",
    "kind",
    "opened_as_of",
    "closed_as_of",
    "opened_score",
    "value",
    "expected",
    "play",
    "owner",
    "outcome",
)


def read_alerts(
    settings: Settings, state: Store, history: History, *, since: datetime, data_until: datetime
) -> pd.DataFrame:
    """Read the episodes that a replay opened, a row each, with what came true.

    Args:
        settings: Of the scratch company.
        state: Its state database.
        history: Of the company, for labels.
        since: The first instant that counts; episodes opened before it are there with `counts` False.
        data_until: The instant the data are complete until.

    Returns:
        The columns of the episode (instants in µs; owner "nobody" where nobody could be found; value in the company's
        currency, 0 where it is not known), tier, counts, and verdict: right if the account left within the horizon, or
        bought for a chance of a sale; wrong; open where that is not known yet; not judged for reminders, and where the
        label asks nothing of the account.
    """
    message = sa.select(*(EPISODES.c[c] for c in _COLUMNS), OUTBOX.c.state.label("message"))
    with state.reading() as connection:
        rows = connection.execute(message.outerjoin_from(EPISODES, OUTBOX, OUTBOX.c.id == EPISODES.c.message_id)).all()
    frame = pd.DataFrame(rows, columns=[*_COLUMNS, "message"]).sort_values(
        ["opened_as_of", "expected"], ignore_index=True
    )
    frame["owner"] = frame["owner"].fillna(NOBODY).astype(object)
    frame["value"] = frame["value"].astype("float64").fillna(0.0)
    frame["closed_as_of"] = frame["closed_as_of"].astype("float64")
    frame["tier"] = read_tiers(settings, frame["account_id"], frame["opened_as_of"])
    frame["counts"] = frame["opened_as_of"] >= to_micros(since)
    frame["verdict"] = _judge(settings, history, frame, data_until)
    return frame


def read_tiers(settings: Settings, accounts: pd.Series, instants: pd.Series) -> pd.Series:
    """Return the tier of each account at its instant (µs); "" where it is not known."""
    tiers = pd.Series("", index=accounts.index, dtype=object)
    for at, rows in accounts.groupby(instants):
        stored = score_table.read_tiers(settings, from_micros(int(at)))
        if stored is not None:
            tiers[rows.index] = rows.map(stored).astype(object).where(lambda t: t.notna(), "")
    return tiers


def _judge(settings: Settings, history: History, frame: pd.DataFrame, data_until: datetime) -> pd.Series:
    verdicts = pd.Series(UNJUDGED, index=frame.index, dtype=object)
    groups = [("churn", settings.alert_horizon, frame["kind"].isin(SHARED_KINDS))]
    if settings.upsell is not None:
        groups.append((UPSELL, max(settings.upsell.horizons), frame["kind"] == UPSELL))
    for name, horizon, mask in groups:
        rows, target = frame[mask], settings.targets[name]
        if rows.empty:
            continue
        pairs = pd.DataFrame({"account_id": rows["account_id"], "as_of": to_datetimes(rows["opened_as_of"])})
        labels = compute_labels(history, target, horizon, pairs, data_until=data_until)
        is_open = rows["opened_as_of"] > to_micros(compute_mature_until(target, horizon, data_until))
        known = np.select([labels == 1, labels == 0, is_open], [RIGHT, WRONG, OPEN], default=UNJUDGED)
        verdicts[rows.index] = known
    return verdicts


def thin_out(instants: Sequence[datetime], *, days: int = 7) -> list[datetime]:
    """Return the first instant, and each that is at least so many days after the last one returned."""
    kept = list[datetime]()
    for at in instants:
        if not kept or (at - kept[-1]).total_seconds() * 1e6 >= days * DAY:
            kept.append(at)
    return kept
