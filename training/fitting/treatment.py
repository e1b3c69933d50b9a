"""Knows whose owner an alert told to act, so that a save is not taken for an account that would have stayed anyway.

A row is treated if its account's owner was told between `as_of` and the end of the label, or so shortly before that
the act came after. What the account would have done untreated nobody knows, so its label may be left out. That takes
away the riskiest rows, which are told of most, so like ones that nobody was told of count for them: each row that is
left has the weight of 1 over its chance of not having been told, as the alerts treated scores like its own.

Source: Robins and Finkelstein, "Correcting for noncompliance and dependent censoring", Biometrics 56 (2000).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import sqlalchemy as sa

from features.core.timestamps import DAY, to_micros, to_micros_column
from features.settings import Settings
from features.state import database
from features.state.tables import ALERT_RUNS, EPISODE_EVENTS, EPISODES, SCORES

UPSELL = "upsell"
_TOLD = ("notified", "acknowledged")  # events that only happen to an episode whose owner has heard of it
_STILL_ACTS = 14 * DAY  # after being told, owners may act for so long (µs)
_BINS = 20  # of the scores, by which the chance of being told is counted
_APART = 7 * DAY  # of nightly runs those so far apart (µs) are enough to count who was told of
_MOST = 5.0  # the largest weight: beyond, a few rows would decide


@dataclass(frozen=True)
class Treatments:
    """Everything that alerts told owners, and how likely they were to tell it.

    Args:
        accounts: Ids, ascending.
        told: (m,) of each telling: code of the account * `_SPAN` + instant (s), ascending.
        exposed: (r,) of each account at each run of the alerts: the same key, ascending.
        scores: (r,) of the accounts at these runs.
    """

    accounts: pd.Index
    told: np.ndarray
    exposed: np.ndarray
    scores: np.ndarray

    def find_treated(self, account_ids: pd.Series, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Return whether owners were told within `[starts, ends)` (µs), or so shortly before that they acted later."""
        low, high = self._find_range(self.told, account_ids, starts - _STILL_ACTS, ends)
        return high > low

    def compute_weights(
        self, account_ids: pd.Series, starts: np.ndarray, ends: np.ndarray, *, known_by: int
    ) -> np.ndarray:
        """Return 1 over each row's chance of not having been told within the same time, at most `_MOST`.

        Args:
            account_ids: (n,).
            starts: (n,) µs.
            ends: (n,) µs: where an account left earlier, it could be told of until then alone.
            known_by: What runs did later (µs) is not looked at.
        """
        low, high = self._find_range(self.exposed, account_ids, starts - _STILL_ACTS, ends)
        log_spared = self._sum_log_spared(known_by)
        spared = np.exp(log_spared[high] - log_spared[low])
        return np.minimum(_MOST, 1 / np.maximum(spared, 1e-9))

    def _sum_log_spared(self, known_by: int) -> np.ndarray:
        """Count how often accounts of like scores were told of at a run; return the running sum of the log-chances.

        Returns:
            (r + 1,), from 0 on, of not being told.
        """
        is_known = self.exposed % _SPAN < known_by // _SECOND
        if not is_known.any():
            return np.zeros(len(self.exposed) + 1)
        ends = self.exposed + self._find_gaps()
        is_told = np.searchsorted(self.told, ends) > np.searchsorted(self.told, self.exposed)
        edges = np.unique(np.quantile(self.scores[is_known], np.linspace(0, 1, _BINS + 1)[1:-1]))
        cell = np.searchsorted(edges, self.scores, side="right")
        number = np.bincount(cell[is_known], minlength=len(edges) + 1)
        told = np.bincount(cell[is_known], is_told[is_known], minlength=len(edges) + 1)
        chance = (told + 0.5) / (number + 1)
        return np.concatenate([[0.0], np.cumsum(np.log1p(-chance[cell]))])

    def _find_gaps(self) -> np.ndarray:
        """Return the time (s) from each run to the next one; after the last as much as runs lie apart at least."""
        instants, places = np.unique(self.exposed % _SPAN, return_inverse=True)
        return np.diff(instants, append=instants[-1:] + _APART // _SECOND)[places]

    def _find_range(
        self, keys: np.ndarray, account_ids: pd.Series, starts: np.ndarray, ends: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        codes = self.accounts.get_indexer(account_ids)
        offset = np.where(codes < 0, len(self.accounts), codes).astype(np.int64) * _SPAN
        return tuple(np.searchsorted(keys, offset + instants // _SECOND) for instants in (starts, ends))


_SPAN = 10**10  # s; longer than any time since 1970 that data tell of, and so short that 900 million accounts fit
_SECOND = 1_000_000  # µs


def read_treatments(settings: Settings, target: str, until: datetime) -> Treatments | None:
    """Read what owners were told before an instant; None where nothing was.

    Args:
        settings: The company's.
        target: churn or upsell: alerts on chances to sell do not treat the risk of leaving, nor the other way round.
        until: What was told later is not looked at.
    """
    if not database.exists(settings):
        return None
    with database.open(settings) as store, store.reading() as connection:
        told = _read_told(connection, target, to_micros(until))
        if told.empty:
            return None
        scores = _read_scores(connection, target, to_micros(until))
    accounts = pd.Index(sorted({*told["account_id"], *scores["account_id"]}))
    keys = np.sort(_build_keys(accounts, told["account_id"], told["at"]))
    scores = scores.assign(key=_build_keys(accounts, scores["account_id"], scores["as_of"])).sort_values("key")
    scores = scores[~_is_under_way(scores["key"].to_numpy(), accounts, told)]
    return Treatments(accounts, keys, scores["key"].to_numpy(), scores["score"].to_numpy())


def _read_told(connection: sa.Connection, target: str, until: int) -> pd.DataFrame:
    """Read account_id, at (µs), the `as_of` that owners were told about, and closed (µs), infinite while it lasts."""
    e = EPISODES.c
    heard = sa.select(EPISODE_EVENTS.c.episode_id).where(EPISODE_EVENTS.c.event.in_(_TOLD))
    is_of_target = (e.kind == UPSELL) if target == UPSELL else (e.kind != UPSELL)
    columns = (e.account_id, e.opened_as_of, sa.func.coalesce(e.closed_as_of, _SPAN * _SECOND - 1))
    query = sa.select(*columns).where(is_of_target, e.opened_as_of < until, e.id.in_(heard))
    return pd.DataFrame(connection.execute(query).all(), columns=["account_id", "at", "closed"])


def _read_scores(connection: sa.Connection, target: str, until: int) -> pd.DataFrame:
    """Read account_id, as_of (µs) and score of the cohort at runs of the alerts, a week apart."""
    s, r = SCORES.c, ALERT_RUNS.c
    runs = sa.select(r.as_of).where(r.as_of < until).order_by(r.as_of)
    longest = sa.select(sa.func.max(s.horizon)).where(s.target == target).scalar_subquery()
    instants: list[int] = []
    for row in connection.execute(runs):
        if not instants or row.as_of >= instants[-1] + _APART:
            instants.append(row.as_of)
    query = sa.select(s.account_id, s.as_of, s.score).where(
        s.target == target, s.horizon == longest, s.as_of.in_(instants), s.in_cohort.is_not(False)
    )
    return pd.DataFrame(connection.execute(query).all(), columns=["account_id", "as_of", "score"])


def _is_under_way(exposed: np.ndarray, accounts: pd.Index, told: pd.DataFrame) -> np.ndarray:
    """Return whether an earlier telling is still open at each run: then the account is not told of anew."""
    begun = _build_keys(accounts, told["account_id"], told["at"])
    order = np.argsort(begun, kind="stable")
    ended = _build_keys(accounts, told["account_id"], told["closed"])
    # The latest end of all tellings of the account that began before the run.
    latest = np.maximum.accumulate(ended[order])
    last = np.searchsorted(begun[order], exposed) - 1
    return (last >= 0) & (latest[np.maximum(last, 0)] >= exposed)


def _build_keys(accounts: pd.Index, account_ids: pd.Series, instants: pd.Series) -> np.ndarray:
    codes = accounts.get_indexer(account_ids).astype(np.int64)
    return codes * _SPAN + instants.to_numpy(dtype=np.int64) // _SECOND


def repeat_rows(rows: np.ndarray, weights: np.ndarray, *, seed: int) -> np.ndarray:
    """Return row indices with each as often as its weight says: the rest above a whole number is drawn by lot.

    Args:
        rows: (k,) indices.
        weights: (n,) of all rows, 0 or more.
        seed: Of the lots, which each row has for itself, whatever other rows there are.
    """
    lots = np.random.default_rng(seed).random(len(weights))
    return np.repeat(rows, np.floor(weights[rows] + lots[rows]).astype(np.int64))


def to_span(as_ofs: pd.Series, lead: int, days: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the starts and ends (µs) of the time in which a treatment matters: from `as_of` to the label's end."""
    starts = to_micros_column(as_ofs).to_numpy()
    return starts, starts + (lead + days) * DAY
