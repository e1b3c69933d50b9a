"""Estimate what a hit by a topic does to the chance that an account leaves, against like accounts that were not hit.

Doubly robust: right if either the model of who leaves, or that of who is hit, is right. It is an association: what
neither the score nor the rest that was known before tells of can stand behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from monitoring.journey.exposures import Exposures, Flags, Floats

# Accounts hit, and left among them, below which nothing is said.
LEAST_HIT, LEAST_LEFT = 20, 3
_FOLDS = 3
# Odds of being hit beyond which a row's weight is cut.
_MOST_ODDS = 20.0


@dataclass(frozen=True)
class TopicEffect:
    """The difference in leaving of accounts hit by a topic.

    Args:
        topic_id: Of the topic.
        hits: Weeks in which an account was hit anew.
        accounts: Accounts hit.
        left: Share of the hit that left within the horizon.
        expected: Share of like accounts not hit that did.
        effect: Their difference.
        low: Lower end of its 95 % interval.
        high: Upper end.
        p: Two-sided, that there is no difference.
        is_told: Whether it stands out with the false discovery rate of all topics.
    """

    topic_id: str
    hits: int
    accounts: int
    left: float
    expected: float
    effect: float
    low: float
    high: float
    p: float
    is_told: bool = False


@dataclass(frozen=True)
class Comparison:
    """Whom a topic hit, and whom they are compared with; no outcome is in it.

    Args:
        asked: Numbers of the rows without a ticket of the topic in the quarter before, (n,).
        hit: (n,) whether the topic hit them.
        odds: (n,) odds of being hit: the weights of those that were not.
    """

    asked: npt.NDArray[np.int64]
    hit: Flags
    odds: Floats


def estimate_effects(
    rows: Exposures, *, false_share: float = 0.1, comparisons: Sequence[Comparison] | None = None
) -> list[TopicEffect]:
    """Estimate the effect of each topic on accounts hit, by augmented inverse-propensity weights with cross-fitting.

    The outcome is regressed once for all topics on what was known before, on the topics of the week and on those of the
    quarter before; that of an account "not hit" is its prediction without the topic. Accounts are split into folds, so
    that none is predicted from itself, and the interval is that of clusters of accounts.

    Args:
        rows: Of accounts by week.
        false_share: The false discovery rate of the topics told, two-sided.
        comparisons: As `compare_accounts` returns them, by default made here: they are the same for any outcome.

    Returns:
        One for each topic that enough accounts were hit by, in the order of the topics.

    Source: Robins, Rotnitzky and Zhao (1994); Chernozhukov et al., Econometrics Journal 21 (2018), for cross-fitting;
        Benjamini and Hochberg, JRSS B 57 (1995).
    """
    folds = _draw_folds(rows)
    unhit = _predict_unhit(rows, folds)
    comparisons = compare_accounts(rows) if comparisons is None else comparisons
    estimated = (_estimate(rows, column, one, unhit, folds) for column, one in enumerate(comparisons))
    effects = [effect for effect in estimated if effect is not None]
    told = find_discoveries([effect.p for effect in effects], false_share)
    return [replace(effect, is_told=bool(is_told)) for effect, is_told in zip(effects, told, strict=True)]


def compare_accounts(rows: Exposures) -> list[Comparison]:
    """Find for each topic whom it hit, and by how much the others count as being like them."""
    folds, comparisons = _draw_folds(rows), list[Comparison]()
    for column in range(len(rows.topics)):
        asked = np.flatnonzero(~rows.before[:, column])
        hit = rows.hit[asked, column]
        is_rare = len(np.unique(rows.account[asked[hit]])) < LEAST_HIT or hit.all()
        odds = np.zeros(len(asked)) if is_rare else _predict_odds(rows, asked, hit, folds[asked])
        comparisons.append(Comparison(asked, hit, odds))
    return comparisons


def _draw_folds(rows: Exposures) -> npt.NDArray[np.int64]:
    """Return each row's fold, the same for all rows of an account."""
    return np.random.default_rng(5).integers(0, _FOLDS, int(rows.account.max()) + 1)[rows.account]


def find_discoveries(p_values: Sequence[float], share: float) -> Flags:
    """Return which tests stand out so that at most this share of them is expected to be false.

    Examples:
        >>> find_discoveries([0.001, 0.9, 0.04], 0.1).tolist()
        [True, False, True]
    """
    p, n = np.asarray(p_values, dtype=float), len(p_values)
    order = np.argsort(p)
    passed = np.flatnonzero(p[order] <= share * np.arange(1, n + 1) / max(n, 1))
    found = np.zeros(n, dtype=bool)
    if len(passed):
        found[order[: passed[-1] + 1]] = True
    return found


def _predict_unhit(rows: Exposures, folds: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return each row's log-odds of leaving from the other folds, and the coefficient of each topic by fold.

    The log-odds of a row not hit by a topic are its own less the topic's coefficient.
    """
    design = np.concatenate([rows.known, rows.before, rows.hit], axis=1)
    topics = len(rows.topics)
    logits, coefficients = np.zeros(len(design)), np.zeros((_FOLDS, topics))
    weights = None
    for fold in range(_FOLDS):
        learned = folds != fold
        weights = fit_logistic(design[learned], rows.left[learned], rows.weight[learned], shrinkage=5.0, start=weights)
        logits[~learned] = weights[0] + design[~learned] @ weights[1:]
        coefficients[fold] = weights[-topics:]
    return logits, coefficients


def _estimate(
    rows: Exposures, column: int, compared: Comparison, unhit: tuple[Floats, Floats], folds: npt.NDArray[np.int64]
) -> TopicEffect | None:
    asked, hit = compared.asked, compared.hit
    accounts = len(np.unique(rows.account[asked[hit]]))
    leavers = len(np.unique(rows.account[asked[hit & (rows.left[asked] > 0)]]))
    if accounts < LEAST_HIT or leavers < LEAST_LEFT or hit.all():
        return None
    logits, coefficients = unhit
    fold, weight = folds[asked], rows.weight[asked]
    own = logits[asked] - coefficients[fold, column] * hit
    rest = rows.left[asked] - 1 / (1 + np.exp(-own))
    treated = weight * hit
    total = treated.sum()
    controls = np.where(hit, 0.0, compared.odds * weight)
    controls *= total / controls.sum()
    effect = float((treated * rest - controls * rest).sum() / total)
    # Each control's part is taken about its own mean: the weights add up to the hit by construction.
    drift = float((controls * rest).sum() / total)
    parts = treated * (rest - drift - effect) - controls * (rest - drift)
    sums = np.bincount(rows.account[asked], parts)
    error = float(np.sqrt((sums**2).sum() * accounts / (accounts - 1)) / total)
    from scipy.stats import t

    # The accounts that left say how well the error is known, not all that were hit: of few, little.
    reach = float(t.isf(0.025, leavers - 1))
    left = float(rows.left[asked[hit]].mean())
    return TopicEffect(
        topic_id=rows.topics[column],
        hits=int(hit.sum()),
        accounts=accounts,
        left=left,
        expected=left - effect,
        effect=effect,
        low=effect - reach * error,
        high=effect + reach * error,
        p=float(2 * t.sf(abs(effect) / error, leavers - 1)) if error > 0 else 1.0,
    )


def _predict_odds(rows: Exposures, asked: npt.NDArray[np.int64], hit: Flags, fold: npt.NDArray[np.int64]) -> Floats:
    """Return each row's odds of being hit, learned from the other folds: all the hit, and as many others as suffice."""
    others = (rows.other[asked] - hit).clip(0)
    design = np.column_stack([rows.known[asked], np.log1p(others), rows.before[asked].sum(axis=1)])
    rng = np.random.default_rng(11)
    odds, weights = np.zeros(len(asked)), None
    for number in range(_FOLDS):
        learned = np.flatnonzero(fold != number)
        hits, rest = learned[hit[learned]], learned[~hit[learned]]
        share = min(1.0, max(4_000, 10 * len(hits)) / max(len(rest), 1))
        rest = rest[rng.random(len(rest)) < share]
        chosen = np.concatenate([hits, rest])
        counted = rows.weight[asked[chosen]] * np.where(hit[chosen], 1.0, 1 / share)
        counted *= len(chosen) / counted.sum()
        weights = fit_logistic(design[chosen], hit[chosen].astype(float), counted, shrinkage=1.0, start=weights)
        mine = fold == number
        odds[mine] = np.exp(np.clip(weights[0] + design[mine] @ weights[1:], -20, np.log(_MOST_ODDS)))
    return odds


def fit_logistic(
    rows: Floats, outcome: Floats, weight: Floats, *, shrinkage: float, start: Floats | None = None
) -> Floats:
    """Fit a logistic regression with an intercept, coefficients drawn to 0, by Newton's method.

    Args:
        rows: (n, k).
        outcome: (n,) 0 or 1.
        weight: (n,) rows that each stands for.
        shrinkage: Half the penalty of a coefficient's square.
        start: Coefficients of like rows, which save steps; they change nothing else.

    Returns:
        (k + 1,), the intercept first.
    """
    design = np.column_stack([np.ones(len(rows)), rows]).astype(np.float64)
    penalty = np.full(design.shape[1], shrinkage)
    penalty[0] = 1e-6
    share = float(np.clip(np.average(outcome, weights=weight), 1e-6, 1 - 1e-6))
    found = np.zeros(design.shape[1]) if start is None else start.copy()
    if start is None:
        found[0] = np.log(share / (1 - share))
    for _ in range(12):
        chance = 1 / (1 + np.exp(-np.clip(design @ found, -30, 30)))
        slope = design.T @ (weight * (outcome - chance)) - penalty * found
        curve = (design * (weight * np.maximum(chance * (1 - chance), 1e-9))[:, None]).T @ design
        step = np.linalg.solve(curve + np.diag(penalty), slope)
        found += np.clip(step, -3, 3)
        if np.abs(step).max() < 1e-5:
            break
    return np.asarray(found, dtype=np.float64)
