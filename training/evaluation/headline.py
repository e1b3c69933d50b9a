"""Says in one sentence what an evaluation is worth to those who act on the scores."""

from __future__ import annotations

from training.evaluation.evaluate import Evaluation

_COMES_TRUE = {"churn": "leave", "upsell": "buy more"}
BASELINE_NAMES = {
    "base_rate": "the average for everyone",
    "recency": "days of silence alone",
    "tenure": "time as a customer alone",
    "rfm_logistic": "a plain formula of recency, frequency and money",
    "bg_nbd": "a model of purchases alone (BG/NBD)",
    "champion": "the model that serves now",
}
_FEW = 0.08  # a share below which tenths say too little


def describe_headline(target: str, evaluation: Evaluation, *, days: int) -> str:
    """Return the answer to whether, and how well, a model tells who comes true.

    Args:
        target: churn or upsell.
        evaluation: On its test.
        days: From `as_of` to the horizon's end.

    Returns:
        Such as "Of the riskiest tenth, 5 in 10 leave within 90 days; on average 1 in 10."
    """
    event = f"{_COMES_TRUE[target]} within {days} days"
    top, mean = evaluation.lift_10 * evaluation.base_rate, evaluation.base_rate
    tenth = "riskiest tenth" if target == "churn" else "most likely tenth"
    figures = f"Of the {tenth}, {describe_odds(top, mean)} {event}; on average {describe_odds(mean, mean)}."
    if evaluation.verdict == "signal":
        return figures
    if evaluation.verdict == "leak_suspected":
        return f"Not to be used: it may have learned from what is known only once accounts {_COMES_TRUE[target]}."
    if evaluation.verdict == "insufficient":
        return f"Too little data to tell who will {event}."
    rivals = {name: figures.auc for name, figures in evaluation.baselines.items() if name != "champion"}
    best = max(rivals, key=lambda name: rivals[name])
    beyond = "chance" if best == "base_rate" else BASELINE_NAMES.get(best, best)
    return f"It does not tell who will {event} any better than {beyond}, as far as the test can show. {figures}"


def describe_odds(share: float, smallest: float) -> str:
    """Return a share as "5 in 10"; as "5 in 100" where the smallest one beside it is small.

    Examples:
        >>> describe_odds(0.48, 0.1), describe_odds(0.24, 0.034)
        ('5 in 10', '24 in 100')
    """
    whole = 10 if smallest >= _FEW else 100
    count = round(share * whole)
    return f"{count} in {whole}" if count or not share else f"fewer than 1 in {whole}"
