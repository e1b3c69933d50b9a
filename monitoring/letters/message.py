"""Write the letter about one account to its owner, in plain words: as text, and as HTML with the same content."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from features.core import html
from features.core.safe_line import to_safe_line
from features.definitions import plays
from features.definitions.plays import Play
from monitoring.letters import changes
from monitoring.letters.wording import describe_probability, format_day, format_money, format_percent

_TEMPLATE = Path(__file__).parent / "templates" / "letter.html"
_WIDTH = 76

# By kind of episode: the subject's first words, and what the letter says first after the account's name.
_OPENINGS: Mapping[str, tuple[str, str]] = {
    "churn": ("At risk", "is at risk of leaving within {days} days."),
    "silent_decline": ("Gone quiet", "uses less and less of what it pays for, and has not complained."),
    "service_failure": ("Service failed", "has had trouble with our service."),
    "renewal_near": ("Renewal near", "has a contract that ends soon, and nothing follows it yet."),
    "upsell": ("A chance to sell", "is satisfied, and likely to buy more within {days} days."),
    "promise_due": ("Promise due", "was promised something that is due."),
    "visit_due": ("Visit due", "has not been contacted for longer than its tier is meant to wait."),
}
# The kinds whose score is the probability of leaving.
_OF_RISK = frozenset({"churn", "silent_decline", "service_failure", "renewal_near", "promise_due", "visit_due"})


@dataclass(frozen=True)
class EarlierScore:
    """The account's last score before this one.

    Args:
        score: Probability.
        as_of: The instant that it looked from.
        model: Version of its model.
        drivers: As the score stored them.
    """

    score: float
    as_of: datetime
    model: str
    drivers: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Action:
    """Something that the reader can do from the letter: the button's words, and the signed link behind it."""

    words: str
    link: str


@dataclass(frozen=True)
class AccountRisk:
    """The facts about an account that a letter states.

    Args:
        account_id: Of the account.
        name: Of the account; None if its record has none.
        score: Calibrated probability: of leaving, or for the kind upsell of buying more. None where nobody scored it.
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
        kind: Of the episode.
        worsened_from: The score that the owner was last told of, where this letter says that it got worse.
        tier: Why the account has its tier, in a sentence; "" without one.
        why_you: Why it comes to this reader and not to the owner on record; "" where it is that one.
        others: Who else was told, and what each was told, in sentences.
        reasons: What opened an episode of another kind than churn, in sentences: its own reason, before the drivers.
        actions: What the reader can do from the letter.
        play_key: Of the next step; "" for the one that follows from the drivers.
    """

    account_id: str
    name: str | None
    score: float | None
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
    kind: str = "churn"
    worsened_from: float | None = None
    tier: str = ""
    why_you: str = ""
    others: Sequence[str] = ()
    reasons: Sequence[str] = ()
    actions: Sequence[Action] = ()
    play_key: str = ""

    @property
    def title(self) -> str:
        """Return the account's name on one line, or its id where it has none."""
        return to_safe_line(self.name or f"Account {self.account_id}", 80)

    @property
    def play(self) -> Play:
        """Return the next step."""
        return plays.PLAYS.get(self.play_key) or plays.choose_play(self.drivers)


def write_subject(risk: AccountRisk) -> str:
    """Write the subject: the account and what it is about, on one line."""
    first = _OPENINGS[risk.kind][0]
    if risk.worsened_from is not None:
        first = f"Worse: {first[0].lower()}{first[1:]}"
    return f"{first}: {risk.title}{_say_chance(risk)}"


def write_body(risk: AccountRisk) -> str:
    """Write the letter as plain text, in lines of at most 76 characters where words allow."""
    play = risk.play
    lines = [*_wrap(write_headline(risk)), ""]
    for label, text in list_figures(risk):
        lines += textwrap.wrap(f"{label}: {text}", _WIDTH, subsequent_indent="  ")
    lines += ["", "Why:", *_number(list_reasons(risk)), ""]
    if risk.facts:
        lines += ["What happened:", *(line for fact in risk.facts for line in _wrap(to_safe_line(fact, 200), 2)), ""]
    lines += [f"Next step: {play.title}", *_wrap(play.step, 2), ""]
    for action in risk.actions:
        lines += [f"{action.words}:", f"  {action.link}"]
    lines += [""] if risk.actions else []
    for sentence in (*risk.others, risk.why_you, f"Note on the data: {risk.note}" if risk.note else ""):
        lines += [*_wrap(to_safe_line(sentence, 300)), ""] if sentence else []
    lines += ["--", *list_origins(risk)]
    return "\n".join(lines) + "\n"


def write_html(risk: AccountRisk) -> str:
    """Write the same letter as a page for mail programs, which loads nothing."""
    return render_letters(
        subject=write_subject(risk),
        preview=_write_preview(risk),
        letters=[build_view(risk)],
    )


def render_letters(  # noqa: PLR0913  # the parts of the page, by name
    *,
    subject: str,
    preview: str,
    letters: Sequence[Mapping[str, Any]],
    heading: str = "",
    introduction: Sequence[str] = (),
    rest: Sequence[str] = (),
    rest_title: str = "",
) -> str:
    """Render letters in full, and beneath them the rest, a line each.

    Args:
        subject: Of the mail.
        preview: What a list of mails shows beside the subject.
        letters: As `build_view` returns them.
        heading: Stands above several letters.
        introduction: Sentences under the heading.
        rest: A line an account.
        rest_title: Stands above them.
    """
    return html.render_template(
        _TEMPLATE,
        subject=subject,
        preview=preview,
        letters=letters,
        heading=heading,
        introduction=introduction,
        rest=rest,
        rest_title=rest_title,
    )


def build_view(risk: AccountRisk, sections: Sequence[tuple[str, Sequence[str]]] = ()) -> dict[str, Any]:
    """Return what the HTML template shows of one account, and beneath it further sections, each a title and lines."""
    return {
        "title": risk.title,
        "account_id": to_safe_line(risk.account_id),
        "headline": write_headline(risk),
        "figures": list_figures(risk),
        "reasons": list_reasons(risk),
        "facts": [to_safe_line(fact, 200) for fact in risk.facts],
        "play": risk.play,
        "actions": risk.actions,
        "others": [to_safe_line(other, 300) for other in risk.others],
        "why_you": to_safe_line(risk.why_you, 300) if risk.why_you else "",
        "note": to_safe_line(risk.note, 300) if risk.note else "",
        "origins": list_origins(risk),
        "sections": sections,
    }


def write_headline(risk: AccountRisk) -> str:
    """Write the first sentence."""
    told = _OPENINGS[risk.kind][1].format(days=risk.days)
    sentence = f"{_introduce(risk)} {told}"
    if risk.worsened_from is None or risk.score is None:
        return sentence
    return f"{sentence} When you last heard of it the risk was {format_percent(risk.worsened_from)}."


def describe_kind(risk: AccountRisk) -> str:
    """Describe what an episode is about, with its own reason where it has one."""
    name = _OPENINGS[risk.kind][0].lower()
    return f"{name}: {to_safe_line(risk.reasons[0], 200)}" if risk.reasons else name


def _introduce(risk: AccountRisk) -> str:
    """Return the account's name with its id, or the id alone where it has no name."""
    shown = to_safe_line(risk.account_id)
    return f"{risk.title} (account {shown})" if risk.name else f"Account {shown}"


def list_figures(risk: AccountRisk) -> list[tuple[str, str]]:
    """Return label and text of each line above the reasons."""
    figures = []
    if risk.score is not None:
        label = "Risk now" if risk.kind in _OF_RISK else "Chance now"
        average = "" if risk.base_rate is None else f"; the average account: {format_percent(risk.base_rate)}"
        figures.append((label, f"{format_percent(risk.score)}, {describe_probability(risk.score)}{average}"))
        figures.append(("Trend", _trend(risk, risk.score)))
        figures += [("Changed most", text) for text in changes.find_changes(risk.drivers, risk.earlier)]
    figures.append(("Value at stake", format_money(risk.value, risk.currency, per=" a year")))
    if risk.tier:
        figures.append(("Tier", to_safe_line(risk.tier.removeprefix("Tier "), 300)))
    figures += [
        ("Also" if get_cause(d) is None else "When", to_safe_line(str(d["text"]), 200))
        for d in rank(risk.drivers)
        if get_cause(d) in {"renewal", None}
    ]
    return figures


def list_reasons(risk: AccountRisk) -> list[str]:
    """Return what opened the episode, then the causes that raise the risk, the strongest first; at most three."""
    own = [to_safe_line(reason, 200) for reason in risk.reasons]
    if risk.kind == "upsell":
        causes = [to_safe_line(str(d["text"]), 200) for d in rank(risk.drivers)]
    else:
        causes = [
            to_safe_line(str(d["text"]), 200) for d in rank(risk.drivers) if get_cause(d) not in {"renewal", None}
        ]
    return (own + causes)[:3] or ["no single reason stands out"]


def list_origins(risk: AccountRisk) -> list[str]:
    """Return where the score comes from, and how often such a letter comes."""
    seen = to_safe_line(risk.sources.replace(",", ", ")) if risk.sources else "no events"
    return [
        f"As of {format_day(risk.as_of)}, model {to_safe_line(risk.model or 'none')}, seen: {seen}",
        f"Episode {risk.episode}",
        "You get a second message on this episode only if it gets clearly worse.",
    ]


def rank(drivers: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the drivers that raise the score, the strongest first."""
    return sorted((d for d in drivers if d["contribution"] > 0), key=lambda d: -float(d["contribution"]))


def get_cause(driver: Mapping[str, Any]) -> str | None:
    """Return what a driver's play works against; None for context."""
    play = plays.PLAYS.get(str(driver["play"]))
    return play.cause if play else None


def _say_chance(risk: AccountRisk) -> str:
    if risk.score is None or risk.kind not in {"churn", "upsell"}:
        return ""
    return (
        f" ({describe_probability(risk.score)} to {'leave' if risk.kind == 'churn' else 'buy'} within {risk.days} days)"
    )


def _write_preview(risk: AccountRisk) -> str:
    """Return the line that a list of mails shows beside the subject."""
    return f"{list_reasons(risk)[0]}. Next step: {risk.play.title}"


def _trend(risk: AccountRisk, score: float) -> str:
    if risk.earlier is None:
        return "this is its first score"
    before = risk.earlier
    then = f"{format_percent(before.score)} on {format_day(before.as_of)}"
    if before.model != risk.model:
        then += f" (by model {to_safe_line(before.model)})"
    if abs(score - before.score) < 0.005:
        return f"level with {then}"
    return f"{'up' if score > before.score else 'down'} from {then}"


def _number(texts: Sequence[str]) -> Iterator[str]:
    if texts == ["no single reason stands out"]:
        yield f"  {texts[0]}"
        return
    for n, text in enumerate(texts, 1):
        yield from textwrap.wrap(text, _WIDTH, initial_indent=f"  {n}. ", subsequent_indent="     ")


def _wrap(text: str, indent: int = 0) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=" " * indent, subsequent_indent=" " * indent)
