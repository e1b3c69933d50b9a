"""The test of one target and horizon: its rows, every rival's scores of them, and the figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.errors import LabelError, RegistryError
from training import baselines, evaluate, splits
from training.bundle import Bundle
from training.evaluate import Evaluation
from training.profit import RETENTION, UPSELL

_KEYS = ["account_id", "as_of"]
# What an account is worth, the first of these that the data have.
_VALUES = ("recurring_revenue_year", "spend_365d")
_CHAMPION = "champion"


@dataclass(frozen=True)
class Outcome:
    """One target and horizon after training.

    Args:
        plan: The cutoffs.
        evaluation: Figures on the test.
        test: account_id, as_of, label, score of the test rows.
        rivals: A column for each baseline with its scores, row by row; the champion's too, where one was given.
        about: as_of, the account's attributes, and `value`, its worth in money, where the data tell.
    """

    plan: splits.Plan
    evaluation: Evaluation
    test: pd.DataFrame
    rivals: pd.DataFrame
    about: pd.DataFrame


def judge(  # noqa: PLR0913  # all but the first three named
    target: str,
    frame: pd.DataFrame,
    plan: splits.Plan,
    *,
    horizon: int,
    seed: int,
    lead: int = 0,
    champion: Bundle | None = None,
) -> Outcome:
    """Figures on the test.

    Args:
        target: churn or upsell.
        frame: `label` and `score` beside account_id, as_of and the features, at the cutoffs of the plan at least.
        plan: Baselines learn from its train and are scored on its test, as the model.
        horizon: In days.
        seed: Of the bootstrap.
        lead: Days before the horizon begins.
        champion: The model that serves now, to stand beside the baselines if it did not learn from the test.

    Raises:
        LabelError: The test's labels are of one class only.
    """
    known = frame[frame["label"].notna()]
    train, test = (known[known["as_of"].isin(cutoffs)] for cutoffs in (plan.train, plan.test))
    positives = int(test["label"].sum())
    if positives in {0, len(test)}:
        raise LabelError(
            f"the labels of {target} are of one class only in the test from {plan.test[0]:%Y-%m-%d}",
            there=f"{positives} positives among {len(test)} rows",
            do="Set an earlier training.test_from, or look at the label in the TOML",
        )
    answers = train["label"].to_numpy()
    rivals = baselines.rivals(train, answers, test, target=target, horizon=horizon, lead=lead, seed=seed)
    serving = _scores(champion, test, plan, horizon)
    if serving is not None:
        rivals[_CHAMPION] = serving
    return of(target, plan, test[[*_KEYS, "label", "score"]], pd.DataFrame(rivals), about(test), seed=seed)


def of(  # noqa: PLR0913  # all that a test is made of
    target: str, plan: splits.Plan, test: pd.DataFrame, rivals: pd.DataFrame, about: pd.DataFrame, *, seed: int
) -> Outcome:
    """Figures on test rows whose scores are all there; arguments as those of Outcome, and the target's name."""
    labels, scores, accounts = (test[c].to_numpy() for c in ("label", "score", "account_id"))
    evaluation = evaluate.evaluate(
        labels,
        scores,
        accounts,
        {name: rivals[name].to_numpy() for name in rivals if name != _CHAMPION},
        seed=seed,
        values=about["value"].to_numpy() if "value" in about else None,
        about=about.drop(columns="value", errors="ignore"),
        champion=rivals[_CHAMPION].to_numpy() if _CHAMPION in rivals else None,
        stakes=RETENTION if target == "churn" else UPSELL,
    )
    return Outcome(plan, evaluation, test, rivals, about)


def about(rows: pd.DataFrame) -> pd.DataFrame:
    """What snapshots tell of the accounts beside the features: as_of, text attributes, `tier`, `value`."""
    texts = [c for c in rows if c not in _KEYS and (c == "tier" or not pd.api.types.is_numeric_dtype(rows[c]))]
    found = rows[["as_of", *texts]]
    worth = next((c for c in _VALUES if c in rows and (rows[c] > 0).any()), None)
    return found.assign(value=rows[worth]) if worth else found


def _scores(champion: Bundle | None, test: pd.DataFrame, plan: splits.Plan, horizon: int) -> np.ndarray | None:
    """The champion's scores; None where it has none that may be compared."""
    if champion is None or horizon not in champion.horizons:
        return None
    if champion.learned_until is None or champion.learned_until > plan.test[0]:
        return None
    try:
        return champion.probabilities(champion.matrix(test))[:, champion.horizons.index(horizon)]
    except RegistryError:  # it needs features that these data no longer have
        return None
