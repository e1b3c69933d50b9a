"""Write the message about one account at risk to its owner: plain text, in plain words."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from features.core.safe_line import to_safe_line
from features.definitions import plays


@dataclass(frozen=True)
class EarlierScore:
    """The account's last score before this one."""

    score: float
    as_of: datetime
    model: str


@dataclass(frozen=True)
class AccountRisk:
    """The facts about an account that a message states.

    Args:
        account_id: Of the account.
        name: Of the account; None if its record has none.
        score: Calibrated probability of leaving.
        days: Days from `as_of` to the horizon's end: the target's lead and horizon.
        as_of: The instant that the score looks from.
        earlier: The score before; None if this is the first.
        drivers: As the score stores them: `text`, `contribution`, `actionable`, `play`.
        value: Money a year at stake; None if not known.
        currency: Of the value.
        model: Version of the model that gave the score.
        sources: Event tables that the score was made from.
        episode: Id of the episode.
        base_rate: Share of all accounts that leave in as many days; None where it is not known.
        facts: What happened at the account, dated, in sentences.
        note: What to know about the data behind the score, in one line; "" where all is well.
    """

    account_id: str
    name: str | None
    score: float
    days: int
    as_of: datetime
    earlier: EarlierScore | None
    drivers: Sequence[Mapping[str, Any]]
    value: float | None
    currency: str
    model: str
    sources: str
    episode: str
    base_rate: float | None = None
    facts: Sequence[str] = ()
    note: str = ""


def describe_probability(score: float) -> str:
    """Describe a probability as people count: 'about 6 in 10'."""
    if score >= 0.95:
        return "almost certain"
    if score >= 0.15:
        return f"about {max(2, round(10 * score))} in 10"
    return f"about 1 in {round(1 / score):,}" if score > 0.001 else "below 1 in 1,000"


def write_subject(risk: AccountRisk) -> str:
    """Write the subject: the account and its risk, on one line."""
    return f"At risk: {_name(risk)} ({describe_probability(risk.score)} to leave within {risk.days} days)"


def write_body(risk: AccountRisk) -> str:
    """Write the body: score, trend, value at stake, reasons, next step, and where the score comes from."""
    play = plays.choose_play(risk.drivers)
    lines = [
        f"{_name(risk)} (account {to_safe_line(risk.account_id)}) is at risk of leaving within {risk.days} days.",
        "",
        f"Risk now: {_percent(risk.score)}, {describe_probability(risk.score)}{_average(risk)}",
        f"Trend: {_trend(risk)}",
        f"Value at stake: {_money(risk)}",
        *_circumstances(risk.drivers),
        "",
        "Why:",
        *_reasons(risk.drivers),
        "",
        *_facts(risk.facts),
        f"Next step: {play.title}",
        *textwrap.wrap(play.step, 76, initial_indent="  ", subsequent_indent="  "),
        "",
        *_note(risk),
        "--",
        f"As of {risk.as_of.date()}, model {to_safe_line(risk.model)}, seen: {_sources(risk)}",
        f"Episode {risk.episode}",
        "You get no second message while this episode lasts.",
    ]
    return "\n".join(lines) + "\n"


def _note(risk: AccountRisk) -> list[str]:
    """Return the lines about the data behind the score, with an empty one after them; none where all is well."""
    return [*textwrap.wrap(f"Note on the data: {to_safe_line(risk.note, 300)}", 76), ""] if risk.note else []


def _name(risk: AccountRisk) -> str:
    return to_safe_line(risk.name or f"account {risk.account_id}", 80)


def _percent(score: float) -> str:
    return f"{100 * score:.0f} %" if 0.01 <= score < 0.995 else f"{100 * score:.1f} %"


def _trend(risk: AccountRisk) -> str:
    if risk.earlier is None:
        return "this is its first score"
    before = risk.earlier
    then = f"{_percent(before.score)} on {before.as_of.date()}"
    if before.model != risk.model:
        then += f" (by model {to_safe_line(before.model)})"
    if abs(risk.score - before.score) < 0.005:
        return f"level with {then}"
    return f"{'up' if risk.score > before.score else 'down'} from {then}"


def _money(risk: AccountRisk) -> str:
    return "not known" if risk.value is None else f"{to_safe_line(risk.currency)} {risk.value:,.0f} a year"


def _sources(risk: AccountRisk) -> str:
    return to_safe_line(risk.sources.replace(",", ", ")) if risk.sources else "no events"


def _average(risk: AccountRisk) -> str:
    return "" if risk.base_rate is None else f"; the average account: {_percent(risk.base_rate)}"


def _reasons(drivers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the causes that raise the risk, the strongest first, each with its number and what is typical."""
    texts = [str(d["text"]) for d in _rank(drivers) if _get_cause(d) not in {"renewal", None}]
    lines = [
        line
        for n, text in enumerate(texts[:3], 1)
        for line in textwrap.wrap(to_safe_line(text, 200), 76, initial_indent=f"  {n}. ", subsequent_indent="     ")
    ]
    return lines or ["  no single reason stands out"]


def _circumstances(drivers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what says when or in what circumstances, which nobody acts on."""
    rest = [d for d in _rank(drivers) if _get_cause(d) in {"renewal", None}]
    return [f"{'Also' if _get_cause(d) is None else 'When'}: {to_safe_line(str(d['text']), 66)}" for d in rest]


def _rank(drivers: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted((d for d in drivers if d["contribution"] > 0), key=lambda d: -float(d["contribution"]))


def _get_cause(driver: Mapping[str, Any]) -> str | None:
    """Return what a driver's play works against; None for context."""
    play = plays.PLAYS.get(str(driver["play"]))
    return play.cause if play else None


def _facts(facts: Sequence[str]) -> list[str]:
    """Return the lines about what happened, with an empty one after them; none without facts."""
    lines = (textwrap.wrap(to_safe_line(f, 200), 76, initial_indent="  ", subsequent_indent="    ") for f in facts)
    return ["What happened:", *(line for fact in lines for line in fact), ""] if facts else []
