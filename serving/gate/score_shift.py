"""Judge whether a run's scores moved too far: from the last accepted run, or else from the champion's calibration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from serving.gate.binning import Floats, bin_column, find_noise_level
from serving.gate.scored_run import ScoredRun
from serving.gate.verdict import Reason
from training.models.model import Model

# PSI between two runs of one champion, a month apart or less, from which a person should look, and from which nobody
# should act. A healthy month of the sample company moves its scores by 0.02 at most, harmed sources by 0.16 to 4.
_WATCH, _HOLD = 0.08, 0.12
# The same between a run and the champion's calibration, months earlier: the business itself may have moved since.
_WATCH_CALIBRATION, _HOLD_CALIBRATION = 0.25, 1.0
# Of fewer accounts, no shift can be told from chance.
_LEAST = 20
# The chance that healthy scores of one run are called moved, shared by all its scores.
_CHANCE = 0.001
_MONTH = 31


@dataclass(frozen=True)
class ScoreReference:
    """The scores that one score of a run is compared with.

    Args:
        scores: In any order.
        label: What they are, for the reason.
        rows: How many independent accounts they stand for.
        watch: The PSI from which a person should look.
        hold: The PSI from which nobody should act.
    """

    scores: Floats = field(repr=False)
    label: str
    rows: int
    watch: float
    hold: float


@dataclass(frozen=True)
class ScoreShift:
    """How far one score moved.

    Args:
        name: Of the score, such as churn_90d.
        target: Of the score.
        psi: Population stability index, >= 0.
        noise: The PSI that so few accounts reach by chance alone.
        means: Of the reference and of the run.
        reference: What it was compared with.
    """

    name: str
    target: str
    psi: float
    noise: float
    means: tuple[float, float]
    reference: ScoreReference

    @property
    def reason(self) -> Reason | None:
        """Return the reason against acting on the run, None if the score moved no further than it may."""
        watch, hold = (max(level, self.noise) for level in (self.reference.watch, self.reference.hold))
        if self.psi < watch:
            return None
        limit = f"held from {hold:.2f}" if self.psi >= hold else f"watched from {watch:.2f}"
        text = (
            f"the scores moved by a PSI of {self.psi:.2f} ({limit}) against {self.reference.label}, "
            f"mean {self.means[0]:.3f} -> {self.means[1]:.3f}"
        )
        figures = {"psi": self.psi, "watch": watch, "hold": hold, "before": self.means[0], "now": self.means[1]}
        return Reason("scores", self.name, "hold" if self.psi >= hold else "watch", text, figures)


def measure_score_shifts(
    run: ScoredRun, accepted: ScoredRun | None, models: Mapping[str, Model]
) -> Iterator[ScoreShift]:
    """Measure how far each score of a run moved, in the target's cohort; scores of very few accounts are left out.

    Args:
        run: The run.
        accepted: The last accepted run before it; None for the first.
        models: The champions, by target.
    """
    for name, scores in run.scores.items():
        reference = _find_reference(name, run, accepted, models)
        if reference is None or min(len(scores), len(reference.scores)) < _LEAST:
            continue
        binned = bin_column(pd.Series(reference.scores), pd.Series(scores))
        noise = find_noise_level(len(scores), reference.rows, binned.count, chance=_CHANCE / len(run.scores))
        means = float(np.mean(reference.scores)), float(np.mean(scores))
        yield ScoreShift(name, run.horizons[name][0], binned.psi, noise, means, reference)


def select_reasons(shifts: Iterator[ScoreShift] | tuple[ScoreShift, ...]) -> Iterator[Reason]:
    """Yield one reason a target, that of the score that moved furthest: its horizons move together."""
    furthest: dict[str, ScoreShift] = {}
    for shift in shifts:
        if shift.reason and shift.psi >= furthest.get(shift.target, shift).psi:
            furthest[shift.target] = shift
    yield from (shift.reason for shift in furthest.values() if shift.reason)


def _find_reference(
    name: str, run: ScoredRun, accepted: ScoredRun | None, models: Mapping[str, Model]
) -> ScoreReference | None:
    target, horizon = run.horizons[name]
    if accepted and name in accepted.scores and accepted.models.get(target) == run.models[target]:
        scores = accepted.scores[name]
        # A healthy company moves on with time, and less than in proportion to it; the levels are those of a month.
        widening = max(1.0, (run.as_of - accepted.as_of).days / _MONTH) ** 0.5
        label = f"the last accepted run, as of {accepted.as_of:%Y-%m-%d}"
        return ScoreReference(scores, label, len(scores), _WATCH * widening, _HOLD * widening)
    model = models.get(target)
    if model is None or model.version != run.models[target]:
        return None
    quantiles = np.array(model.horizon_model(horizon).quantiles)
    # The calibration period has several snapshots an account, so no more accounts than there are now.
    rows = min(len(quantiles), max(1, len(run.scores[name])))
    label = f"the calibration of {model.version}, in the absence of an accepted run of it"
    return ScoreReference(quantiles, label, rows, _WATCH_CALIBRATION, _HOLD_CALIBRATION)
