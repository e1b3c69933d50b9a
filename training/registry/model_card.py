"""Writes the model card: one page per target on what its model is for, how good it is, and where not to trust it.

It needs nothing beside it: style and pictures are in the page, and it asks no other address for anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from features.catalog import Catalog
from features.core import html, plot
from features.core.contract import EVENTS
from features.core.errors import RegistryError
from features.core.plot import Plot
from features.settings import Settings
from training.evaluation.evaluate import Evaluation
from training.evaluation.headline import BASELINE_NAMES, describe_headline
from training.evaluation.holdout import HoldoutResult
from training.evaluation.segments import SegmentFigures
from training.fitting.fit import FittedTarget
from training.models.model import Model
from training.registry import card_text
from training.registry.run_notes import VERDICTS

FILE = "card.html"
_TEMPLATE = Path(__file__).parent / "templates" / FILE
_ROWS = 2_000
_SHOWN = 12
# A rank correlation of value and contribution below this is no direction.
_CLEAR = 0.3
_HEADINGS = {"churn": "who is about to leave?", "upsell": "who is about to buy more?"}
# Colours of the plots, and the page's own in their place.
_TOKENS = {plot.TEXT: "--quiet", plot.GRID: "--rule", plot.SERIES: "--series", plot.REFERENCE: "--before"}


@dataclass(frozen=True)
class CardContext:
    """The run that a card describes.

    Args:
        settings: Of the company.
        fingerprint: Of its data.
        run_id: The MLflow run.
    """

    settings: Settings
    fingerprint: str
    run_id: str


@dataclass(frozen=True)
class FamilyEffect:
    """Joint effect on the score of features that say much the same.

    Args:
        name: Of the family.
        strength: Mean size of their joint contribution, in log-odds.
        share: Of the strengths of all families.
        leader: The feature among them that contributes most.
        sentence: What that is.
        direction: Which way the score moves with it, in words.
    """

    name: str
    strength: float
    share: float
    leader: str
    sentence: str
    direction: str


def render_card(about: CardContext, target: str, fitted: FittedTarget, drawn: Mapping[int, Sequence[Plot]]) -> str:
    """Render the card as an HTML page.

    Args:
        about: The run.
        target: churn or upsell.
        fitted: Its model; at least one horizon was trained.
        drawn: Plots by horizon, as `training.evaluation.plots` draws them.
    """
    settings = about.settings.targets[target]
    model, catalog = fitted.model, Catalog.for_company(about.settings)
    described = set(about.settings.attributes())
    return html.render_template(
        _TEMPLATE,
        heading=f"{about.settings.company.name}: {_HEADINGS[target]}",
        about=about,
        model=model,
        target=target,
        verdicts=VERDICTS,
        baselines=BASELINE_NAMES,
        purpose=card_text.PURPOSES[target],
        definition=card_text.describe_label(settings),
        cohort=card_text.describe_cohort(settings.cohort),
        missing=[source for source in EVENTS if source not in model.sources],
        results={
            h: _summarise_horizon(target, o, drawn.get(h, ()), days=settings.lead_days + h)
            for h, o in fitted.results.items()
        },
        insufficient=fitted.insufficient,
        families={h: rank_families(model, h, catalog)[:_SHOWN] for h in model.horizons},
        limits=list(_iterate_limits(fitted)),
        exported=[f for f in model.features if f in described],
        hyperparameters=fitted.hyperparameters,
        constrained=fitted.hyperparameters.constrained(model.features),
        config=about.settings.file.name,
    )


def copy_card(folder: Path, file: Path) -> Path:
    """Copy the card in a model's folder to a file, whole or not at all.

    Raises:
        RegistryError: There is none.
    """
    try:
        page = (folder / FILE).read_text(encoding="utf-8")
    except OSError as error:
        raise RegistryError(
            f"the model in {folder} has no card", found=str(error), hint="Train again: older versions made none"
        ) from error
    return html.write_page(file, page)


def find_weak_segments(evaluation: Evaluation) -> tuple[SegmentFigures, ...]:
    """Return the segments in which the model ranks worse than overall, beyond chance: the whole interval lies below."""
    return tuple(p for p in evaluation.by_segment if p.auc_high is not None and p.auc_high < evaluation.auc)


def rank_families(model: Model, horizon: int, catalog: Catalog) -> list[FamilyEffect]:
    """Rank the families of features by their effect on the scores of one horizon, on rows of the model's reference."""
    size = len(model.reference)
    rows = model.reference.iloc[np.linspace(0, size - 1, min(size, _ROWS)).astype(int)]
    parts = model.contributions(model.matrix(rows), horizon)
    names = [catalog.find_feature(f).family for f in model.features]
    effects = []
    for name in dict.fromkeys(names):
        columns = [i for i, n in enumerate(names) if n == name]
        leader = max(columns, key=lambda i: np.abs(parts[:, i]).mean())
        column = model.features[leader]
        strength = float(np.abs(parts[:, columns].sum(axis=1)).mean())
        direction = _describe_direction(rows[column], parts[:, leader])
        effects.append(FamilyEffect(name, strength, 0.0, column, catalog.find_feature(column).sentence, direction))
    total = sum(f.strength for f in effects) or 1.0
    ranked = sorted(effects, key=lambda f: -f.strength)
    return [FamilyEffect(**{**vars(f), "share": f.strength / total}) for f in ranked if f.strength]


def _describe_direction(values: pd.Series, parts: np.ndarray) -> str:
    """Describe which way the score moves with a feature."""
    is_known = values.notna().to_numpy()
    if not pd.api.types.is_numeric_dtype(values):
        means = pd.Series(parts[is_known]).groupby(values[is_known].to_numpy(dtype=object)).mean().sort_values()
        return f"{means.index[-1]} raises it, {means.index[0]} lowers it" if len(means) > 1 else "depends on the value"
    numbers, moved = values[is_known].to_numpy(dtype="float64"), parts[is_known]
    if len(np.unique(numbers)) < 2 or len(np.unique(moved)) < 2:
        return "depends on whether it is known"
    correlation = float(pd.Series(numbers).rank().corr(pd.Series(moved).rank()))
    if abs(correlation) < _CLEAR:
        return "neither way throughout"
    return "more of it raises the score" if correlation > 0 else "more of it lowers the score"


def _summarise_horizon(target: str, outcome: HoldoutResult, drawn: Sequence[Plot], *, days: int) -> dict[str, Any]:
    e = outcome.evaluation
    return {
        "headline": describe_headline(target, e, days=days),
        "reason": card_text.spell_out(e.reasons[0]) if e.reasons else "",
        "days": days,
        "plan": outcome.plan.describe(),
        "evaluation": e,
        "figures": card_text.list_figures(e),
        "weak": find_weak_segments(e),
        "unknown": [p for p in e.by_segment if p.auc is None],
        "plots": [{"title": p.title, "svg": _inline_plot(p)} for p in drawn],
    }


def _iterate_limits(fitted: FittedTarget) -> Iterator[tuple[str, str]]:
    """Yield (reason, the horizons that have it, in words), each reason once."""
    horizons_by_reason: dict[str, list[int]] = {}
    results = {h: o.evaluation.reasons for h, o in fitted.results.items()}
    lacking = {h: data.reasons for h, data in fitted.insufficient.items()}
    for horizon, reasons in sorted({**results, **lacking}.items()):
        for reason in reasons:
            horizons_by_reason.setdefault(card_text.spell_out(reason), []).append(horizon)
    for horizon, sentence in fitted.treated.items():
        horizons_by_reason.setdefault(sentence, []).append(horizon)
    for horizon_model in fitted.model.horizon_models:
        if horizon_model.level:
            horizons_by_reason.setdefault(horizon_model.level.describe(), []).append(horizon_model.horizon)
    yield from ((reason, f"{' and '.join(map(str, days))} days") for reason, days in horizons_by_reason.items())


def _inline_plot(drawn: Plot) -> Markup:
    """Return a plot as an element of the page: as wide as its place, in the page's colours, light or dark."""
    opening, rest = drawn.svg.split(">", 1)
    opening = re.sub(r'\s(?:width|height|version|xmlns(?::\w+)?)="[^"]*"', "", opening)
    for colour, token in _TOKENS.items():
        rest = rest.replace(colour, f"var({token})")
    # Drawn by us, and what it names is escaped there.
    return Markup(f'{opening} role="img" aria-label="{escape(drawn.title)}">{rest}')  # noqa: S704
