"""Words of the model card: what counts, who is scored, what each figure means and which value is good."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from features.settings import Churn, Cohort, Upsell
from training.evaluation.evaluate import Evaluation
from training.evaluation.headline import BASELINE_NAMES

PURPOSES = {
    "churn": "To tell which accounts are about to leave, early enough for their owners to act.",
    "upsell": "To tell which accounts are about to buy more. It is no reason to sell to one that is at risk.",
}
_COHORTS = {
    "in_force": "accounts with a paid term on that day",
    "active": "accounts with a purchase in the {days} days before",
    "using": "accounts with a use in the {days} days before",
    "lifetime": "accounts that had started by then and not ended",
}
_LABELS = {
    "ended": "An account leaves where the company recorded the end of its relation within the {horizon}.",
    "lapse": "An account leaves where a paid term ends within the {horizon} and none follows{grace}.",
    "no_purchase": "An account leaves where it buys nothing within the {horizon}. A refund is no purchase.",
    "no_usage": "An account leaves where it uses nothing within the {horizon}.",
    "downgrade": "An account downgrades where its recurring revenue at the end of the {horizon} is below {ratio:.0%} "
    "of what it was, and not nothing.",
    "expansion": "An account buys more where it makes a purchase of the kind expansion within the {horizon}.",
    "new_product": "An account buys more where it buys, within the {horizon}, a product that it never bought before.",
    "spend_up": "An account buys more where it spends, within the {horizon}, more than {ratio:.4g} times what it spent "
    "in as long a time before. Accounts that had spent nothing are not asked.",
    "recurring_up": "An account buys more where its recurring revenue at the end of the {horizon} is above {ratio:.4g} "
    "times what it was.",
}
_SHARES = {"base_rate", "capture_5", "capture_10", "capture_20", "value_captured_10", "profit_share", "ece"}
# (name, in words, what good looks like), by the field of Evaluation.
_FIGURES = (
    ("auc", "AUC, how often the one that comes true is ranked higher", "0.5 is chance, 1 is perfect"),
    ("auc_within", "AUC among accounts of one day", "near the AUC of all"),
    ("lift_10", "times the average among the highest tenth", "the higher the better; 1 is chance"),
    ("capture_5", "found in the highest 5 % of scores", "5 % is chance"),
    ("capture_10", "found in the highest tenth", "10 % is chance"),
    ("capture_20", "found in the highest fifth", "20 % is chance"),
    ("value_captured_10", "of their money, in the highest tenth", "10 % is chance"),
    ("ap", "average precision", "the average share is chance, 1 is perfect"),
    ("brier_skill", "Brier skill, error of the probability saved", "above 0; 0 is the average for everyone"),
    ("ece", "calibration error, how far a score is off", "2 % or less, or no more than noise"),
    ("profit", "expected profit of the best campaign, per account", "above 0"),
    ("profit_share", "accounts to contact for it", "what owners can do"),
)


# Those whose names are no words of a sentence.
_RIVALS = {name: words for name, words in BASELINE_NAMES.items() if "_" in name}


@dataclass(frozen=True)
class CardFigure:
    """One figure as the card shows it: in words, rounded, with its interval and what good looks like."""

    name: str
    value: str
    interval: str
    good: str


def describe_label(target: Churn | Upsell) -> str:
    """Describe what counts as positive, with this company's settings of it."""
    label = target.label
    lead = f" after the first {target.lead_days} days, which owners have to act in," if target.lead_days else ""
    horizon = f"{' or '.join(str(h) for h in target.horizons)} days{lead}"
    days = getattr(label, "grace_days", 0)
    grace = f" within {days} days" if days else ""
    sentence = _LABELS[label.kind].format(horizon=horizon, grace=grace, ratio=label.ratio)
    products = f" Only {', '.join(label.products)} count{'s' if len(label.products) == 1 else ''}."
    return sentence + (products if label.products else "")


def describe_cohort(cohort: Cohort) -> str:
    """Describe who is scored."""
    products = f", of {', '.join(cohort.products)} alone" if cohort.products else ""
    return _COHORTS[cohort.kind].format(days=cohort.within_days) + products


def spell_out(reason: str) -> str:
    """Return the reason of a verdict with baselines called by what they are."""
    return re.sub(r"\b[a-z]+(?:_[a-z]+)*\b", lambda m: _RIVALS.get(m[0], m[0]), reason)


def list_figures(evaluation: Evaluation) -> Sequence[CardFigure]:
    """Return the figures that are known, those that matter most first."""
    rows = []
    for field, name, good in _FIGURES:
        value = getattr(evaluation, field)
        if value is None:
            continue
        ends = evaluation.intervals.get(field)
        interval = f"{show_figure(field, ends[0])} to {show_figure(field, ends[1])}" if ends else ""
        rows.append(CardFigure(name, show_figure(field, value), interval, good))
    return rows


def show_figure(field: str, value: float) -> str:
    """Return a figure of an evaluation with two digits, a share in percent.

    Examples:
        >>> show_figure("auc", 0.8574), show_figure("capture_10", 0.4912), show_figure("ece", 0.0114)
        ('0.86', '49 %', '1.1 %')
    """
    if field in _SHARES:
        return f"{value * 100:.1f} %" if abs(value) < 0.0995 else f"{value * 100:.0f} %"
    if field in {"profit", "lift_10"}:
        return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.1f}"
    return f"{value:.2f}"
