"""Promotion checks: what a candidate must show before it may serve, each with its figures.

- verdict: every horizon has a signal. A suspected leak is the one thing that no force overrides.
- champion: on rows later than all that either learned from, the mean AUC over the horizons is above the champion's,
  and no interval of AUC, average precision or Brier score lies wholly on the champion's side. A tie keeps the
  champion: there is nothing to gain by the change. Beyond chance the candidate need not be better, since months of
  waiting would often be needed to see so little.
- calibration: the error is at most 0.02, or no more than its noise, or no more than the champion's.
- segments: in none is the AUC lower than the champion's by 0.05 or more, beyond chance. Of many segments one in forty
  is worse beyond chance by chance alone, hence the least difference.
- parity: read back from disk, the model gives the very bits that it gave when it was judged, in batch and row by row.

Where the champion can't be held against the candidate at all (a source is gone, no horizon in common), that is said
and stops nothing; where it could, but has learned from every later row, it does.
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


@dataclass(frozen=True)
class PromotionCheck:
    """One check's outcome.

    Args:
        name: verdict, champion, calibration, segments or parity.
        passed: Whether it lets the candidate pass.
        said: Why, with its figures.
        final: Whether not even force overrides it.
    """

    name: str
    passed: bool
    said: str
    final: bool = False


@dataclass(frozen=True)
class ChampionComparison:
    """The candidate held against the champion.

    Args:
        champion: Its version, such as churn-2; empty where there is none.
        found: By target and horizon, with the champion as `a`; empty where they couldn't be compared.
        why: They couldn't, in words.
        passed: Whether that stops nothing.
    """

    champion: str = ""
    found: Mapping[str, ModelComparison] = field(default_factory=dict)
    why: str = "there is no champion yet"
    passed: bool = True


def write_evidence(bundle: Model, figures: Mapping[str, Evaluation | InsufficientData], folder: Path) -> None:
    """Write what promotion looks at beside a saved bundle: the figures, and probabilities of rows of its reference.

    Args:
        bundle: As it was judged.
        figures: By target and horizon, such as churn_90d; all that were asked for.
        folder: Of the bundle.
    """
    plain = {what: found.as_dict() for what, found in figures.items()}
    (folder / _FIGURES).write_text(json.dumps(plain, indent=1, allow_nan=False), encoding="utf-8")
    frame = _select_rows(bundle)
    scores = pd.DataFrame(bundle.probabilities(bundle.matrix(frame)), columns=[f"{h}d" for h in bundle.horizons])
    scores.to_parquet(folder / _PARITY, index=False)


def run_checks(
    settings: Settings, candidates: Mapping[str, Path], present: Mapping[str, Promotion]
) -> dict[str, tuple[PromotionCheck, ...]]:
    """Every check of every candidate, by target.

    Args:
        settings: Of the company.
        candidates: By target, the bundle's folder.
        present: The promotions in force, by target.

    Raises:
        RegistryError: A candidate's folder is not a whole bundle.
        GarrisonError: There are champions to hold them against, and the company's tables can't be read.
    """
    bundles = {target: Model.load(folder) for target, folder in candidates.items()}
    held = compare_with_champions(settings, bundles, present)
    return {target: check_candidate(candidates[target], bundle, held[target]) for target, bundle in bundles.items()}


def compare_with_champions(
    settings: Settings, bundles: Mapping[str, Model], present: Mapping[str, Promotion]
) -> dict[str, ChampionComparison]:
    """Hold each candidate against the champion of its target; without any champion no table is read."""
    rivals = [target for target in bundles if target in present]
    if not rivals:
        return dict.fromkeys(bundles, ChampionComparison())
    with History.open(settings) as history:
        found = {
            target: _compare_with_champion(history, settings, bundles[target], present[target]) for target in rivals
        }
    return dict.fromkeys(bundles, ChampionComparison()) | found


def check_candidate(folder: Path, bundle: Model, held: ChampionComparison) -> tuple[PromotionCheck, ...]:
    """All checks of one candidate.

    Args:
        folder: Of its bundle.
        bundle: As loaded from there.
        held: It against the champion.
    """
    try:
        figures = json.loads((folder / _FIGURES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return (
            PromotionCheck(
                "verdict", passed=False, said="its folder has no figures: it is of an older version, train again"
            ),
        )
    return (
        _check_verdict(figures),
        _check_champion(held),
        _check_calibration(figures, held),
        _check_segments(held),
        _check_parity(folder, bundle),
    )


def _compare_with_champion(
    history: History, settings: Settings, candidate: Model, present: Promotion
) -> ChampionComparison:
    target, version = candidate.target, present.version
    try:
        champion = promotion_log.load_model(settings, present)
        if not set(champion.horizons) & set(candidate.horizons):
            return ChampionComparison(version, why=f"the champion {version} has no horizon of the candidate's")
        if champion.learned_until is None:
            return ChampionComparison(version, why=f"the champion {version} does not say until when it learned")
        found = compare(history, settings, {target: champion}, {target: candidate})
    except LabelError as error:
        return ChampionComparison(
            version, why=f"it can't be held against the champion {version}: {error}", passed=False
        )
    except RegistryError as error:
        return ChampionComparison(version, why=f"the champion {version} can't score the data as they are now: {error}")
    return ChampionComparison(version, found, why="")


def _check_verdict(figures: Mapping[str, Any]) -> PromotionCheck:
    without = {what: found for what, found in figures.items() if found["verdict"] != "signal"}
    if not without:
        leads = [f"{what}: {found['reasons'][0]}" for what, found in figures.items()]
        return PromotionCheck("verdict", passed=True, said="; ".join(leads))
    said = [f"{what} is {found['verdict']} ({next(iter(found['reasons']), '')})" for what, found in without.items()]
    leak = any(found["verdict"] == LEAK for found in without.values())
    return PromotionCheck("verdict", passed=False, said="; ".join(said), final=leak)


def _check_champion(held: ChampionComparison) -> PromotionCheck:
    if not held.found:
        return PromotionCheck("champion", passed=held.passed, said=held.why)
    every = [(what, d) for what, found in held.found.items() for d in found.differences]
    lead = float(np.mean([d.difference for _, d in every if d.figure == "auc"]))
    worse = [(what, d) for what, d in every if d.figure in {"auc", "ap", "brier"} and d.better == "a"]
    told = worse or [(what, d) for what, d in every if d.figure == "auc"]
    rows = ", ".join(f"{found.rows:,} rows of {what}" for what, found in held.found.items())
    said = f"mean AUC {lead:+.4f} against {held.champion} on {rows} later than both learned from: " + "; ".join(
        f"{what} {d.figure} {d.a:.4f} to {d.b:.4f} ({d.low:+.4f} to {d.high:+.4f})" for what, d in told
    )
    return PromotionCheck("champion", passed=lead > 0 and not worse, said=said)


def _check_calibration(figures: Mapping[str, Any], held: ChampionComparison) -> PromotionCheck:
    own = {what: (f["ece"], f["ece_noise"], None) for what, f in figures.items() if "ece_noise" in f}
    later = {what: (c.ece[1], c.ece_noise[1], c.ece[0]) for what, c in held.found.items()}
    every = {**own, **later}
    bad = {what: e for what, e in every.items() if e[0] > max(_GOOD_ERROR, e[1], e[2] or 0.0)}
    said = [
        f"{what} {ece:.3f}, noise up to {noise:.3f}" + ("" if his is None else f", {held.champion} {his:.3f}")
        for what, (ece, noise, his) in (bad or every).items()
    ]
    return PromotionCheck("calibration", passed=bool(every) and not bad, said=f"calibration error of {'; '.join(said)}")


def _check_segments(held: ChampionComparison) -> PromotionCheck:
    known = [(what, s, s.auc) for what, found in held.found.items() for s in found.segments if s.auc]
    worse = [(what, s, d) for what, s, d in known if d.high < 0 and d.difference <= -_MUCH_WORSE]
    if not worse:
        said = f"none of {len(known)} is much worse than with {held.champion}" if known else "none to compare"
        return PromotionCheck("segments", passed=True, said=said)
    told = (
        f"{what}, {s.by} {s.value} ({s.rows:,} rows): AUC {d.a:.3f} to {d.b:.3f} ({d.low:+.3f} to {d.high:+.3f})"
        for what, s, d in worse
    )
    return PromotionCheck("segments", passed=False, said="; ".join(told))


def _check_parity(folder: Path, bundle: Model) -> PromotionCheck:
    try:
        expected = pd.read_parquet(folder / _PARITY).to_numpy()
    except (OSError, ValueError) as error:
        return PromotionCheck(
            "parity", passed=False, said=f"the probabilities it was judged with can't be read: {error}"
        )
    frame = _select_rows(bundle)
    batch = bundle.probabilities(bundle.matrix(frame))
    if batch.shape != expected.shape:
        return PromotionCheck(
            "parity", passed=False, said=f"{batch.shape} probabilities, {expected.shape} when it was judged"
        )
    alone = np.concatenate(
        [bundle.probabilities(bundle.matrix(frame.iloc[[i]])) for i in _spread_evenly(len(frame), _ALONE)]
    )
    apart = _count_different(batch, expected) + _count_different(alone, expected[_spread_evenly(len(frame), _ALONE)])
    said = f"{apart} of {len(batch)} rows in batch and {len(alone)} alone differ from when it was judged"
    return PromotionCheck("parity", passed=apart == 0, said=said)


def _count_different(one: np.ndarray, other: np.ndarray) -> int:
    return int((one != other).any(axis=1).sum())


def _select_rows(bundle: Model) -> pd.DataFrame:
    return bundle.reference.iloc[_spread_evenly(len(bundle.reference), _ROWS)]


def _spread_evenly(among: int, most: int) -> np.ndarray:
    """So many places, evenly from the first to the last."""
    return np.linspace(0, among - 1, min(among, most)).astype(int)


def list_failed(found: Iterable[PromotionCheck]) -> Iterator[PromotionCheck]:
    """Those that stop a promotion."""
    return (check for check in found if not check.passed)
