"""Plan an experiment: after how many months an effect would show, at a given number of units a month."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monitoring.experiments.confidence_sequence import bound_mean

_RUNS, _MOST_MONTHS = 2_000, 60


@dataclass(frozen=True)
class PowerTable:
    """The chance that the sequence excludes 0 by each month.

    Args:
        units: Drawn a month, both arms.
        effect: True difference of retention.
        power: By month, the share of simulated experiments whose sequence has excluded 0 by then.
    """

    units: int
    effect: float
    power: tuple[float, ...]

    def find_month(self, wanted: float = 0.8) -> int | None:
        """Return the first month by which the chance is as wanted; None within five years."""
        return next((month for month, power in enumerate(self.power, 1) if power >= wanted), None)


def compute_power(  # noqa: PLR0913  # all but the first named
    units: int, *, retention: float, effect: float, probability: float = 0.5, months: int = 24, alpha: float = 0.05
) -> PowerTable:
    """Compute the power by month from simulated experiments, each looked at monthly.

    Outcomes are drawn without what adjustment explains, so a real experiment is somewhat faster.

    Args:
        units: A month, both arms.
        retention: Share kept without alerts.
        effect: Difference that alerts make.
        probability: Of being alerted on.
        months: At most 60.
        alpha: 1 - confidence.
    """
    months = min(months, _MOST_MONTHS)
    random, crossed = np.random.default_rng(7), np.zeros(months)
    looks = np.arange(units, units * months + 1, units) - 1
    for _ in range(_RUNS):
        treated = random.random(units * months) < probability
        kept = random.random(units * months) < np.clip(retention + effect * treated, 0, 1)
        # About the overall mean, as the estimator does before it has a regression.
        mean = np.concatenate([[0.5], np.cumsum(kept)[:-1] / np.arange(1, len(kept))])
        values = np.where(treated, (kept - mean) / probability, -(kept - mean) / (1 - probability))
        sequence = bound_mean(values, alpha=alpha)
        excludes = (sequence.low[looks] > 0) | (sequence.high[looks] < 0)
        crossed += np.maximum.accumulate(excludes)
    return PowerTable(units, effect, tuple((crossed / _RUNS).tolist()))
