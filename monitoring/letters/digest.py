"""Write one mail about several accounts: the most valuable in full, the rest a line each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from features.core.language import ENGLISH, Language, Listing, Phrase, say
from features.core.safe_line import to_safe_line
from monitoring.letters.account_risk import AccountRisk, Text
from monitoring.letters.message import build_view, render_letters, write_body
from monitoring.letters.statements import build_play, list_reasons
from monitoring.letters.wording import KINDS, count_in_words, describe_probability, describe_yearly

FULL = 5


@dataclass(frozen=True)
class About:
    """What the accounts of a digest have in common, as its heading says it.

    Args:
        one: Of one account.
        many: Of {n:,} accounts.
        values: Others that both hold.
    """

    one: str = "{n} account wants you"
    many: str = "{n:,} accounts want you"
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Digest:
    """A mail about several accounts.

    Args:
        risks: The accounts, the most valuable first.
        introduction: Why it came, in sentences.
        full: So many stand in full.
        about: What the accounts have in common.
        language: Of the reader.
    """

    risks: Sequence[AccountRisk]
    introduction: Sequence[Text] = ()
    full: int = FULL
    about: About = About()
    language: Language = ENGLISH

    @property
    def subject(self) -> str:
        """Return the subject: how many accounts, and the names of the first."""
        values = {"heading": self._heading, "names": Listing([risk.title for risk in self.risks[:2]])}
        more = len(self.risks) - 2
        text = "{heading}: {names} and {more:,} more" if more > 0 else "{heading}: {names}"
        return to_safe_line(self.language.say(text, **values, more=more), 200)

    def write_page(self) -> dict[str, str]:
        """Write subject, body and HTML, as the outbox holds them."""
        return {"subject": self.subject, "body": self.write_body(), "html": self.write_html()}

    def write_body(self) -> str:
        """Write it as plain text."""
        parts = ["\n".join(self._introduce()) + "\n"] if self.introduction else []
        parts += [write_body(risk, self.language) for risk in self.risks[: self.full]]
        if rest := self.risks[self.full :]:
            title = self.language.say("{label}:", label=self._title_rest())
            parts.append("\n".join((title, *(f"  - {describe_in_line(risk, self.language)}" for risk in rest))) + "\n")
        return f"\n{'=' * 76}\n\n".join(parts)

    def write_html(self) -> str:
        """Write the same as HTML."""
        return render_letters(
            self.language,
            subject=self.subject,
            preview="; ".join(describe_in_line(risk, self.language) for risk in self.risks[:2]),
            letters=[build_view(risk, self.language) for risk in self.risks[: self.full]],
            heading=self._heading.say(self.language),
            introduction=self._introduce(),
            rest=[describe_in_line(risk, self.language) for risk in self.risks[self.full :]],
            rest_title=self._title_rest(),
        )

    @property
    def _heading(self) -> Phrase:
        return count_in_words(len(self.risks), self.about.one, self.about.many, **self.about.values)

    def _introduce(self) -> list[str]:
        return [say(sentence, self.language) for sentence in self.introduction]

    def _title_rest(self) -> str:
        return self.language.say("All of them" if self.full == 0 else "And these, a line each")


def describe_in_line(risk: AccountRisk, language: Language = ENGLISH) -> str:
    """Describe an account's state on one line: what it is about, its value, the first reason, the next step."""
    words = KINDS[risk.kind]
    state = Phrase(words.inline)
    if risk.worsened_from is not None:
        state = Phrase("worse: {kind}", {"kind": state})
    if words.chance and risk.score is not None:
        state = Phrase("{state}, {chance}", {"state": state, "chance": describe_probability(risk.score)})
    if risk.value is not None:
        state = Phrase("{state}; {money}", {"state": state, "money": describe_yearly(risk.value, risk.currency)})
    return language.say(
        "{account} ({id}): {state}; {reason}. {play}",
        account=risk.title,
        id=to_safe_line(risk.account_id, 40),
        state=state,
        reason=list_reasons(risk, language)[0],
        play=build_play(risk, language)["title"],
    )
