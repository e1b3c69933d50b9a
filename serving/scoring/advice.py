"""Turn scores into advice: money at stake, what to do and why, when the next sale is due, when the account leaves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.settings import Satisfied, Settings
from serving.scoring.scorer import PreparedSnapshots, Scorer
from training.decisions import value
from training.decisions.levels import find_churn_levels, find_upsell_levels, multiply_odds
from training.decisions.recommendation import Recommendations, recommend
from training.decisions.timing import NextSale, estimate_time_to_churn, predict_next_sale
from training.decisions.value import Floats

CHURN, UPSELL = "churn", "upsell"
NO_CUSTOMER = "not in the cohort: it is no customer at this date"


@dataclass(frozen=True)
class Advice:
    """The advice for n accounts.

    Args:
        worth: By target and horizon, (n,) money: revenue at risk, or the expected gain of an upsell; a pair is missing
            where the model did not learn what a sale brings.
        recommended: What to do.
        sale: When the next sale is due; None where no model learned the company's rhythm of purchases.
        leaves: (n,) mean days until the account leaves, if it does; NaN where the label's horizons tell no time.
    """

    worth: Mapping[tuple[str, int], Floats]
    recommended: Recommendations
    sale: NextSale | None
    leaves: Floats


def advise(settings: Settings, scorer: Scorer, rows: PreparedSnapshots, scores: Mapping[str, Floats]) -> Advice:
    """Build the advice for n accounts.

    Risk is high from the score at which an episode may open (`episodes.at_risk`). A sale is likely from
    `upsell.likely`, and offered to those alone whom `upsell.satisfied` lets pass.

    Args:
        settings: The company's.
        scorer: The models of the scores.
        rows: The n accounts.
        scores: By target, (n, horizons).
    """
    unknown = np.full(len(rows), np.nan)
    churn, upsell = scorer.models.get(CHURN), scorer.models.get(UPSELL)
    risk, chance, leaves, sale = unknown, unknown, unknown, None
    risky = promising = calm = np.inf
    satisfied = settings.upsell.satisfied if settings.upsell else Satisfied()
    if churn:
        horizon = settings.alert_horizon if settings.alert_horizon in churn.horizons else churn.horizons[-1]
        risk = scores[CHURN][:, churn.horizons.index(horizon)]
        risky = find_churn_levels(settings, churn.base_rates[horizon]).enter
        calm = multiply_odds(churn.base_rates[horizon], satisfied.risk)
        timing = estimate_time_to_churn(churn.horizons, scores[CHURN], lead=settings.churn.lead_days, order=churn.order)
        leaves = timing.expected
    if upsell and settings.upsell:
        chance, horizon = scores[UPSELL][:, -1], upsell.horizons[-1]
        promising = find_upsell_levels(settings.upsell, upsell.base_rates[horizon]).enter
        sale = predict_next_sale(rows.about, upsell.rhythm) if upsell.rhythm else None
    limits = {"risky": risky, "promising": promising, "calm": calm}
    recommended = recommend(rows.about, risk, chance, **limits, satisfied=satisfied)
    return Advice(dict(_compute_worth(settings, scorer, rows, scores)), recommended, sale, leaves)


def clear_outside_cohort(columns: dict[str, pa.Array]) -> dict[str, pa.Array]:
    """Clear the recommendations of accounts outside the cohort: the models learned nothing of accounts that have left.

    The cohort is that of churn, or of upsell where no churn is scored. Where it is unknown, nothing is cleared.

    Args:
        columns: By name, each of n accounts, as `score_table` has them.
    """
    cohort = next((columns[name] for t in (CHURN, UPSELL) if (name := f"in_cohort_{t}") in columns), None)
    if cohort is None:
        return columns
    is_outside = pc.invert(pc.fill_null(cohort, True))
    cleared = {"recommendation": pa.scalar(None, pa.string()), "withheld": False, "why": NO_CUSTOMER}
    return columns | {name: pc.if_else(is_outside, value, columns[name]) for name, value in cleared.items()}


def _compute_worth(
    settings: Settings, scorer: Scorer, rows: PreparedSnapshots, scores: Mapping[str, Floats]
) -> Iterator[tuple[tuple[str, int], Floats]]:
    for target, model in scorer.models.items():
        for h, horizon_model in enumerate(model.horizon_models):
            if target == CHURN:
                days = settings.churn.value_days
                yield (
                    (target, horizon_model.horizon),
                    value.compute_revenue_at_risk(rows.about, scores[target][:, h], days=days),
                )
            elif horizon_model.uplift:
                yield (
                    (target, horizon_model.horizon),
                    value.compute_upsell_value(rows.about, scores[target][:, h], horizon_model.uplift),
                )
