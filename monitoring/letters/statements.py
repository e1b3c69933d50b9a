"""State about one account what a letter says in every form: headline, figures, reasons, and where the score is from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from features.core.language import ENGLISH, Language, Listing, Phrase, say
from features.core.local_formats import Day, Percent
from features.core.safe_line import to_safe_line
from monitoring.letters import changes
from monitoring.letters.account_risk import AccountRisk, Text
from monitoring.letters.driver_words import get_cause, rank_drivers
from monitoring.letters.wording import KINDS, NO_REASON, describe_probability, describe_yearly

_SOURCES = frozenset({"tickets", "usage", "purchases", "touches", "surveys"})


def write_subject(risk: AccountRisk, language: Language = ENGLISH) -> str:
    """Write the subject: the account and what it is about, on one line."""
    words = KINDS[risk.kind]
    kind = Phrase(words.name) if risk.worsened_from is None else Phrase("Worse: {kind}", {"kind": Phrase(words.inline)})
    subject = Phrase("{kind}: {account}", {"kind": kind, "account": risk.title})
    if words.chance and risk.score is not None:
        chance = describe_probability(risk.score)
        subject = Phrase(words.chance, {"subject": subject, "chance": chance, "days": risk.days})
    return subject.say(language)


def write_headline(risk: AccountRisk, language: Language = ENGLISH) -> str:
    """Write the first sentence."""
    account = Phrase("{name} (account {id})", {"name": risk.title, "id": risk.shown_id}) if risk.name else risk.title
    sentence = Phrase(KINDS[risk.kind].opening, {"account": account, "days": risk.days})
    if risk.worsened_from is not None and risk.score is not None:
        told = Percent(risk.worsened_from)
        sentence = Phrase(
            "{sentence} When you last heard of it the risk was {told}.", {"sentence": sentence, "told": told}
        )
    return sentence.say(language)


def describe_kind(risk: AccountRisk) -> Phrase:
    """Describe what an episode is about, with its own reason where it has one."""
    name = Phrase(KINDS[risk.kind].inline)
    return Phrase("{kind}: {reason}", {"kind": name, "reason": risk.reasons[0]}) if risk.reasons else name


def list_figures(risk: AccountRisk, language: Language = ENGLISH) -> list[tuple[str, str]]:
    """Return label and text of each line above the reasons."""
    figures: list[tuple[str, Any]] = []
    if risk.score is not None:
        label = "Risk now" if KINDS[risk.kind].is_of_risk else "Chance now"
        figures.append((label, _describe_score(risk, risk.score)))
        figures.append(("Trend", _describe_trend(risk, risk.score)))
        figures += [("Changed most", text) for text in changes.find_changes(risk.drivers, risk.earlier)]
    figures.append(("Value at stake", describe_yearly(risk.value, risk.currency)))
    figures += [
        ("Also" if get_cause(d) is None else "When", to_safe_line(str(d["text"]), 200))
        for d in rank_drivers(risk.drivers)
        if get_cause(d) in {"renewal", None}
    ]
    return [(language.translate(label), say(text, language)) for label, text in figures]


def list_reasons(risk: AccountRisk, language: Language = ENGLISH) -> list[str]:
    """Return what opened the episode, then the causes that raise the risk, the strongest first; at most three."""
    own = [tidy(reason, language) for reason in risk.reasons]
    causes = [
        to_safe_line(str(d["text"]), 200)
        for d in rank_drivers(risk.drivers)
        if risk.kind == "upsell" or get_cause(d) not in {"renewal", None}
    ]
    return (own + causes)[:3] or [NO_REASON.say(language)]


def list_origins(risk: AccountRisk, language: Language = ENGLISH) -> list[str]:
    """Return where the score comes from, and how often such a letter comes."""
    names = [name.strip() for name in risk.sources.split(",") if name.strip()]
    seen = Listing([Phrase(n) if n in _SOURCES else to_safe_line(n) for n in names]) if names else Phrase("no events")
    model = to_safe_line(risk.model) if risk.model else Phrase("none")
    return [
        language.say("As of {day}, model {model}, seen: {sources}", day=Day(risk.as_of), model=model, sources=seen),
        language.say("Episode {id}", id=risk.episode),
        language.say("You get another message on this episode only if it gets clearly worse."),
    ]


def tidy(text: Text, language: Language, most: int = 200) -> str:
    """Return a text in a language, on one line of at most so many characters."""
    return to_safe_line(say(text, language), most)


def build_play(risk: AccountRisk, language: Language) -> Mapping[str, str]:
    """Return title and step of the account's play in a language."""
    return {"title": language.translate(risk.play.title), "step": language.translate(risk.play.step)}


def _describe_score(risk: AccountRisk, score: float) -> Phrase:
    values = {"score": Percent(score), "chance": describe_probability(score)}
    if risk.base_rate is None:
        return Phrase("{score}, {chance}", values)
    return Phrase("{score}, {chance}; the average account: {average}", {**values, "average": Percent(risk.base_rate)})


def _describe_trend(risk: AccountRisk, score: float) -> Phrase:
    before = risk.earlier
    if before is None:
        return Phrase("this is its first score")
    then = Phrase("{score} on {day}", {"score": Percent(before.score), "day": Day(before.as_of)})
    if before.model != risk.model:
        then = Phrase("{then} (by model {model})", {"then": then, "model": to_safe_line(before.model)})
    # What looks equal in the letter is not said to have moved.
    if abs(score - before.score) < 0.005 or str(Percent(score)) == str(Percent(before.score)):
        return Phrase("level with {then}", {"then": then})
    return Phrase("up from {then}" if score > before.score else "down from {then}", {"then": then})
