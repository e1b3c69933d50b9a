"""Plan an experiment: after how many months an effect would show, at a given number of families a month."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitoring.experiments.confidence_sequence import FIRST, compute_width
from monitoring.experiments.effect import LEAST_FOR_FIT, LEAST_PER_ARM

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

MOST_MONTHS = 60
# Simulated experiments: chances are then within a point, nearly always.
_RUNS = 20_000


@dataclass(frozen=True)
class PowerTable:
    """The chance that the sequence excludes 0 by each month.

    Args:
        units: Drawn a month, both arms.
        effect: True difference of retention.
        power: By month.
    """

    units: int
    effect: float
    power: tuple[float, ...]

    def find_month(self, wanted: float = 0.8) -> int | None:
        """Return the first month by which the chance is as wanted; None within the months computed."""
        return next((month for month, power in enumerate(self.power, 1) if power >= wanted), None)


def compute_power(  # noqa: PLR0913  # all but the first named
    units: int,
    *,
    retention: float,
    effect: float,
    probability: float = 0.5,
    months: int = 24,
    alpha: float = 0.05,
    variance: float | None = None,
    runs: int = _RUNS,
) -> PowerTable:
    """Compute the power by month from simulated experiments, each looked at monthly.

    Only the numbers kept in each arm and month are drawn: unit values have four sizes, so that their mean and variance
    follow from the numbers. Of a few control units the distribution is skewed, so no normal approximation is made.

    Args:
        units: Families whose outcome becomes known in a month, both arms.
        retention: Share kept without alerts.
        effect: Difference that alerts make.
        probability: Of being alerted on.
        months: At most 60.
        alpha: 1 - confidence.
        variance: Of a unit's value, as `EffectEstimate.variance` measures it. Default: that without any adjustment, so
            that a real experiment is somewhat faster.
        runs: Experiments simulated.
    """
    months = min(months, MOST_MONTHS)
    random, shape = np.random.default_rng(7), (runs, months)
    treated = random.binomial(units, probability, shape)
    kept = random.binomial(treated, min(max(retention + effect, 0.0), 1.0))
    kept_control = random.binomial(units - treated, retention)
    looks = units * np.arange(1, months + 1, dtype=np.float64)
    one, other = _predict(kept, treated, kept_control, units)
    # The sizes of a unit's value, see `effect.compute_unit_values`: kept or not, in one arm and the other.
    between, share = one - other, probability
    sizes = [between + (1 - one) / share, between - one / share]
    sizes += [between - (1 - other) / (1 - share), between + other / (1 - share)]
    numbers = (kept, treated - kept, kept_control, units - treated - kept_control)
    if variance is not None:
        shrunk = np.sqrt(variance / compute_unit_variance(retention, effect, probability))
        sizes = [effect + shrunk * (size - effect) for size in sizes]
    total = np.cumsum(sum(n * size for n, size in zip(numbers, sizes, strict=True)), axis=1)
    squares = np.cumsum(sum(n * size**2 for n, size in zip(numbers, sizes, strict=True)), axis=1)
    spread = np.maximum(squares / looks - (total / looks) ** 2, 0.0) * looks / np.maximum(looks - 1, 1)
    smaller = np.minimum(np.cumsum(treated, axis=1), np.cumsum(units - treated, axis=1))
    says = (np.abs(total / looks) > compute_width(looks, spread, alpha=alpha)) & (looks >= FIRST) & (spread > 0)
    crossed = np.maximum.accumulate(says & (smaller >= LEAST_PER_ARM), axis=1)
    return PowerTable(units, effect, tuple(crossed.mean(axis=0).tolist()))


def compute_unit_variance(retention: float, effect: float, probability: float) -> float:
    """Return the variance of a unit's value about the means of both arms, in the long run."""
    with_alert = min(max(retention + effect, 0.0), 1.0)
    return with_alert * (1 - with_alert) / probability + retention * (1 - retention) / (1 - probability)


def _predict(kept: Counts, treated: Counts, kept_control: Counts, units: int) -> tuple[Floats, Floats]:
    """Return the outcomes expected in both arms by month: of the arm so far, or of all where that has too few."""

    def sum_before(counts: Counts) -> Floats:
        return np.cumsum(counts, axis=1, dtype=np.float64) - counts

    arms = ((kept, treated), (kept_control, units - treated))
    so_far = [(sum_before(k), sum_before(n)) for k, n in arms]
    (kept_one, of_one), (kept_other, of_other) = so_far
    of_all = of_one + of_other
    overall = np.where(of_all > 0, (kept_one + kept_other) / np.maximum(of_all, 1), 0.5)
    one, other = (np.where(n >= LEAST_FOR_FIT, k / np.maximum(n, 1), overall) for k, n in so_far)
    return one, other
