"""Define the status of an experiment: both arms, the effect with bounds, balance, contamination, how long to go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from features.core.language import Phrase
from features.core.timestamps import from_micros
from monitoring.experiments.balance import Balance
from monitoring.experiments.contamination import Contamination
from monitoring.experiments.effect import EffectEstimate
from monitoring.experiments.statement import SavedRevenue, Statement, Text, Wording

State = Literal["off", "not begun", "running", "stopped"]


@dataclass(frozen=True)
class PowerSoFar:
    """The chance that an effect of one size has shown, if there is one.

    Args:
        effect: In share of accounts kept.
        now: By this look.
        at_end: By the planned end, at this rate.
        month: From the first draw on, the month by which it is 8 in 10; None where that takes more than five years.
    """

    effect: float
    now: float
    at_end: float
    month: int | None


@dataclass(frozen=True)
class Comparison:
    """What one kind of lot has shown at one look.

    Args:
        purpose: lottery, holdout or plays:CAUSE.
        title: In words.
        words: Of its sentences.
        drawn: Families drawn so far.
        waiting: Of these, those whose outcome is not known yet.
        estimate: From the others.
        balance: Of all drawn.
        contamination: Of those whose outcome is known; None where both arms are alerted on.
        power: By size of an effect.
        months_to_go: Until an effect worth finding would show, at this rate, or the smallest larger one that would
            within five years; None where none would, or no more will be drawn.
        effect_to_go: That effect, in share of accounts kept.
        saved: Revenue kept, by currency.
        statement: What may be said, and what may not.
    """

    purpose: str
    title: Text
    words: Wording
    drawn: int
    waiting: int
    estimate: EffectEstimate
    balance: Balance
    contamination: Contamination | None
    power: tuple[PowerSoFar, ...]
    months_to_go: int | None
    effect_to_go: float | None
    saved: tuple[SavedRevenue, ...]
    statement: Statement

    def list_warnings(self) -> Iterator[Phrase]:
        """Yield what speaks against the figures, the worst first."""
        one, other = self.words.arms
        if self.balance.is_suspicious:
            about = {"treated": self.balance.treated, "drawn": self.drawn, "arm": one, "p": self.balance.p_value}
            yield Phrase(
                "The arms are not as the lots say: {treated:,} of {drawn:,} {arm}, where {expected:,.0f} were to be "
                "expected (p = {p:.1g} at all looks together). Something else chose too.",
                {**about, "expected": self.balance.expected},
            )
        found = self.contamination
        if found and found.alerted:
            about = {"alerted": found.alerted, "control": found.control, "arm": other, "share": found.share}
            yield Phrase(
                "Contaminated: {alerted:,} of {control:,} {arm} ({share:.0%}) were alerted on all the same before "
                "their outcome, so the effect looks smaller than it is.",
                about,
            )
        if found and found.touched:
            share = found.touched / found.control
            about = {"touched": found.touched, "control": found.control, "arm": other, "share": share}
            if found.touched_treated is None:
                yield Phrase(
                    "Touched: {touched:,} of {control:,} {arm} ({share:.0%}) were called or visited before their "
                    "outcome.",
                    about,
                )
            else:
                yield Phrase(
                    "Touched: {touched:,} of {control:,} {arm} ({share:.0%}) were called or visited before their "
                    "outcome; of those {other} {beside:.0%}.",
                    {**about, "other": one, "beside": found.touched_treated},
                )


@dataclass(frozen=True)
class ExperimentStatus:
    """One experiment at one look: what the terminal, the JSON and the page show.

    Args:
        company: Its name.
        name: Of the experiment.
        state: Whether its lots decide.
        as_of: Until when outcomes are known.
        started: The `as_of` of its first run; None before it.
        planned_end: When its planned length is over; None before it has begun.
        stopped_at: When it was stopped; None while it runs.
        stopped_by: Who stopped it.
        stop_rule: The rule that allowed it.
        stop_reason: Why.
        days: From a draw to the end of its outcome.
        value_days: Days that values are of.
        comparisons: One for each kind of lot.
        changed: What the settings ask for that the running experiment does not; "" where they agree.
    """

    company: str
    name: str
    state: State
    as_of: datetime
    started: datetime | None
    planned_end: datetime | None
    stopped_at: datetime | None
    stopped_by: str | None
    stop_rule: str | None
    stop_reason: str | None
    days: int
    value_days: int
    comparisons: tuple[Comparison, ...]
    changed: str = ""

    @property
    def drawn(self) -> int:
        """Return the number of draws of all kinds."""
        return sum(comparison.drawn for comparison in self.comparisons)

    def describe_state(self) -> str:
        """Return whether it runs, since when, and how it ended."""
        if self.state == "off":
            return (
                "No lots decide: set experiment.band, such as 5, to let lots decide around the line where an owner's "
                "time ends, or experiment.holdout, such as 0.05, to alert nobody on a few families."
            )
        if self.started is None:
            return "No lot has been drawn yet: it begins with the next run of the alerts."
        since = f"since {self.started:%Y-%m-%d}"
        if self.stopped_at is not None:
            return (
                f"stopped on {self.stopped_at:%Y-%m-%d} by {self.stopped_by} ({self.stop_rule}): {self.stop_reason}. "
                f"It ran {since}; no more lots are drawn."
            )
        return f"runs {since}, planned until {self.planned_end:%Y-%m-%d}"

    def lines(self) -> Iterator[str]:
        """Yield the status for people, line by line."""
        yield f"Experiment {self.name}: {self.describe_state()}"
        if self.changed:
            yield f"Warning: {self.changed}"
        for comparison in self.comparisons:
            yield ""
            yield from _format_comparison(comparison)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        plain = asdict(self) | {"drawn": self.drawn}
        for name in ("as_of", "started", "planned_end", "stopped_at"):
            plain[name] = plain[name] and plain[name].isoformat()
        plain["comparisons"] = [_as_dict(comparison) for comparison in self.comparisons]
        return plain


def _format_comparison(found: Comparison) -> Iterator[str]:
    yield f"{found.title}: {found.drawn:,} families drawn, {found.waiting:,} wait for their outcome"
    estimate = found.estimate
    arms = [str(arm) for arm in found.words.arms]
    width = max(map(len, arms))
    for name, number, kept in zip(
        arms,
        (estimate.treated, estimate.control),
        (estimate.kept_treated, estimate.kept_control),
        strict=True,
    ):
        yield f"  {name:<{width}} {number:>6,}" + ("" if kept is None else f", {kept:.1%} of them kept")
    yield f"  You may say: {found.statement.say}"
    yield f"  You may not say: {found.statement.do_not_say}"
    for saved in found.saved:
        if saved.saved is not None:
            yield (
                f"  Saved revenue: {saved.currency} {saved.saved:,.0f}, from {saved.low:,.0f} to {saved.high:,.0f}, "
                f"of {saved.treated_value:,.0f} of those {found.words.arms[0]}"
            )
    if found.power and estimate.verdict == "open":
        chances = ", ".join(f"{p.now:.0%} for {100 * p.effect:.0f} points" for p in found.power)
        yield f"  Power so far, the chance that an effect would have shown by now: {chances}"
    for warning in found.list_warnings():
        yield f"  Warning: {warning}"


def _as_dict(found: Comparison) -> dict[str, Any]:
    plain = asdict(found)
    looks = [
        {"as_of": from_micros(at).isoformat(), "effect": effect, "low": _finite(low), "high": _finite(high)}
        for at, effect, low, high in found.estimate.looks
    ]
    plain["estimate"] |= {"looks": looks, "verdict": found.estimate.verdict}
    for name in ("words", "statement"):
        texts = vars(getattr(found, name)).items()
        plain[name] = {key: [*map(str, text)] if isinstance(text, tuple) else str(text) for key, text in texts}
    return plain | {"title": str(found.title), "warnings": [str(warning) for warning in found.list_warnings()]}


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None
