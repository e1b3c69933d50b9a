"""Evaluates one target and horizon on its test: the rows, the baselines' scores of them, and the figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.core.errors import LabelError
from features.settings.stakes import Stakes
from features.settings.tiers import Tiers
from training.decisions import tier_sides
from training.decisions.tier_cuts import class_accounts
from training.evaluation import baselines, evaluate
from training.evaluation.evaluate import Evaluation
from training.evaluation.profit import select_stakes
from training.models.model import Model
from training.targets import time_splits

_KEYS = ["account_id", "as_of"]
# What an account is worth, the first of these that the data have.
_VALUES = ("recurring_revenue_year", "spend_365d")
_CHAMPION = "champion"


@dataclass(frozen=True)
class HoldoutResult:
    """Result of one target and horizon on its test.

    Args:
        plan: The cutoffs.
        evaluation: Figures on the test.
        test: account_id, as_of, label, score of the test rows.
        baselines: A column for each baseline with its scores, row by row; the champion's too, if given.
        attributes: as_of, the attributes of the account, and `value`, its yearly revenue where known.
    """

    plan: time_splits.TimePlan
    evaluation: Evaluation
    test: pd.DataFrame
    baselines: pd.DataFrame
    attributes: pd.DataFrame

    def __repr__(self) -> str:
        return f"HoldoutResult({self.evaluation!r}; {self.plan.describe()})"

    def _repr_html_(self) -> str:
        return self.evaluation._repr_html_()


def evaluate_holdout(  # noqa: PLR0913  # all but the first three named
    target: str,
    frame: pd.DataFrame,
    plan: time_splits.TimePlan,
    *,
    horizon: int,
    seed: int,
    lead: int = 0,
    lags: Mapping[str, float] | None = None,
    champion: np.ndarray | None = None,
    stakes: Stakes | None = None,
    tiers: Tiers | None = None,
) -> HoldoutResult:
    """Evaluate a model and the baselines on the test of its plan.

    Args:
        target: churn or upsell.
        frame: n rows, at the cutoffs of the plan at least: `label` and `score` beside the columns of `used`.
        plan: Baselines learn from its train and are scored on its test, as the model.
        horizon: In days.
        seed: Of the bootstrap.
        lead: Days before the horizon begins.
        lags: Days by which a table's events become known later, by table.
        champion: (n,) scores of the model that serves now, to stand beside the baselines.
        stakes: The company's, for the profit; by default those of the measure as published.
        tiers: The company's, to class the accounts of each cutoff by.

    Raises:
        LabelError: The test's labels are of one class only.
    """
    known = frame["label"].notna()
    is_train, is_test = ((known & frame["as_of"].isin(cutoffs)).to_numpy() for cutoffs in (plan.train, plan.test))
    train, test = frame[is_train], frame[is_test]
    positives = int(test["label"].sum())
    if positives in {0, len(test)}:
        raise LabelError(
            f"the labels of {target} are of one class only in the test from {plan.test[0]:%Y-%m-%d}",
            found=f"{positives} positives among {len(test)} rows",
            hint="Set an earlier training.test_from, or look at the label in the TOML",
        )
    labels = train["label"].to_numpy()
    baseline_scores = baselines.score_baselines(
        train, labels, test, target=target, horizon=horizon, lead=lead, lags=lags, seed=seed
    )
    if champion is not None:
        baseline_scores[_CHAMPION] = champion[is_test]
    return evaluate_scores(
        target,
        plan,
        test[[*_KEYS, "label", "score"]],
        pd.DataFrame(baseline_scores),
        describe_accounts(test, tiers),
        seed=seed,
        stakes=stakes,
    )


def evaluate_scores(  # noqa: PLR0913  # all that a test is made of
    target: str,
    plan: time_splits.TimePlan,
    test: pd.DataFrame,
    baseline_scores: pd.DataFrame,
    attributes: pd.DataFrame,
    *,
    seed: int,
    stakes: Stakes | None = None,
) -> HoldoutResult:
    """Evaluate test rows that are scored already; arguments as those of `HoldoutResult`, and the target's name."""
    labels, scores, accounts = (test[c].to_numpy() for c in ("label", "score", "account_id"))
    evaluation = evaluate.evaluate(
        labels,
        scores,
        accounts,
        {name: baseline_scores[name].to_numpy() for name in baseline_scores if name != _CHAMPION},
        seed=seed,
        values=attributes["value"].to_numpy() if "value" in attributes else None,
        attributes=attributes.drop(columns="value", errors="ignore"),
        champion=baseline_scores[_CHAMPION].to_numpy() if _CHAMPION in baseline_scores else None,
        stakes=select_stakes(stakes or Stakes(), target),
    )
    return HoldoutResult(plan, evaluation, test, baseline_scores, attributes)


def list_columns(frame: pd.DataFrame) -> list[str]:
    """Return the columns of snapshots that an evaluation needs."""
    wanted = {*_KEYS, *_VALUES, *baselines.COLUMNS, *tier_sides.WANTED, "tier"}
    return [c for c in frame if c in wanted or not pd.api.types.is_numeric_dtype(frame[c])]


def describe_accounts(rows: pd.DataFrame, tiers: Tiers | None = None) -> pd.DataFrame:
    """Return what snapshots say of the accounts beside the features: as_of, text attributes, `tier`, `value`.

    Accounts without a tier of the company's own have that of the 5A rule, if `tiers` are given.
    """
    texts = [c for c in rows if c not in _KEYS and (c == "tier" or not pd.api.types.is_numeric_dtype(rows[c]))]
    attributes = rows[["as_of", *texts]]
    if tiers is not None and "tier" not in rows:
        attributes = attributes.assign(tier=class_accounts(rows, tiers))
    value_column = next((c for c in _VALUES if c in rows and (rows[c] > 0).any()), None)
    return attributes.assign(value=rows[value_column]) if value_column else attributes


def is_comparable(champion: Model, plan: time_splits.TimePlan, horizon: int) -> bool:
    """Return whether a champion's scores may be compared: it did not learn from the test."""
    learned = champion.learned_until
    return horizon in champion.horizons and learned is not None and learned <= plan.test[0]
