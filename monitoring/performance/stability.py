"""Stability of the scores: whether accounts flip in and out of risk, and the top list and first drivers stay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.core.timestamps import from_micros, to_micros
from features.settings import Settings
from features.state import database
from features.state.database import Store
from features.state.tables import SCORES
from monitoring.alerts.queries import TARGET
from monitoring.performance.bands import FLIP_RUNS, FlipCount, count_flips, follow_bands, read_entry_levels
from monitoring.performance.reseeding import ReseedingResult
from training.evaluation.top_overlap import TopOverlap, compute_top_overlap


@dataclass(frozen=True)
class RunPair:
    """Two runs that follow each other.

    Args:
        before: The first one's instant.
        as_of: The second one's.
        same_model: Whether one model gave the scores of both.
        top: What they share at the top, of the accounts in both; None if there is none.
        explained: Accounts of the second one's highest tenth with drivers in both, if the model is the same.
        same_driver: Of these with the same first driver.
    """

    before: datetime
    as_of: datetime
    same_model: bool
    top: TopOverlap | None
    explained: int
    same_driver: int


@dataclass(frozen=True)
class StabilityReport:
    """The stability of the churn scores that alerts go by.

    Args:
        horizon: In days.
        runs: Their number.
        accounts: In the cohort of at least one.
        single: Flips of the band where one score decides: at or above the entry.
        hysteresis: Flips of the band as episodes have it: entered at one score, left at a lower one.
        pairs: Of runs, oldest first.
        reseeded: Overlap of models that differ by their seed alone; None if not asked for.
    """

    horizon: int
    runs: int
    accounts: int
    single: FlipCount
    hysteresis: FlipCount
    pairs: tuple[RunPair, ...]
    reseeded: ReseedingResult | None = None

    def lines(self) -> Iterator[str]:
        """Yield the lines for the terminal."""
        yield f"Churn over {self.horizon} days: {self.runs:,} runs of {self.accounts:,} accounts."
        yield f"  At risk or not, decided by one score: {_describe_flips(self.single)}"
        yield f"  As episodes have it, left at a lower score: {_describe_flips(self.hysteresis)}"
        tops = [p.top for p in self.pairs if p.top]
        if tops:
            worst = min(tops, key=lambda t: t.share)
            yield (
                f"From run to run {np.mean([t.share for t in tops]):.0%} of the top {tops[-1].top} stay "
                f"({worst.share:.0%} at worst), {np.mean([t.tenth_share for t in tops]):.0%} of the highest tenth."
            )
        explained = sum(p.explained for p in self.pairs)
        if explained:
            same = sum(p.same_driver for p in self.pairs) / explained
            yield f"The first driver stays for {same:.0%} of {explained:,} scores of the highest tenth (same model)."
        if self.reseeded:
            yield from self.reseeded.lines()

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        pairs = [
            asdict(p)
            | {"before": p.before.isoformat(), "as_of": p.as_of.isoformat(), "top": p.top.as_dict() if p.top else None}
            for p in self.pairs
        ]
        flips = {"single": self.single.as_dict(), "hysteresis": self.hysteresis.as_dict()}
        counts = {"horizon": self.horizon, "runs": self.runs, "accounts": self.accounts}
        return {**counts, **flips, "pairs": pairs, "reseeded": self.reseeded.as_dict() if self.reseeded else None}


def run(
    settings: Settings, *, as_of: datetime | None = None, runs: int = 12, reseeded: ReseedingResult | None = None
) -> StabilityReport:
    """Measure the stability of the newest runs' churn scores over the alerts' horizon.

    Args:
        settings: Of the company.
        as_of: Runs until then; by default all.
        runs: At most so many, the newest.
        reseeded: To stand in the report.

    Raises:
        GarrisonError: There are fewer than two runs.
    """
    horizon = settings.alert_horizon
    with database.open(settings) as state:
        as_ofs = _list_runs(state, horizon, as_of)[-runs:]
        if len(as_ofs) < 2:
            raise GarrisonError(
                f"there are no two runs of {TARGET} scores over {horizon} days to compare",
                found=f"{len(as_ofs)}",
                hint="Score again later: python -m serving score",
            )
        parts = {at: _read_scores(state, horizon, at) for at in as_ofs}
        levels = read_entry_levels(settings, state, {at: str(part["model"].iloc[0]) for at, part in parts.items()})
        pairs = [_compare_runs(state, horizon, parts, pair) for pair in pairwise(as_ofs)]
    scores = pd.DataFrame({at: part["score"] for at, part in parts.items()})
    single, hysteresis = (count_flips(follow_bands(scores, levels, is_sticky=sticky)) for sticky in (False, True))
    return StabilityReport(horizon, len(as_ofs), len(scores), single, hysteresis, tuple(pairs), reseeded)


def _list_runs(state: Store, horizon: int, as_of: datetime | None) -> list[int]:
    query = sa.select(SCORES.c.as_of).where(_is_of_horizon(horizon)).distinct().order_by(SCORES.c.as_of)
    if as_of is not None:
        query = query.where(SCORES.c.as_of <= to_micros(as_of))
    with state.reading() as connection:
        return [int(at) for at in connection.scalars(query)]


def _read_scores(state: Store, horizon: int, at: int) -> pd.DataFrame:
    """Read the cohort's scores at an instant (µs): score and model, by account id."""
    query = sa.select(SCORES.c.account_id, SCORES.c.score, SCORES.c.model).where(_is_of_horizon(horizon))
    with state.reading() as connection:
        rows = connection.execute(query.where(SCORES.c.as_of == at)).all()
    return pd.DataFrame(rows, columns=["account_id", "score", "model"]).set_index("account_id")


def _compare_runs(state: Store, horizon: int, parts: dict[int, pd.DataFrame], pair: tuple[int, int]) -> RunPair:
    first, second = (parts[at] for at in pair)
    both = first.join(second, how="inner", lsuffix="_before")
    same_model = set(first["model"]) == set(second["model"])
    top, explained, same = None, 0, 0
    if len(both):
        scores = both["score_before"].to_numpy(), both["score"].to_numpy()
        top = compute_top_overlap(both.index.to_numpy(dtype=object), *scores)
        if same_model:
            level = float(np.sort(scores[1])[-top.tenth])
            drivers = pd.DataFrame([_read_first_drivers(state, horizon, at, level) for at in pair]).T
            known = drivers[drivers.notna().all(axis=1)] if len(drivers.columns) == 2 else drivers.iloc[:0]
            explained = len(known)
            same = int((known.iloc[:, 0] == known.iloc[:, 1]).sum()) if explained else 0
    return RunPair(from_micros(pair[0]), from_micros(pair[1]), same_model, top, explained, same)


def _read_first_drivers(state: Store, horizon: int, at: int, level: float) -> dict[str, str]:
    """Read the first driver's feature of each account with a score at or above a level."""
    query = sa.select(SCORES.c.account_id, SCORES.c.drivers).where(
        _is_of_horizon(horizon), SCORES.c.as_of == at, SCORES.c.score >= level
    )
    with state.reading() as connection:
        return {account: drivers[0]["feature"] for account, drivers in connection.execute(query) if drivers}


def _is_of_horizon(horizon: int) -> sa.ColumnElement[bool]:
    return (SCORES.c.target == TARGET) & (SCORES.c.horizon == horizon) & SCORES.c.in_cohort.is_not(False)


def _describe_flips(flips: FlipCount) -> str:
    if flips.share is None:
        return f"no change that {FLIP_RUNS} more runs follow."
    return (
        f"{flips.undone:,} of {flips.changes:,} changes ({flips.share:.0%}) were undone within {FLIP_RUNS} runs, "
        f"of {flips.accounts:,} accounts."
    )
