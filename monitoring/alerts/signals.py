"""Find what an episode may open on: each kind's condition on each account, from its scores and facts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.core.language import Phrase
from features.settings import Satisfied, Settings
from monitoring.alerts import kinds
from monitoring.alerts.facts import AccountFacts
from monitoring.alerts.limits import SaleLimits, Thresholds
from monitoring.alerts.queries import AccountScore
from monitoring.letters.wording import count_in_words
from training.decisions.levels import multiply_odds
from training.decisions.recommendation import SELL, recommend
from training.decisions.value import Uplift


@dataclass(frozen=True)
class Signal:
    """A kind's condition that holds on an account at the run's `as_of`.

    Args:
        account_id: Of the account.
        kind: Of the episode.
        enters: Whether it is strong enough to open an episode; else it only keeps one open.
        score: Probability of leaving, or of buying for `upsell`; None where not known.
        value: Money that is lost or gained then; None where not known.
        text: What it is, with its numbers, for the owner.
        play: What to do about it; None where the strongest driver says so.
    """

    account_id: str
    kind: str
    enters: bool
    score: float | None
    value: float | None
    text: Phrase
    play: str | None = None


@dataclass(frozen=True)
class SignalInputs:
    """What conditions are found in.

    Args:
        settings: The company's.
        limits: Of the churn champion.
        scores: Churn scores by account, of those in the cohort.
        sales: Upsell scores by account.
        sale_limits: Of the upsell champion; None without one.
        facts: About the accounts at the run's `as_of`.
        at: The `as_of` (µs).
    """

    settings: Settings
    limits: Thresholds
    scores: Mapping[str, AccountScore]
    sales: Mapping[str, float]
    sale_limits: SaleLimits | None
    facts: AccountFacts
    at: int


Signals = Mapping[str, Signal]


def find_signals(inputs: SignalInputs) -> dict[str, Signals | None]:
    """Find the conditions that hold, by kind and account; None for a kind that can't be judged now.

    A kind can't be judged where its table or model is missing: its open episodes then stay as they are.
    """
    found: dict[str, Signals | None] = {}
    for kind in inputs.settings.episodes.kinds:
        signals = _FINDERS[kind](inputs)
        found[kind] = None if signals is None else {signal.account_id: signal for signal in signals}
    return found


def _find_churn(inputs: SignalInputs) -> Iterator[Signal]:
    limits = inputs.limits
    for account, row in inputs.scores.items():
        if row.score >= limits.leave:
            text = Phrase("risk of leaving {score:.1%}", {"score": row.score})
            yield Signal(account, kinds.CHURN, row.score >= limits.enter, row.score, row.value, text)


def _find_silent_decline(inputs: SignalInputs) -> Iterator[Signal] | None:
    rules, frame = inputs.settings.episodes.silent_decline, inputs.facts.frame
    if not {"usage_trend_30d", "usage_against_usual_30d", "usage_events_90d"} <= set(frame):
        return None
    lost, usual = _compute_fall(frame["usage_trend_30d"]), frame["usage_against_usual_30d"]
    complaints = sum(frame[c].fillna(0) for c in ("urgent_tickets_90d", "escalated_tickets_90d") if c in frame)
    is_falling = (lost >= rules.fall) & (usual <= rules.usual)
    enters = is_falling & (frame["usage_events_90d"] >= rules.least_events) & (complaints < rules.complaints)
    return _build(
        inputs,
        kinds.SILENT_DECLINE,
        enters,
        usual < rules.recovered,
        lambda i: Phrase(
            "usage fell {lost:.0%} in 30 days, to {left:.0%} of the usual, and nobody complained",
            {"lost": float(lost[i]), "left": float(usual[i])},
        ),
        play="break_silence",
    )


def _find_service_failure(inputs: SignalInputs) -> Iterator[Signal] | None:
    rules, frame = inputs.settings.episodes.service_failure, inputs.facts.frame
    if "open_urgent_tickets" not in frame:
        return None
    urgent = frame["open_urgent_tickets"].fillna(0)
    escalated = frame["escalated_tickets_90d"].fillna(0) if "escalated_tickets_90d" in frame else urgent * 0
    return _build(
        inputs,
        kinds.SERVICE_FAILURE,
        (urgent >= rules.open_urgent) | (escalated >= rules.escalations),
        (urgent > 0) | (escalated > 0),
        lambda i: _describe_failure(int(urgent[i]), int(escalated[i])),
        play="fix_service",
    )


def _describe_failure(urgent: int, escalated: int) -> Phrase:
    """Describe what went wrong, without what did not."""
    parts = []
    if urgent:
        parts.append(count_in_words(urgent, "{n} urgent ticket stands open", "{n:,} urgent tickets stand open"))
    if escalated:
        one, many = "{n} ticket was escalated in 90 days", "{n:,} tickets were escalated in 90 days"
        parts.append(count_in_words(escalated, one, many))
    return (
        parts[0] if len(parts) == 1 else Phrase("{first}, {second}", dict(zip(("first", "second"), parts, strict=True)))
    )


def _find_renewal_near(inputs: SignalInputs) -> Iterator[Signal] | None:
    within, frame = inputs.settings.episodes.renewal_days, inputs.facts.frame
    if not {"days_to_renewal", "term_days"} <= set(frame):
        return None
    days = frame["days_to_renewal"]
    # A term that is hardly longer than the notice is always near its end.
    is_near = (days <= within) & (frame["term_days"] >= 2 * within)
    return _build(
        inputs,
        kinds.RENEWAL_NEAR,
        is_near,
        is_near,
        lambda i: Phrase("its term ends in {days:.0f} days", {"days": float(days[i])}),
        play="renew_early",
    )


def _find_visit_due(inputs: SignalInputs) -> Iterator[Signal] | None:
    cadence, frame = inputs.settings.cadence, inputs.facts.frame
    if not cadence or "days_since_touch" not in frame:
        return None
    allowed = frame.index.to_series().map(inputs.facts.tiers).map(cadence).astype("float64")
    silent = frame["days_since_touch"].fillna(frame["tenure_days"])
    is_due = silent > allowed
    return _build(
        inputs,
        kinds.VISIT_DUE,
        is_due,
        is_due,
        lambda i: Phrase(
            "nobody has been in touch for {days:.0f} days; its tier asks for every {allowed:.0f}",
            {"days": float(silent[i]), "allowed": float(allowed[i])},
        ),
        play="get_in_touch",
    )


def _find_promise_due(inputs: SignalInputs) -> Iterator[Signal] | None:
    promises = inputs.facts.promises
    if promises is None:
        return None
    return (
        Signal(
            account,
            kinds.PROMISE_DUE,
            promise.days_left <= inputs.settings.episodes.promise_days,
            inputs.scores[account].score,
            inputs.scores[account].value,
            promise.describe(),
            play="keep_promise",
        )
        for account, promise in promises.items()
        if account in inputs.scores
    )


def _find_upsell(inputs: SignalInputs) -> Iterator[Signal] | None:
    """Find the accounts that a sale is likely at and that are satisfied, by the rule of the recommendation."""
    limits, upsell = inputs.sale_limits, inputs.settings.upsell
    if limits is None or not inputs.sales:
        return None
    satisfied = upsell.satisfied if upsell else Satisfied()
    accounts = [a for a, score in inputs.sales.items() if a in inputs.scores and score >= limits.leave]
    if not accounts:
        return iter(())
    frame = inputs.facts.frame.reindex(accounts)
    churn = np.array([inputs.scores[a].score for a in accounts])
    chance, risky = np.array([inputs.sales[a] for a in accounts]), inputs.limits.enter
    # A chance that is open ends with a risk that is high, not with one that is a little above the average.
    calm = multiply_odds(inputs.limits.base_rate or 0.0, satisfied.risk)
    opening, staying = (
        recommend(frame, churn, chance, risky=risky, promising=least, calm=most, satisfied=satisfied).do == SELL
        for least, most in ((limits.enter, calm), (limits.leave, risky))
    )
    return (
        Signal(
            account,
            kinds.UPSELL,
            bool(is_opening),
            inputs.sales[account],
            _compute_gain(inputs.scores[account].value, limits.uplift),
            Phrase(
                "chance of a sale {score:.1%}; satisfied, and no risk stands against it",
                {"score": inputs.sales[account]},
            ),
            play="show_more",
        )
        for account, is_opening, is_staying in zip(accounts, opening, staying, strict=True)
        if is_opening or is_staying
    )


def _compute_gain(value: float | None, uplift: Uplift | None) -> float | None:
    """Return what a sale brings, as it did in training; None where that is not known."""
    if uplift is None:
        return None
    return uplift.amount if not value or uplift.share is None else value * uplift.share


def _build(  # noqa: PLR0913  # what a signal is made of
    inputs: SignalInputs,
    kind: str,
    enters: pd.Series,
    lasts: pd.Series,
    describe: Callable[[str], Phrase],
    *,
    play: str,
) -> Iterator[Signal]:
    """Yield the signals of the accounts in the cohort for which the condition lasts."""
    for account in lasts.index[lasts]:
        row = inputs.scores.get(account)
        if row is not None:
            yield Signal(account, kind, bool(enters[account]), row.score, row.value, describe(account), play)


def _compute_fall(trend: pd.Series) -> pd.Series:
    """Return the share lost, from a change between -1 (gone) and 1 (new); below 0 where it grew, NaN where unknown."""
    return 1 - (1 + trend) / (1 - trend).clip(lower=1e-9)


_FINDERS: Mapping[str, Callable[[SignalInputs], Iterator[Signal] | None]] = {
    kinds.CHURN: _find_churn,
    kinds.SILENT_DECLINE: _find_silent_decline,
    kinds.SERVICE_FAILURE: _find_service_failure,
    kinds.RENEWAL_NEAR: _find_renewal_near,
    kinds.UPSELL: _find_upsell,
    kinds.PROMISE_DUE: _find_promise_due,
    kinds.VISIT_DUE: _find_visit_due,
}
