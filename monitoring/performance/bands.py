"""Follow each account's band, at risk or not, from run to run, and count the changes that are soon undone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from features.core.errors import RegistryError
from features.settings import Settings
from features.state.database import Store
from features.state.tables import ALERT_RUNS
from monitoring.alerts.queries import TARGET
from training.decisions.levels import Levels, find_churn_levels
from training.registry import promotion_log

# A change of band that is undone within so many runs is a flip-flop.
FLIP_RUNS = 3


@dataclass(frozen=True)
class FlipCount:
    """How often accounts changed their band, and how often they changed back.

    Args:
        changes: Of the band, followed by at least three more runs of the account.
        undone: Of these within three runs.
        accounts: Accounts with at least one change undone.
    """

    changes: int
    undone: int
    accounts: int

    @property
    def share(self) -> float | None:
        """Return the share of changes that were undone; None without any."""
        return self.undone / self.changes if self.changes else None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self) | {"share": self.share}


def read_entry_levels(settings: Settings, state: Store, versions: Mapping[int, str]) -> list[Levels | None]:
    """Read the levels of some runs; None where no alerts were raised and the model is gone.

    Args:
        settings: Of the company.
        state: Its state database.
        versions: Of the churn model, by the run's instant (µs).
    """
    query = sa.select(ALERT_RUNS.c.as_of, ALERT_RUNS.c.enter, ALERT_RUNS.c.leave).where(ALERT_RUNS.c.target == TARGET)
    with state.reading() as connection:
        used = {row.as_of: Levels(row.enter, row.leave) for row in connection.execute(query)}
    of_models = {version: _compute_levels(settings, version) for version in set(versions.values())}
    return [used.get(at, of_models[version]) for at, version in versions.items()]


def _compute_levels(settings: Settings, version: str) -> Levels | None:
    promotions = {p.version: p for p in promotion_log.read_promotions(settings)}
    try:
        model = promotion_log.load_model(settings, promotions[version])
        return find_churn_levels(settings, model.base_rates[settings.alert_horizon])
    except (KeyError, RegistryError):
        return None


def follow_bands(scores: pd.DataFrame, levels: Sequence[Levels | None], *, is_sticky: bool) -> np.ndarray:
    """Return each account's band at each run.

    Args:
        scores: A row an account, a column a run, ascending; NaN where it was not in the cohort.
        levels: Of each run; None where the model is gone.
        is_sticky: Whether an account at risk stays so until its score falls below the lower level.

    Returns:
        (accounts, runs) of 1 at risk, 0 not, NaN not in the cohort or not known.
    """
    bands = np.full(scores.shape, np.nan)
    at_risk = np.zeros(len(scores), dtype=bool)
    for n, level in enumerate(levels):
        score = scores.iloc[:, n].to_numpy(np.float64)
        is_known = ~np.isnan(score)
        if level is None:
            continue
        at_risk = is_known & ((score >= level.enter) | (is_sticky & at_risk & (score >= level.leave)))
        bands[is_known, n] = at_risk[is_known]
    return bands


def count_flips(bands: np.ndarray) -> FlipCount:
    """Count the changes of band, and those undone within three runs.

    Args:
        bands: (accounts, runs) as `follow_bands` returns them.
    """
    before, now = bands[:, :-1], bands[:, 1:]
    changed = ~np.isnan(before) & ~np.isnan(now) & (before != now)
    undone = np.zeros_like(changed)
    is_followed = np.zeros_like(changed)
    last = changed.shape[1] - FLIP_RUNS
    if last > 0:
        later = np.stack([bands[:, 1 + n : 1 + n + last] for n in range(1, FLIP_RUNS + 1)])
        is_followed[:, :last] = ~np.isnan(later).any(axis=0)
        undone[:, :last] = (later == before[:, :last]).any(axis=0)
    changed &= is_followed
    undone &= changed
    return FlipCount(int(changed.sum()), int(undone.sum()), int(undone.any(axis=1).sum()))
