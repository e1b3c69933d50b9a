"""The message that puts one account at risk in front of its owner: plain text, in plain words."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from features.definitions import plays

# Marks that make text run the other way and so can disguise what it says.
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNSAFE = frozenset({"Cc", "Cs", "Zl", "Zp"})


@dataclass(frozen=True)
class Earlier:
    """The account's last score before this one."""

    score: float
    as_of: datetime
    model: str


@dataclass(frozen=True)
class Risk:
    """All that a message says of an account.

    Args:
        account_id: Of the account.
        name: Of the account, where its record gives one.
        score: Calibrated probability of leaving.
        days: Within so many days of `as_of`: the target's lead and horizon.
        as_of: When the score looks from.
        earlier: The score before; None where this is the first.
        drivers: As the score stores them: `text`, `contribution`, `actionable`, `play`.
        value: Money a year at stake; None where not known.
        currency: Of the value.
        model: Version that gave the score.
        sources: Event tables that the score saw.
        episode: Its id.
    """

    account_id: str
    name: str | None
    score: float
    days: int
    as_of: datetime
    earlier: Earlier | None
    drivers: Sequence[Mapping[str, Any]]
    value: float | None
    currency: str
    model: str
    sources: str
    episode: str


def safe(text: str, most: int = 100) -> str:
    """The text on one line: no control characters, no marks that turn it round, no more than `most` long.

    An account's name is written by strangers: with a line break in it, it could forge a header or a line.
    """
    clean = "".join(" " if unicodedata.category(c) in _UNSAFE or c in _BIDI else c for c in text)
    return textwrap.shorten(clean, most, placeholder="…") or "…"


def in_words(score: float) -> str:
    """A probability as people count: 'about 6 in 10'."""
    if score >= 0.95:
        return "almost certain"
    if score >= 0.15:
        return f"about {max(2, round(10 * score))} in 10"
    return f"about 1 in {round(1 / score):,}" if score > 0.001 else "below 1 in 1,000"


def subject(risk: Risk) -> str:
    """The account and its risk, on one line."""
    return f"At risk: {_name(risk)} ({in_words(risk.score)} to leave within {risk.days} days)"


def body(risk: Risk) -> str:
    """Score and trend, why, what is at stake, what to do next, and where it comes from."""
    play = plays.choose(risk.drivers)
    lines = [
        f"{_name(risk)} (account {safe(risk.account_id)}) is at risk of leaving within {risk.days} days.",
        "",
        f"Risk now: {_percent(risk.score)}, {in_words(risk.score)}",
        f"Trend: {_trend(risk)}",
        f"At stake: {_money(risk)}",
        "",
        "Why:",
        *_reasons(risk.drivers),
        "",
        f"Next step: {play.title}",
        *textwrap.wrap(play.step, 76, initial_indent="  ", subsequent_indent="  "),
        "",
        "--",
        f"As of {risk.as_of.date()}, model {safe(risk.model)}, seen: {_sources(risk)}",
        f"Episode {risk.episode}",
        "No second message about it follows while it lasts.",
    ]
    return "\n".join(lines) + "\n"


def _name(risk: Risk) -> str:
    return safe(risk.name or f"account {risk.account_id}", 80)


def _percent(score: float) -> str:
    return f"{100 * score:.0f} %" if 0.01 <= score < 0.995 else f"{100 * score:.1f} %"


def _trend(risk: Risk) -> str:
    if risk.earlier is None:
        return "this is its first score"
    before = risk.earlier
    then = f"{_percent(before.score)} on {before.as_of.date()}"
    if before.model != risk.model:
        then += f" (by model {safe(before.model)})"
    if abs(risk.score - before.score) < 0.005:
        return f"level with {then}"
    return f"{'up' if risk.score > before.score else 'down'} from {then}"


def _money(risk: Risk) -> str:
    return "not known" if risk.value is None else f"{safe(risk.currency)} {risk.value:,.0f} a year"


def _sources(risk: Risk) -> str:
    return safe(risk.sources.replace(",", ", ")) if risk.sources else "no events"


def _reasons(drivers: Sequence[Mapping[str, Any]]) -> list[str]:
    raising = sorted(drivers, key=lambda d: -float(d["contribution"]))
    texts = [safe(str(d["text"]), 200) for d in raising if d["contribution"] > 0][:3]
    return [f"  {n}. {text}" for n, text in enumerate(texts, 1)] or ["  no single reason stands out"]
