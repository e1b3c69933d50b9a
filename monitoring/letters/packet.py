"""Write the packet for a sponsor's review: course, cause, money, what was promised, and three options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from features.core.language import ENGLISH, Language, Phrase, say
from features.core.local_formats import Day, Money, Percent
from features.core.safe_line import to_safe_line
from features.definitions import plays
from features.definitions.plays import Play
from monitoring.letters.account_risk import AccountRisk, Text
from monitoring.letters.driver_words import get_cause, rank_drivers
from monitoring.letters.message import build_view, render_letters, write_body
from monitoring.letters.wording import describe_yearly


@dataclass(frozen=True)
class ReviewPacket:
    """What a sponsor and an owner need for their joint meeting about one account.

    Args:
        risk: The account.
        role: Of the sponsor, such as "chief executive".
        owner: Address of the owner; None where nobody can be found.
        course: Earlier scores, oldest first, and the instants that they looked from.
        promised: What was promised to the account, in sentences; () where nothing is recorded.
        saved: Expected loss that the play avoids; None where it is not known.
        language: Of the sponsor.
    """

    risk: AccountRisk
    role: Text
    owner: str | None
    course: Sequence[tuple[datetime, float]]
    promised: Sequence[Text] = ()
    saved: float | None = None
    language: Language = ENGLISH

    @property
    def subject(self) -> str:
        """Return the subject."""
        return to_safe_line(
            self.language.say("For your review: {account}, tier account at risk", account=self.risk.title), 200
        )

    def list_sections(self) -> list[tuple[str, list[str]]]:
        """Return title and lines of each section beneath the letter."""
        say_in = self.language.say
        course = [say_in("{label}: {text}", label=Day(at), text=Percent(score)) for at, score in self.course[-6:]]
        promised = [say(sentence, self.language) for sentence in self.promised]
        return [
            (say_in("The course of its risk"), course or [say_in("no earlier score is stored")]),
            (say_in("What was promised"), promised or [say_in("nothing is recorded")]),
            (say_in("Three options for the meeting"), self.list_options()),
        ]

    def list_options(self) -> list[str]:
        """Return three ways to go on, each with what it is expected to bring or cost."""
        risk = self.risk
        causes = dict.fromkeys(
            str(d["play"]) for d in rank_drivers(risk.drivers) if get_cause(d) not in {None, "renewal"}
        )
        first = risk.play
        second = next((plays.PLAYS[key] for key in causes if key != first.key), plays.PLAYS["get_in_touch"])
        if second.key == first.key:
            second = plays.DEFAULT
        option: Phrase = self._describe(first)
        if self.saved is not None:
            gain = Money(self.saved, risk.currency)
            option = Phrase("{option} Expected to save {money}.", {"option": option, "money": gain})
        lost = None if risk.value is None or risk.score is None else risk.value * risk.score
        leave = Phrase(
            "Leave it as it is: the expected loss is {loss}.", {"loss": describe_yearly(lost, risk.currency)}
        )
        return [text.say(self.language) for text in (option, self._describe(second), leave)]

    def write_page(self) -> dict[str, str]:
        """Write subject, body and HTML, as the outbox holds them."""
        return {"subject": self.subject, "body": self.write_body(), "html": self.write_html()}

    def write_body(self) -> str:
        """Write it as plain text."""
        lines = [self._introduce(), "", write_body(self.risk, self.language)]
        for title, entries in self.list_sections():
            lines += [self.language.say("{label}:", label=title), *(f"  - {entry}" for entry in entries), ""]
        return "\n".join(lines)

    def write_html(self) -> str:
        """Write the same as HTML."""
        return render_letters(
            self.language,
            subject=self.subject,
            preview=self._introduce(),
            letters=[build_view(self.risk, self.language, self.list_sections())],
            heading=self.language.say("For your review"),
            introduction=[self._introduce()],
        )

    def _describe(self, play: Play) -> Phrase:
        return Phrase("{title}: {step}", {"title": Phrase(play.title), "step": Phrase(play.step)})

    def _introduce(self) -> str:
        owner = self.owner or Phrase("nobody: its owner can't be reached")
        return self.language.say(
            "You get this as the account's {role}. Its owner {owner} has the same letter: meet about it.",
            role=self.role,
            owner=owner,
        )
