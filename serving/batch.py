"""Batch scoring: every account at one instant, into the store and to a destination; safe to run again at any time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
import pandas as pd

from features import snapshots
from features.history import History
from features.instants import aware, micros
from features.settings import Settings
from serving import destinations, online, reasons, store
from serving.answers import champions
from serving.online import Snapshot
from serving.scorer import Floats, Rows, Scorer

# Rows scored or explained at a time: what progress is told by.
CHUNK = 5_000


class Explain(StrEnum):
    """Whose scores get drivers: contributions take a hundred times as long as the score itself."""

    ABOVE = "above"  # those above the base rate of their target and horizon
    ALL = "all"
    NONE = "none"


class Progress(Protocol):
    """Told of each step as it begins, and of how much of it is done."""

    def __call__(self, step: str, done: int = 0, of: int = 0) -> None:
        """Step in words; rows done of how many, where that is known."""


@dataclass(frozen=True)
class Batch:
    """What a run scored.

    Args:
        as_of: Where it looked from.
        rows: The accounts, n of them.
        scores: By target, probabilities of shape (n, horizons).
        drivers: By target and horizon, the drivers of each account; () where it was not explained.
        written: Rows now in the store.
    """

    as_of: datetime
    scorer: Scorer
    rows: Rows
    scores: Mapping[str, Floats]
    drivers: Mapping[tuple[str, int], list[tuple[reasons.Driver, ...]]]
    written: int

    def summary(self) -> dict[str, Any]:
        """For machines."""
        return {
            "as_of": self.as_of.isoformat(),
            "accounts": len(self.rows),
            "rows": self.written,
            "sources": list(self.rows.sources),
            "models": {target: bundle.version for target, bundle in self.scorer.bundles.items()},
            "targets": {
                f"{t}_{horizon}d": {
                    "mean": float(self.scores[t][:, h].mean()),
                    "base_rate": bundle.base_rates[horizon],
                    "above": int((self.scores[t][:, h] > bundle.base_rates[horizon]).sum()),
                }
                for t, bundle in self.scorer.bundles.items()
                for h, horizon in enumerate(bundle.horizons)
            },
        }


def run(
    settings: Settings,
    to: str | None,
    *,
    as_of: datetime | None = None,
    explain: Explain = Explain.ABOVE,
    progress: Progress | None = None,
) -> Batch:
    """Score every account created before `as_of`.

    The order is: snapshot file, store, destination; each is written whole or not at all, so a run that was killed is
    mended by running it again.

    Args:
        settings: The company's.
        to: As `destinations.write` takes it; None for the store alone.
        as_of: Default: the midnight that ends the last day with an event.
        explain: Whose scores get drivers.
        progress: Told how far it is.

    Raises:
        GarrisonError: There is no champion, no account, or a place that can't be read or written.
    """
    tell = progress or _silent
    if to is not None:
        destinations.check(to)
    scorer = champions(settings)
    with store.open(settings) as state:
        tell("history")
        with History.open(settings) as history:
            tell("snapshot")
            snapshot = Snapshot.take(settings, history, as_of or snapshots.latest(history))
        rows = snapshot.rows(scorer)
        scores = _scores(scorer, rows, tell)
        drivers = dict(_drivers(scorer, rows, scores, explain=explain, tell=tell))
        snapshot.write(online.folder(settings))
        batch = Batch(snapshot.as_of, scorer, rows, scores, drivers, sum(s.size for s in scores.values()))
        tell("store", 0, batch.written)
        state.write_scores(_told(records(batch), batch.written, tell))
    if to is not None:
        tell("destination")
        destinations.write(table(settings, batch), to)
    return batch


def _silent(step: str, done: int = 0, of: int = 0) -> None:
    pass


def _scores(scorer: Scorer, rows: Rows, tell: Progress) -> dict[str, Floats]:
    parts = []
    for start in range(0, len(rows), CHUNK):
        tell("scores", start, len(rows))
        parts.append(scorer.score(rows.take(slice(start, start + CHUNK))))
    return {target: np.concatenate([part[target] for part in parts]) for target in scorer.bundles}


def _drivers(
    scorer: Scorer, rows: Rows, scores: Mapping[str, Floats], *, explain: Explain, tell: Progress
) -> Iterator[tuple[tuple[str, int], list[tuple[reasons.Driver, ...]]]]:
    for target, bundle in scorer.bundles.items():
        for h, horizon in enumerate(bundle.horizons):
            above = scores[target][:, h] > bundle.base_rates[horizon]
            wanted = {Explain.ABOVE: above, Explain.ALL: above | True, Explain.NONE: above & False}[explain]
            found: list[tuple[reasons.Driver, ...]] = [()] * len(rows)
            which = np.flatnonzero(wanted)
            for start in range(0, len(which), CHUNK):
                tell(f"drivers of {target} in {horizon} days", start, len(which))
                some = which[start : start + CHUNK]
                explained = reasons.drivers(bundle, rows.take(some), scores[target][some], horizon)
                for i, drivers in zip(some, explained, strict=True):
                    found[i] = drivers
            yield (target, horizon), found


def records(batch: Batch) -> Iterator[dict[str, Any]]:
    """The rows of the store's table of scores."""
    rows, scored_at = batch.rows, micros(datetime.now(UTC))
    as_of = micros(batch.as_of)
    for target, bundle in batch.scorer.bundles.items():
        eligible = rows.in_cohort.get(target)
        shared = {
            "as_of": as_of,
            "target": target,
            "model": bundle.version,
            "catalog": batch.scorer.catalog.version,
            "sources": ",".join(rows.sources),
            "scored_at": scored_at,
        }
        for h, horizon in enumerate(bundle.horizons):
            drivers = batch.drivers[target, horizon]
            for i in range(len(rows)):
                yield shared | {
                    "account_id": rows.account_ids[i],
                    "horizon": horizon,
                    "score": float(batch.scores[target][i, h]),
                    "value": None if np.isnan(rows.value[i]) else float(rows.value[i]),
                    "in_cohort": None if eligible is None else bool(eligible[i]),
                    "drivers": [driver.as_dict() for driver in drivers[i]],
                }


def _told(rows: Iterable[dict[str, Any]], of: int, tell: Progress) -> Iterator[dict[str, Any]]:
    for i, row in enumerate(rows):
        if i % CHUNK == 0:
            tell("store", i, of)
        yield row


def table(settings: Settings, batch: Batch) -> pd.DataFrame:
    """One row an account, for people and CRMs.

    Returns:
        account_id, as_of, a score a target and horizon (`churn_90d`), value, drivers (those of the churn that alerts
        go by, in words), sources, model (the versions), in_cohort (that of churn).
    """
    rows, bundles = batch.rows, batch.scorer.bundles
    found: dict[str, Any] = {
        "account_id": rows.account_ids.astype(str),
        "as_of": aware(pd.Series(rows.as_of)),
    }
    for target, bundle in bundles.items():
        for h, horizon in enumerate(bundle.horizons):
            found[f"{target}_{horizon}d"] = batch.scores[target][:, h]
    spoken = batch.drivers.get(("churn", settings.alert_horizon), [()] * len(rows))
    eligible = rows.in_cohort.get("churn")
    return pd.DataFrame(
        found
        | {
            "value": rows.value,
            "drivers": ["; ".join(driver.text for driver in drivers) for drivers in spoken],
            "sources": ",".join(rows.sources),
            "model": ",".join(bundle.version for bundle in bundles.values()),
            "in_cohort": pd.array([None] * len(rows) if eligible is None else eligible, dtype="boolean"),
        }
    )
