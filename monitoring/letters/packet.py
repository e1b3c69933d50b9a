"""Write the packet for a sponsor's review: course, cause, money, what was promised, and three options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from features.definitions import plays
from monitoring.letters.message import AccountRisk, build_view, get_cause, rank, render_letters, write_body
from monitoring.letters.wording import format_day, format_money, format_percent


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
    """

    risk: AccountRisk
    role: str
    owner: str | None
    course: Sequence[tuple[datetime, float]]
    promised: Sequence[str] = ()
    saved: float | None = None

    @property
    def subject(self) -> str:
        """Return the subject."""
        return f"For your review: {self.risk.title}, tier account at risk"

    def list_sections(self) -> list[tuple[str, list[str]]]:
        """Return title and lines of each section beneath the letter."""
        course = [f"{format_day(at)}: {format_percent(score)}" for at, score in self.course[-6:]]
        return [
            ("The course of its risk", course or ["no earlier score is stored"]),
            ("What was promised", [*self.promised] or ["nothing is recorded"]),
            ("Three options for the meeting", self.list_options()),
        ]

    def list_options(self) -> list[str]:
        """Return three ways to go on, each with what it is expected to bring or cost."""
        risk = self.risk
        causes = list(
            dict.fromkeys(str(d["play"]) for d in rank(risk.drivers) if get_cause(d) not in {None, "renewal"})
        )
        first = risk.play
        second = next((plays.PLAYS[key] for key in causes if key != first.key), plays.PLAYS["get_in_touch"])
        if second.key == first.key:
            second = plays.DEFAULT
        gain = "" if self.saved is None else f" Expected to save {format_money(self.saved, risk.currency)}."
        lost = None if risk.value is None or risk.score is None else risk.value * risk.score
        return [
            f"{first.title}: {first.step}{gain}",
            f"{second.title}: {second.step}",
            f"Leave it as it is: the expected loss is {format_money(lost, risk.currency)} a year.",
        ]

    def write_body(self) -> str:
        """Write it as plain text."""
        lines = [self._introduce(), "", write_body(self.risk)]
        for title, entries in self.list_sections():
            lines += [f"{title}:", *(f"  - {entry}" for entry in entries), ""]
        return "\n".join(lines)

    def write_html(self) -> str:
        """Write the same as HTML."""
        return render_letters(
            subject=self.subject,
            preview=self._introduce(),
            letters=[build_view(self.risk, self.list_sections())],
            heading="For your review",
            introduction=[self._introduce()],
        )

    def _introduce(self) -> str:
        owner = self.owner or "nobody: its owner can't be reached"
        return f"You get this as the account's {self.role}. Its owner {owner} has the same letter: meet about it."
