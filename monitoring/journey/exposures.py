"""Lay out who was hit by which topic in which week, with what was known before, and who left after it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.core.sql_text import SqlText
from features.core.timestamps import from_micros, to_datetimes, to_micros
from features.definitions.feature import DAY
from features.definitions.visibility_rule import is_visible
from features.settings import Settings
from features.sources.history import History
from monitoring.experiments.effect import build_covariates
from monitoring.journey.past_scores import find_horizon
from serving.scoring import score_table
from training.targets.cohorts import find_eligible
from training.targets.labels import compute_labels, compute_mature_until

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
# A week is long enough for a hit, and short enough that few accounts leave in it.
WEEK = 7 * DAY
# A score of before counts for so long. Older ones miss what befell the account since: with 35 days the intervals held
# the truth for 71 % of tidewater's problems, with 15 for 92 %.
_FRESH = 15 * DAY
# Days without a ticket of a topic, after which a ticket is a new hit.
_CLEAN = 90 * DAY
# Rows without any ticket that are kept at most: they stand for all by their weight.
_QUIET = 40_000


@dataclass(frozen=True)
class Exposures:
    """Rows of accounts by week.

    Args:
        account: (n,) codes of accounts, for clusters.
        known: (n, k) numbers known before the week: score, value, tier, term, tickets before.
        hit: (n, topics) whether the account had a ticket of the topic in the week.
        before: (n, topics) whether it had one in the 90 days before.
        other: (n,) tickets in the week.
        left: (n,) 1.0 if the account left within the horizon after the week, or 0.0.
        weight: (n,) rows that each stands for.
        topics: Their ids.
        since: Of the first week.
        until: Of the last week's end.
        horizon: In days.
    """

    account: npt.NDArray[np.int64]
    known: Floats
    hit: Flags
    before: Flags
    other: Floats
    left: Floats
    weight: Floats
    topics: tuple[str, ...]
    since: datetime
    until: datetime
    horizon: int


def lay_out_exposures(  # noqa: PLR0913  # all but the first two named
    history: History,
    settings: Settings,
    tickets: pd.DataFrame,
    *,
    scores: pd.DataFrame,
    values: pd.Series,
    data_until: datetime,
) -> Exposures | None:
    """Lay out the weeks for which there is a score from before and an outcome after; None where there is no such week.

    Args:
        history: Of the company.
        settings: Of the company.
        tickets: account_id, opened_at (µs), topic_id; those without a topic have None.
        scores: account_id, as_of (µs), score; no later score is ever read for a week.
        values: Value at stake by account id.
        data_until: The instant the data are complete until.
    """
    horizon = find_horizon(settings)
    last = to_micros(compute_mature_until(settings.churn, horizon, data_until)) - WEEK
    if scores.empty or int(scores["as_of"].min()) > last:
        return None
    starts = np.arange(int(scores["as_of"].min()), last + 1, WEEK)
    rows = _build_rows(history, settings, scores, starts)
    if rows.empty:
        return None
    codes = pd.Index(rows["account_id"].unique())
    rows["account"] = codes.get_indexer(rows["account_id"])
    rows = rows.sort_values(["account", "start"], kind="stable").reset_index(drop=True)
    topics = tuple(sorted(t for t in tickets["topic_id"].dropna().unique()))
    counted = tickets.assign(account=codes.get_indexer(tickets["account_id"]))
    counted = counted[counted["account"] >= 0]
    events = _EventCounter(counted["account"].to_numpy(), counted["opened_at"].to_numpy())
    account, start = rows["account"].to_numpy(), rows["start"].to_numpy()
    other = events.count(account, start, start + WEEK)
    rows["recent"], rows["quarter"] = (events.count(account, start - n * DAY, start) for n in (28, 90))
    kept, weight = _thin_quiet(other)
    rows, account, start, other = rows.iloc[kept].reset_index(drop=True), account[kept], start[kept], other[kept]
    pairs = rows[["account_id"]].assign(as_of=to_datetimes(rows["start"] + WEEK))
    left = compute_labels(history, settings.churn, horizon, pairs, data_until=data_until).to_numpy()
    hit, before = (np.zeros((len(rows), len(topics)), dtype=bool) for _ in range(2))
    for column, topic in enumerate(topics):
        mine = counted[counted["topic_id"] == topic]
        of_topic = _EventCounter(mine["account"].to_numpy(), mine["opened_at"].to_numpy())
        hit[:, column] = of_topic.count(account, start, start + WEEK) > 0
        before[:, column] = of_topic.count(account, start - _CLEAN, start) > 0
    ends = _read_term_ends(history, rows)
    known = _build_known(settings, rows, values, ends)
    is_known = ~np.isnan(left) & _is_seen_by_score(rows, ends, horizon)
    return Exposures(
        account[is_known],
        known[is_known],
        hit[is_known],
        before[is_known],
        other[is_known],
        left[is_known],
        weight[is_known],
        topics,
        from_micros(int(starts[0])),
        from_micros(int(starts[-1] + WEEK)),
        horizon,
    )


class _EventCounter:
    """Counts an account's events in spans, by two binary searches in one sorted array."""

    def __init__(self, account: npt.NDArray[np.int64], at: npt.NDArray[np.int64]) -> None:
        self._first = int(at.min()) - 200 * DAY if len(at) else 0
        self._span = (int(at.max()) if len(at) else 0) - self._first + 1_000 * DAY
        self._keys = np.sort(self._key(account, at))

    def _key(self, account: npt.NDArray[np.int64], at: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        # Seconds suffice, and keep the numbers exact.
        seconds = np.clip((at - self._first) // 1_000_000, 0, self._span // 1_000_000 - 1)
        return np.asarray(account * (self._span // 1_000_000) + seconds, dtype=np.float64)

    def count(
        self, account: npt.NDArray[np.int64], since: npt.NDArray[np.int64], until: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """Return the number of events in [since, until)."""
        ends = np.searchsorted(self._keys, self._key(account, until))
        return np.asarray(ends - np.searchsorted(self._keys, self._key(account, since)), dtype=np.float64)


def _build_rows(
    history: History, settings: Settings, scores: pd.DataFrame, starts: npt.NDArray[np.int64]
) -> pd.DataFrame:
    """Return account_id, start (µs), score, days since it: the cohort's members at each week's end, scored before."""
    members = find_eligible(history, settings.churn.cohort, [from_micros(int(at + WEEK)) for at in starts])
    members = members.assign(start=members["as_of"].astype("int64") - WEEK).sort_values("start", kind="stable")
    known = scores.rename(columns={"as_of": "scored"}).sort_values("scored", kind="stable")
    joined = pd.merge_asof(
        members[["account_id", "start"]].astype({"account_id": object}),
        known.astype({"account_id": object}),
        left_on="start",
        right_on="scored",
        by="account_id",
        tolerance=_FRESH,
    )
    return joined[joined["score"].notna()].reset_index(drop=True)


def _thin_quiet(tickets: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int64], Floats]:
    """Keep every row with a ticket, and some of those without; return which, and how many rows each stands for."""
    quiet = np.flatnonzero(tickets == 0)
    if len(quiet) <= _QUIET:
        return np.arange(len(tickets)), np.ones(len(tickets))
    chosen = np.random.default_rng(17).permutation(quiet)[:_QUIET]
    kept = np.sort(np.concatenate([np.flatnonzero(tickets > 0), chosen]))
    return kept, np.where(tickets[kept] > 0, 1.0, len(quiet) / _QUIET)


def _is_seen_by_score(rows: pd.DataFrame, ends: Floats, horizon: int) -> Flags:
    """Return whether the score looked as far as the end of the term that the account may leave at.

    A term that ends in the weeks' horizon but after the score's leaves nothing to compare like accounts by.
    """
    inside = (ends >= rows["start"].to_numpy() + WEEK) & (ends < rows["start"].to_numpy() + WEEK + horizon * DAY)
    return np.asarray(~inside | (ends < rows["scored"].to_numpy() + horizon * DAY), dtype=bool)


def _build_known(settings: Settings, rows: pd.DataFrame, values: pd.Series, ends: Floats) -> Floats:
    """Return what was known before each week, as numbers of about unit size."""
    described = rows[["score"]].assign(value=rows["account_id"].map(values).astype("float64"))
    described["tier"] = _read_tiers(settings, rows)
    columns = [build_covariates(described)]
    columns.append(np.log1p(rows[["recent", "quarter"]].to_numpy(dtype=float)))
    columns.append(((rows["start"] - rows["scored"]) / (30 * DAY)).to_numpy(dtype=float)[:, None])
    days = (ends - (rows["start"].to_numpy() + WEEK)) / DAY
    horizon = find_horizon(settings)
    # Who leaves at a term's end can leave within the horizon only if the term ends there.
    inside = (days >= 0) & (days < horizon)
    columns.append(np.column_stack([inside, np.isnan(days), inside * np.nan_to_num(days) / horizon]).astype(float))
    known = np.concatenate(columns, axis=1)
    # The course over the score need not be a line, nor the same where no term ends.
    score = known[:, 0] - known[:, 0].mean()
    known = np.column_stack([known, score**2, score * inside, score**2 * inside])
    known = known[:, known.std(axis=0) > 0]
    return np.asarray((known - known.mean(axis=0)) / known.std(axis=0), dtype=np.float64)


def _read_tiers(settings: Settings, rows: pd.DataFrame) -> pd.Series:
    """Return each account's tier as of the newest scores before the week; missing where none were stored."""
    tiers = pd.Series(index=rows.index, dtype=object)
    for at, some in rows.groupby("scored"):
        stored = score_table.read_tiers(settings, from_micros(int(at)))
        if stored is not None:
            tiers[some.index] = some["account_id"].map(stored)
    return tiers


def _read_term_ends(history: History, rows: pd.DataFrame) -> Floats:
    """Return when the term in force at each week's beginning ends, from purchases known then (µs); NaN without one."""
    if "purchases" not in history.tables:
        return np.full(len(rows), np.nan)
    known = is_visible(SqlText("p.purchased_at"), SqlText("p.known_at"), SqlText("r.start"))
    sql = f"""SELECT r.row, max(p.term_ends_at) AS ends FROM week_rows r JOIN purchases p
        ON p.account_id = r.account_id AND {known} AND p.term_ends_at >= r.start
        AND coalesce(p.term_starts_at, p.purchased_at) <= r.start GROUP BY r.row"""  # noqa: S608  # our own names
    asked = pd.DataFrame({"row": range(len(rows)), "account_id": rows["account_id"], "start": rows["start"]})
    ends = history.query(sql, week_rows=asked).set_index("row")["ends"]
    return ends.reindex(range(len(rows))).to_numpy(dtype=np.float64)
