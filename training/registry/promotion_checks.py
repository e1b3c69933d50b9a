"""Checks a candidate before it may serve; each check gives its figures.

- verdict: every horizon has a signal. A suspected leak is the one thing that no force overrides.
- champion: on rows later than all that either learned from, the mean AUC within a cutoff, over the horizons, is above
  the champion's, since what is asked is which of one day's accounts; and no interval of it, of average precision or
  of the Brier score lies wholly on the champion's side. A tie keeps the champion: there is nothing to gain by the
  change. Beyond chance the candidate need not be better, since months of waiting would often be needed to see so
  little.
- calibration: the error is at most 0.02, or no more than its noise, or no more than the champion's.
- segments: in none is the AUC lower than the champion's by 0.05 or more, beyond chance. Of many segments one in forty
  is worse beyond chance by chance alone, hence the least difference.
- stability: how many of the champion's top accounts are among the candidate's. Owners work from that list, so a
  list of which less than half stays is reported; it refuses nothing.
- parity: loaded from disk, the model gives bit for bit the scores of its evaluation, in batch and row by row.

If the champion can't be compared with the candidate at all (a source is gone, no horizon in common), the check says so
and passes; if it could, but has learned from every later row, the check fails.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.core.errors import LabelError, RegistryError
from features.settings import Settings
from features.sources.history import History
from training.diagnostics.leak_verdict import LEAK
from training.diagnostics.sample_size import InsufficientData
from training.evaluation.compare import ModelComparison, compare
from training.evaluation.evaluate import Evaluation
from training.models.model import Model
from training.registry import promotion_log
from training.registry.promotion_log import Promotion

_FIGURES, _PARITY = "evaluation.json", "parity.parquet"
_ROWS, _ALONE = 200, 20
_GOOD_ERROR = 0.02
_MUCH_WORSE = 0.05
_STABLE = 0.5
_NOTHING = "there is no champion to compare it with on the same rows"


@dataclass(frozen=True)
class PromotionCheck:
    """Outcome of one check.

    Args:
        name: verdict, champion, calibration, segments, stability or parity.
        passed: Whether it lets the candidate pass.
        explanation: The reason, with its figures.
        final: Whether not even force overrides it.
    """

    name: str
    passed: bool
    explanation: str
    final: bool = False


@dataclass(frozen=True)
class ChampionComparison:
    """Comparison of the candidate with the champion.

    Args:
        champion: Its version, such as churn-2; empty where there is none.
        comparisons: By target and horizon, with the champion as `a`; empty if they couldn't be compared.
        reason: Why they couldn't.
        passed: Whether that lets the candidate pass.
    """

    champion: str = ""
    comparisons: Mapping[str, ModelComparison] = field(default_factory=dict)
    reason: str = "there is no champion yet"
    passed: bool = True


def write_evidence(model: Model, figures: Mapping[str, Evaluation | InsufficientData], folder: Path) -> None:
    """Write what promotion checks beside a saved model: the figures, and probabilities of rows of its reference.

    Args:
        model: As it was evaluated.
        figures: By target and horizon, such as churn_90d; all that the settings ask for.
        folder: Of the saved model.
    """
    fields = {key: result.as_dict() for key, result in figures.items()}
    (folder / _FIGURES).write_text(json.dumps(fields, indent=1, allow_nan=False), encoding="utf-8")
    frame = _select_rows(model)
    scores = pd.DataFrame(model.probabilities(model.matrix(frame)), columns=[f"{h}d" for h in model.horizons])
    scores.to_parquet(folder / _PARITY, index=False)


def read_evidence(folder: Path) -> dict[str, Any]:
    """Read the figures that were written beside a saved model, by target and horizon, such as churn_90d.

    Raises:
        RegistryError: There are none, since an older version trained it.
    """
    try:
        figures: dict[str, Any] = json.loads((folder / _FIGURES).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RegistryError("its folder has no figures: it is of an older version, train again") from error
    return figures


def run_checks(
    settings: Settings, candidates: Mapping[str, Path], present: Mapping[str, Promotion]
) -> dict[str, tuple[PromotionCheck, ...]]:
    """Run every check of every candidate; return them by target.

    Args:
        settings: Of the company.
        candidates: By target, the folder of the saved model.
        present: The promotions in force, by target.

    Raises:
        RegistryError: A candidate's folder is damaged.
        GarrisonError: There are champions to compare with, and the company's tables can't be read.
    """
    models = {target: Model.load(folder) for target, folder in candidates.items()}
    comparisons = compare_with_champions(settings, models, present)
    return {target: check_candidate(candidates[target], model, comparisons[target]) for target, model in models.items()}


def compare_with_champions(
    settings: Settings, models: Mapping[str, Model], present: Mapping[str, Promotion]
) -> dict[str, ChampionComparison]:
    """Compare each candidate with the champion of its target; without any champion no table is read."""
    targets = [target for target in models if target in present]
    if not targets:
        return dict.fromkeys(models, ChampionComparison())
    with History.open(settings) as history:
        comparisons = {
            target: _compare_with_champion(history, settings, models[target], present[target]) for target in targets
        }
    return dict.fromkeys(models, ChampionComparison()) | comparisons


def check_candidate(folder: Path, model: Model, comparison: ChampionComparison) -> tuple[PromotionCheck, ...]:
    """Run all checks of one candidate.

    Args:
        folder: Of the saved model.
        model: As loaded from there.
        comparison: With the champion.
    """
    try:
        figures = read_evidence(folder)
    except RegistryError as error:
        return (PromotionCheck("verdict", passed=False, explanation=error.problem),)
    return (
        _check_verdict(figures),
        _check_champion(comparison),
        _check_calibration(figures, comparison),
        _check_segments(comparison),
        _report_stability(comparison),
        _check_parity(folder, model),
    )


def _compare_with_champion(
    history: History, settings: Settings, candidate: Model, present: Promotion
) -> ChampionComparison:
    target, version = candidate.target, present.version
    try:
        champion = promotion_log.load_model(settings, present)
        if not set(champion.horizons) & set(candidate.horizons):
            return ChampionComparison(version, reason=f"the champion {version} has no horizon of the candidate's")
        if champion.learned_until is None:
            return ChampionComparison(version, reason=f"the champion {version} does not say until when it learned")
        comparisons = compare(history, settings, {target: champion}, {target: candidate})
    except LabelError as error:
        return ChampionComparison(
            version, reason=f"it can't be held against the champion {version}: {error}", passed=False
        )
    except RegistryError as error:
        return ChampionComparison(
            version, reason=f"the champion {version} can't score the data as they are now: {error}"
        )
    return ChampionComparison(version, comparisons, reason="")


def _check_verdict(figures: Mapping[str, Any]) -> PromotionCheck:
    without = {key: figure_set for key, figure_set in figures.items() if figure_set["verdict"] != "signal"}
    if not without:
        reasons_of_signal = [f"{key}: {figure_set['reasons'][0]}" for key, figure_set in figures.items()]
        return PromotionCheck("verdict", passed=True, explanation="; ".join(reasons_of_signal))
    reasons = [
        f"{key} is {figure_set['verdict']} ({next(iter(figure_set['reasons']), '')})"
        for key, figure_set in without.items()
    ]
    leak = any(figure_set["verdict"] == LEAK for figure_set in without.values())
    return PromotionCheck("verdict", passed=False, explanation="; ".join(reasons), final=leak)


def _check_champion(comparison: ChampionComparison) -> PromotionCheck:
    if not comparison.comparisons:
        return PromotionCheck("champion", passed=comparison.passed, explanation=comparison.reason)
    every = [(key, d) for key, result in comparison.comparisons.items() for d in result.differences]
    # Without enough of either class at any cutoff only the pooled AUC is known.
    figure = "auc_within" if any(d.figure == "auc_within" for _, d in every) else "auc"
    ranks = [(key, d) for key, d in every if d.figure == figure]
    lead = float(np.mean([d.difference for _, d in ranks]))
    worse = [(key, d) for key, d in every if d.figure in {figure, "ap", "brier"} and d.better == "a"]
    shown = worse or ranks
    rows = ", ".join(f"{result.rows:,} rows of {key}" for key, result in comparison.comparisons.items())
    name = "AUC within a cutoff" if figure == "auc_within" else "AUC"
    explanation = (
        f"mean {name} {lead:+.4f} against {comparison.champion} on {rows} later than both learned from: "
        + "; ".join(f"{key} {d.figure} {d.a:.4f} to {d.b:.4f} ({d.low:+.4f} to {d.high:+.4f})" for key, d in shown)
    )
    return PromotionCheck("champion", passed=lead > 0 and not worse, explanation=explanation)


def _check_calibration(figures: Mapping[str, Any], comparison: ChampionComparison) -> PromotionCheck:
    own_errors = {key: (f["ece"], f["ece_noise"], None) for key, f in figures.items() if "ece_noise" in f}
    later_errors = {key: (c.ece[1], c.ece_noise[1], c.ece[0]) for key, c in comparison.comparisons.items()}
    errors = {**own_errors, **later_errors}
    too_large = {key: e for key, e in errors.items() if e[0] > max(_GOOD_ERROR, e[1], e[2] or 0.0)}
    descriptions = [
        f"{key} {ece:.3f}, noise up to {noise:.3f}"
        + ("" if of_champion is None else f", {comparison.champion} {of_champion:.3f}")
        for key, (ece, noise, of_champion) in (too_large or errors).items()
    ]
    return PromotionCheck(
        "calibration",
        passed=bool(errors) and not too_large,
        explanation=f"calibration error of {'; '.join(descriptions)}",
    )


def _check_segments(comparison: ChampionComparison) -> PromotionCheck:
    known = [(key, s, s.auc) for key, result in comparison.comparisons.items() for s in result.segments if s.auc]
    worse = [(key, s, d) for key, s, d in known if d.high < 0 and d.difference <= -_MUCH_WORSE]
    if not worse:
        explanation = f"none of {len(known)} is much worse than with {comparison.champion}" if known else _NOTHING
        return PromotionCheck("segments", passed=True, explanation=explanation)
    descriptions = (
        f"{key}, {s.by} {s.value} ({s.rows:,} rows): AUC {d.a:.3f} to {d.b:.3f} ({d.low:+.3f} to {d.high:+.3f})"
        for key, s, d in worse
    )
    return PromotionCheck("segments", passed=False, explanation="; ".join(descriptions))


def _report_stability(comparison: ChampionComparison) -> PromotionCheck:
    """Report how much of the top list stays; it stops no promotion."""
    tops = {key: result.top for key, result in comparison.comparisons.items() if result.top}
    parts = [
        f"{key}: {top.shared} of {top.top} at the top and {top.tenth_share:.0%} of the highest tenth stay"
        + ("" if top.share >= _STABLE else ", less than half: owners will see another list")
        for key, top in tops.items()
    ]
    explanation = f"with {comparison.champion} as before: {'; '.join(parts)}" if parts else _NOTHING
    return PromotionCheck("stability", passed=True, explanation=explanation)


def _check_parity(folder: Path, model: Model) -> PromotionCheck:
    try:
        expected = pd.read_parquet(folder / _PARITY).to_numpy()
    except (OSError, ValueError) as error:
        return PromotionCheck(
            "parity", passed=False, explanation=f"the probabilities of its evaluation can't be read: {error}"
        )
    frame = _select_rows(model)
    batch = model.probabilities(model.matrix(frame))
    if batch.shape != expected.shape:
        return PromotionCheck(
            "parity", passed=False, explanation=f"{batch.shape} probabilities, {expected.shape} in its evaluation"
        )
    alone = np.concatenate(
        [model.probabilities(model.matrix(frame.iloc[[i]])) for i in _spread_evenly(len(frame), _ALONE)]
    )
    different = _count_different(batch, expected) + _count_different(
        alone, expected[_spread_evenly(len(frame), _ALONE)]
    )
    explanation = f"{different} of {len(batch)} rows in batch and {len(alone)} alone differ from its evaluation"
    return PromotionCheck("parity", passed=different == 0, explanation=explanation)


def _count_different(one: np.ndarray, other: np.ndarray) -> int:
    return int((one != other).any(axis=1).sum())


def _select_rows(model: Model) -> pd.DataFrame:
    return model.reference.iloc[_spread_evenly(len(model.reference), _ROWS)]


def _spread_evenly(among: int, most: int) -> np.ndarray:
    """Return at most so many row indices, evenly from the first to the last."""
    return np.linspace(0, among - 1, min(among, most)).astype(int)


def list_failed(found: Iterable[PromotionCheck]) -> Iterator[PromotionCheck]:
    """Yield the checks that stop a promotion."""
    return (check for check in found if not check.passed)
