"""Plan an experiment: after how many months an effect would show, at a given number of families a month."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitoring.experiments.confidence_sequence import FIRST, compute_width
from monitoring.experiments.effect import LEAST_PER_ARM

Floats = npt.NDArray[np.float64]
MOST_MONTHS = 60
# Points that the distribution between two looks is followed on, and how many standard deviations stand for infinity.
_NODES, _FAR = 240, 9.0


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
) -> PowerTable:
    """Compute the power by month of an experiment that is looked at monthly.

    Args:
        units: Families whose outcome becomes known in a month, both arms.
        retention: Share kept without alerts.
        effect: Difference that alerts make.
        probability: Of being alerted on.
        months: At most 60.
        alpha: 1 - confidence.
        variance: Of a unit's value, as `EffectEstimate.variance` measures it. Default: that without any adjustment, so
            that a real experiment is somewhat faster.
    """
    months = min(months, MOST_MONTHS)
    looks = units * np.arange(1, months + 1, dtype=np.float64)
    if variance is None:
        variance = compute_unit_variance(retention, effect, probability)
    width = compute_width(looks, np.full(months, variance), alpha=alpha)
    width[looks < max(FIRST, LEAST_PER_ARM / min(probability, 1 - probability))] = np.inf
    power = compute_crossing(looks * width, drift=units * effect, variance=units * variance)
    return PowerTable(units, effect, tuple(power.tolist()))


def compute_unit_variance(retention: float, effect: float, probability: float) -> float:
    """Return the variance of a unit's value about the overall mean: what the estimator has before any regression."""
    with_alert, without = min(max(retention + effect, 0.0), 1.0), retention
    mean = probability * with_alert + (1 - probability) * without
    squares = [share * (1 - mean) ** 2 + (1 - share) * mean**2 for share in (with_alert, without)]
    return squares[0] / probability + squares[1] / (1 - probability) - (with_alert - without) ** 2


def compute_crossing(bounds: Floats, *, drift: float, variance: float) -> Floats:
    """Compute the chance that a normal random walk has left its bounds by each look.

    The density of the walks that have not left yet is carried from look to look by quadrature.

    Args:
        bounds: (k,) the walk leaves where its absolute value exceeds them; infinite where it can't.
        drift: Mean of a step between looks.
        variance: Of a step.

    Returns:
        (k,) ascending.

    Source: Armitage, McPherson and Rowe, Repeated significance tests on accumulating data, JRSS A 132 (1969).
    """
    looks = np.arange(1, len(bounds) + 1)
    spread = np.sqrt(variance)
    far = np.abs(drift) * looks + _FAR * spread * np.sqrt(looks)
    ends = np.minimum(bounds, far)
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    places, mass, left = np.zeros(1), np.ones(1), np.zeros(len(bounds))
    for look, end in enumerate(ends):
        at = end * nodes
        step = (at[:, None] - places[None, :] - drift) / spread
        density = (np.exp(-0.5 * step**2) @ mass) / (spread * np.sqrt(2 * np.pi))
        places, mass = at, end * weights * density
        left[look] = 1 - mass.sum()
    return np.maximum.accumulate(np.clip(left, 0.0, 1.0))
