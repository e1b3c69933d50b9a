"""Checks recorded ends of accounts: events after the end, and events whose number reveals the end beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import ibis
import numpy as np
import pandas as pd

from features.core.contract import TABLES
from features.core.timestamps import to_micros
from features.definitions.feature import DAY
from features.settings import ChurnLabel, UpsellLabel
from features.sources.history import History
from training.targets.label_definitions import find_lapses

# Clocks, time zones and ends recorded by the day make two days of difference; an account that is seen two weeks after
# its end can have been seen by now.
_GRACE_DAYS, _SEEN_DAYS = 2, 14
_AFTER_SHARE, _AFTER_ACCOUNTS = 0.1, 10
# Events grow as lives do: measured 0.8 to 1.2 on honest companies; 0 to 0.4 where a maker drew a life's number of
# events first and spread it over the life.
_GROWTH, _LIVES, _SHORTEST_DAYS, _SPREAD = 0.5, 200, 14, (0.4, 0.6)


def find_problems(
    history: History, label: ChurnLabel | UpsellLabel, *, data_until: datetime
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Find what contradicts the recorded ends, by source, and remarks; nothing if the label records no ends.

    Usage recorded more than two days after the end of a tenth of the accounts that left, and of ten accounts at
    least, means that ends are dated back or labels wrong: a suspect. A company that lets accounts go on for free
    after leaving must say so (`training.trusted = ["usage"]`). Tickets and purchases after the end are remarked on.
    """
    until = min(history.last_event, to_micros(data_until) - 1)
    lifespans = _read_lifespans(history, label, until)
    doubts, remarks = {}, []
    if lifespans is None:
        return {}, ()
    for source in history.sources:
        if description := _describe_events_after_end(history, source, lifespans, until):
            if source == "usage":
                doubts[source] = description
            else:
                remarks.append(description)
        remarks += _describe_even_spread(history, source, lifespans)
    return doubts, tuple(remarks)


def _read_lifespans(history: History, label: ChurnLabel | UpsellLabel, last: int) -> pd.DataFrame | None:
    """Return account_id, started, until (its end, or the data's), gone; in µs. None if no ends are recorded."""
    if label.kind == "ended":
        sql = f"""SELECT account_id, min(started_at) AS started,
                        CASE WHEN count(ended_at) = count(*) THEN max(ended_at) END AS ended
                 FROM lifetimes WHERE started_at <= {last} GROUP BY 1"""  # noqa: S608  # a number
    elif isinstance(label, ChurnLabel) and label.kind == "lapse":
        ends = ibis.to_sql(find_lapses(label), dialect="duckdb")
        sql = f"""SELECT account_id, created_at AS started, ended FROM accounts LEFT JOIN
                  (SELECT account_id, max(lapsed_at) AS ended FROM ({ends}) GROUP BY 1) USING (account_id)"""  # noqa: S608  # Ibis' own
    else:
        return None
    lived = f"SELECT account_id, started, least(coalesce(ended, {last}), {last}) AS until, coalesce(ended < {last}, false) AS gone FROM ({sql})"  # noqa: S608, E501  # as above
    return history.query(f"{lived} ORDER BY account_id")


def _describe_events_after_end(history: History, source: str, lifespans: pd.DataFrame, until: int) -> str:
    """Describe events of a source after accounts' ends; return an empty text if there are few."""
    left = lifespans[lifespans["gone"] & (lifespans["until"] <= until - _SEEN_DAYS * DAY)]
    time = TABLES[source].time
    sql = f"SELECT account_id, max({time}) AS last FROM {source} WHERE {time} <= {until} GROUP BY 1"  # noqa: S608  # the contract's own names
    last = history.query(sql)
    beyond = (left["account_id"].map(last.set_index("account_id")["last"]) - left["until"]) / DAY
    late = beyond[beyond > _GRACE_DAYS]
    if len(late) < max(_AFTER_ACCOUNTS, _AFTER_SHARE * len(left)):
        return ""
    return (
        f"{source} was recorded after the end of {len(late):,} of the {len(left):,} accounts that left, by "
        f"{late.median():,.0f} days in the middle: their ends are dated back, or they have not left"
    )


def _describe_even_spread(history: History, source: str, lived: pd.DataFrame) -> Iterator[str]:
    """Yield a remark where long lives hold hardly more events than short ones, evenly spread."""
    time = TABLES[source].time
    sql = f"""SELECT any_value(gone) AS gone, any_value(until - started) AS days, count({time}) AS events,
                     avg(({time} - started)::DOUBLE / (until - started)) AS place
              FROM lived LEFT JOIN {source} AS e
              ON e.account_id = lived.account_id AND {time} >= started AND {time} < until
              WHERE started >= (SELECT min({time}) FROM {source}) AND until - started > {_SHORTEST_DAYS * DAY}
              GROUP BY lived.account_id"""  # noqa: S608  # the contract's own names
    each = history.query(sql, lived=lived)
    for gone, group in each.groupby("gone"):
        if len(group) < _LIVES or not _SPREAD[0] <= group["place"].mean() <= _SPREAD[1]:
            continue
        grown = _estimate_growth(group["days"].to_numpy(dtype="float64"), group["events"].to_numpy(dtype="float64"))
        if grown < _GROWTH:
            whose = "accounts that left" if gone else "accounts that stay"
            yield (
                f"{source} knows how long accounts live: of {len(group):,} {whose}, those that lived twice as long "
                f"have {2**grown - 1:.0%} more events, not twice as many, spread evenly over their lives. Data made up "
                "from the end look so; what a model gains by the density of events is then no skill"
            )


def _estimate_growth(days: np.ndarray, events: np.ndarray) -> float:
    """Estimate the power of the length of life by which events grow, from the longest third against the shortest."""
    order = np.argsort(days, kind="stable")
    short, *_, long = np.array_split(order, 3)
    ratio = events[long].mean() / max(events[short].mean(), 1e-9)
    return float(np.log(max(ratio, 1e-9)) / np.log(days[long].mean() / days[short].mean()))
