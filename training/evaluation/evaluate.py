"""Evaluates scores on cutoffs that the model has never seen, with intervals, beside simple baselines."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd

from features.settings.stakes import Stakes
from training.evaluation import bootstrap, calibration_error
from training.evaluation.interval_coverage import IntervalCoverage
from training.evaluation.metrics import FIGURES, RankedScores
from training.evaluation.segments import SegmentFigures, SegmentRows, average_aucs, iterate_segments

_GOOD_ERROR = 0.02


@dataclass(frozen=True)
class BaselineFigures:
    """A simple baseline's figures on the same rows."""

    auc: float
    ap: float


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Figures of one target and horizon on the test.

    Args:
        rows: Test rows, one per account and cutoff.
        base_rate: Share of positives.
        auc: Area under the ROC curve.
        auc_low: Lower end of its 95 % interval, bootstrapped by account.
        auc_high: Upper end.
        auc_within: Mean AUC within a cutoff, weighted by rows: how well accounts of one day are ranked, whatever the
            level of that day; None where no cutoff has enough of either class.
        lead_low: Lower end of the 95 % interval of its AUC's lead over the best baseline, on the same draws.
        ap: Average precision.
        brier: Mean squared error of the probability.
        brier_skill: 1 - its ratio to that of the test's own base rate: above 0 they beat the base rate.
        ece: Expected calibration error over ten bins of equal size.
        ece_noise: What a perfectly calibrated model of these scores exceeds in one sample of twenty.
        ece_month: Mean distance of mean score and share of positives by cutoff; None where no cutoff has 100 rows.
        ece_tier: The same by cutoff and tier; None without tiers of so many rows.
        lift_5: Share of positives among the highest 5 % of the scores, against the base rate.
        lift_10: Among the highest tenth.
        lift_20: Among the highest fifth.
        capture_5: Share of all positives that are among the highest 5 %.
        capture_10: Among the highest tenth.
        capture_20: Among the highest fifth.
        value_captured_10: Share of the positives' money that is among the highest tenth; None without money.
        profit: Expected maximum profit of a campaign, a row, see `training.evaluation.profit`.
        profit_share: Share of the rows that it contacts.
        intervals: Figure to its 95 % interval, all on the same draws.
        baselines: By name; the champion among them, where given, which the verdict leaves aside.
        by_segment: Each value of the attributes that have few.
        by_cutoff: Each test cutoff, ascending.
        verdict: signal (it leads the best baseline, beyond chance), no_signal or insufficient.
        reasons: Why, in sentences.
        coverage: What the scores' intervals are worth; None where no model's intervals were asked for.
    """

    rows: int
    base_rate: float
    auc: float
    auc_low: float
    auc_high: float
    auc_within: float | None
    lead_low: float
    ap: float
    brier: float
    brier_skill: float
    ece: float
    ece_noise: float
    ece_month: float | None = None
    ece_tier: float | None = None
    lift_5: float
    lift_10: float
    lift_20: float
    capture_5: float
    capture_10: float
    capture_20: float
    value_captured_10: float | None
    profit: float
    profit_share: float
    intervals: dict[str, tuple[float, float]]
    baselines: dict[str, BaselineFigures]
    by_segment: tuple[SegmentFigures, ...]
    by_cutoff: tuple[SegmentFigures, ...]
    verdict: str
    reasons: tuple[str, ...]
    coverage: IntervalCoverage | None = None

    def __repr__(self) -> str:
        auc = f"AUC {self.auc:.3f} ({self.auc_low:.3f} to {self.auc_high:.3f})"
        return f"Evaluation({self.verdict}: {auc}, {self.rows:,} rows, {self.base_rate:.1%} positive)"

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each figure that is known: value, low and high end of its 95 % interval."""
        unknown = (None, None)
        figures = {name: getattr(self, name) for name in ("auc", "auc_within", *FIGURES[1:])}
        rows = {n: (value, *self.intervals.get(n, unknown)) for n, value in figures.items() if value is not None}
        return pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high"])

    def _repr_html_(self) -> str:
        rivals = ", ".join(f"{name} {figures.auc:.3f}" for name, figures in self.baselines.items())
        heading = f"<p><b>{self.verdict}</b>: {escape('; '.join(self.reasons))}. AUC of the baselines: {rivals}.</p>"
        return heading + self.to_frame().round(3).to_html(border=0, na_rep="")

    @property
    def calibrated(self) -> bool:
        """Return whether the calibration error is at most 0.02, or no more than noise."""
        return self.ece <= max(_GOOD_ERROR, self.ece_noise)

    def as_dict(self) -> dict[str, object]:
        """Return the JSON fields of the command contract."""
        return {
            **vars(self),
            "intervals": {n: [*ends] for n, ends in self.intervals.items()},
            "baselines": {n: vars(b) for n, b in self.baselines.items()},
            "by_segment": [p.as_dict() for p in self.by_segment],
            "by_cutoff": [p.as_dict() for p in self.by_cutoff],
            "reasons": [*self.reasons],
            "coverage": self.coverage and vars(self.coverage),
        }


def evaluate(  # noqa: PLR0913  # all but the test rows themselves named
    labels: np.ndarray,
    scores: np.ndarray,
    accounts: np.ndarray,
    baselines: dict[str, np.ndarray],
    *,
    seed: int,
    values: np.ndarray | None = None,
    attributes: pd.DataFrame | None = None,
    champion: np.ndarray | None = None,
    stakes: Stakes | None = None,
) -> Evaluation:
    """Compute the figures of scores on test rows, with intervals and a verdict.

    Args:
        labels: (n,) of 0 and 1, both there.
        scores: (n,) probabilities.
        accounts: (n,) account ids, the clusters of the bootstrap, since an account's rows are not independent.
        baselines: Their scores by name, (n,) each; at least one.
        seed: Of the bootstrap.
        values: (n,) yearly revenue of each account, in money.
        attributes: n rows of what to divide by: `as_of`, and text attributes of the account.
        champion: (n,) scores of the present champion.
        stakes: Of the campaign whose profit is computed; by default those of the measure as published.

    Example:
        >>> labels = np.tile([1.0, 0.0, 0.0], 40)
        >>> accounts, base_rate = np.arange(120).astype(str), np.full(120, 1 / 3)
        >>> found = evaluate(labels, 0.2 + 0.4 * labels, accounts, {"base_rate": base_rate}, seed=7)
        >>> found.verdict, found.auc, round(found.lift_20, 1)
        ('signal', 1.0, 3.0)
    """
    model = RankedScores(labels, scores, values=values, stakes=stakes)
    compared = {**baselines, **({} if champion is None else {"champion": champion})}
    ranked = {name: RankedScores(labels, s) for name, s in compared.items()}
    baseline_figures = {name: BaselineFigures(r.compute_auc(), r.compute_ap()) for name, r in ranked.items()}
    segment_rows = [SegmentRows(*part, labels, scores) for part in iterate_segments(attributes)]

    def measure(weights: np.ndarray) -> list[float]:
        rest = [ranked[name].compute_auc(weights) for name in baselines]
        return [*model.compute_figures(weights), *rest, *(p.compute_auc(weights) for p in segment_rows)]

    drawn = bootstrap.bootstrap_figures(labels, accounts, measure, seed=seed)
    drawn_figures, drawn_baselines, drawn_by_segment = np.split(
        drawn, [len(FIGURES), len(FIGURES) + len(baselines)], axis=1
    )
    figures = dict(zip(FIGURES, model.compute_figures(), strict=True))
    intervals = _compute_intervals(figures, drawn_figures)
    best = max(baselines, key=lambda name: baseline_figures[name].auc)
    lead, _ = bootstrap.compute_interval(drawn_figures[:, 0] - drawn_baselines[:, list(baselines).index(best)])
    low, high = intervals["auc"]
    segments = [p.summarise(drawn) for p, drawn in zip(segment_rows, drawn_by_segment.T, strict=True)]
    is_cutoff = [p.by == "as_of" for p in segments]
    cutoffs = [p for p in segments if p.by == "as_of"]
    within = _average_within(cutoffs, np.array([[np.nan if p.auc is None else p.auc for p in cutoffs]]))
    if within is not None:
        drawn_within = average_aucs(drawn_by_segment[:, is_cutoff], [p.rows for p in cutoffs])
        intervals["auc_within"] = bootstrap.compute_interval(drawn_within)
    within_low = intervals.get("auc_within", (low, low))[0]
    verdict, reason = _reach_verdict(low, within_low, lead, best, positives=int(labels.sum()))
    plain_figures: dict[str, float | None] = {n: None if np.isnan(f) else f for n, f in figures.items()}
    return Evaluation(
        rows=len(labels),
        base_rate=float(labels.mean()),
        auc_low=low,
        auc_high=high,
        lead_low=lead,
        ece_noise=calibration_error.make_bins(labels, scores).estimate_noise(accounts, seed=seed),
        ece_month=_compute_level_error(labels, scores, attributes, ["as_of"]),
        ece_tier=_compute_level_error(labels, scores, attributes, ["as_of", "tier"]),
        intervals=intervals,
        baselines=baseline_figures,
        auc_within=within,
        by_segment=tuple(p for p in segments if p.by != "as_of"),
        by_cutoff=tuple(cutoffs),
        verdict=verdict,
        reasons=(reason,),
        **plain_figures,  # type: ignore[arg-type]  # value_captured_10 alone may be None
    )


def _compute_level_error(
    labels: np.ndarray, scores: np.ndarray, attributes: pd.DataFrame | None, by: list[str]
) -> float | None:
    if attributes is None:
        return None
    return calibration_error.compute_level_error(attributes.assign(label=labels, score=scores), by)


def _average_within(cutoffs: list[SegmentFigures], aucs: np.ndarray) -> float | None:
    """Return the mean AUC within cutoffs, (1, cutoffs); None where there is none."""
    mean = float(average_aucs(aucs, [p.rows for p in cutoffs])[0]) if cutoffs else float("nan")
    return None if np.isnan(mean) else mean


def _compute_intervals(figures: dict[str, float], drawn: np.ndarray) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of each figure that is known."""
    intervals = {
        name: bootstrap.compute_interval(drawn[:, i]) for i, name in enumerate(figures) if not np.isnan(figures[name])
    }
    # A draw adds its own noise to the sample's, and this error only grows by noise: its draws lie as far above
    # the figure as the figure above the truth.
    low, high = (2 * figures["ece"] - end for end in intervals["ece"][::-1])
    return intervals | {"ece": (max(0.0, min(low, figures["ece"])), max(high, figures["ece"]))}


def _reach_verdict(low: float, within_low: float, lead: float, best: str, *, positives: int) -> tuple[str, str]:
    """Return the verdict and the reason for it."""
    if positives < 30:
        return "insufficient", f"only {positives} positives in the test: no figure on them can be trusted"
    if low <= 0.5:
        return "no_signal", f"the AUC's interval begins at {low:.3f}: it may be chance"
    if within_low <= 0.5:
        return "no_signal", f"within a cutoff the AUC's interval begins at {within_low:.3f}: it knows when, and not who"
    if lead <= 0:
        return "no_signal", f"no better than the baseline {best}: the lead's interval begins at {lead:+.3f}"
    return "signal", f"better than the best baseline, {best}: the AUC leads it by {lead:.3f} or more"
