"""Write one mail about several accounts: the most valuable in full, the rest a line each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from features.core.safe_line import to_safe_line
from monitoring.letters.message import AccountRisk, build_view, list_reasons, render_letters, write_body
from monitoring.letters.wording import count, describe_probability, format_money

FULL = 5
_KINDS = {
    "churn": "at risk",
    "silent_decline": "gone quiet",
    "service_failure": "service failed",
    "renewal_near": "renewal near",
    "upsell": "chance to sell",
    "promise_due": "promise due",
    "visit_due": "visit due",
}


@dataclass(frozen=True)
class Digest:
    """A mail about several accounts.

    Args:
        risks: The accounts, the most valuable first.
        introduction: Why it came, in sentences.
        full: So many stand in full.
        about: What the accounts have in common, as the subject says it: "want you".
    """

    risks: Sequence[AccountRisk]
    introduction: Sequence[str] = ()
    full: int = FULL
    about: str = "want you"

    @property
    def subject(self) -> str:
        """Return the subject: how many accounts, and the names of the first."""
        names = ", ".join(risk.title for risk in self.risks[:2])
        more = f" and {count(len(self.risks) - 2, 'more', 'more')}" if len(self.risks) > 2 else ""
        about = self.about if len(self.risks) > 1 else self.about.replace("want ", "wants ", 1)
        return to_safe_line(f"{count(len(self.risks), 'account', 'accounts')} {about}: {names}{more}", 200)

    def write_body(self) -> str:
        """Write it as plain text."""
        parts = ["\n".join(self.introduction) + "\n"] if self.introduction else []
        parts += [write_body(risk) for risk in self.risks[: self.full]]
        if rest := self.risks[self.full :]:
            parts.append(
                self._title_rest() + ":\n" + "\n".join(f"  - {describe_in_line(risk)}" for risk in rest) + "\n"
            )
        return f"\n{'=' * 76}\n\n".join(parts)

    def write_html(self) -> str:
        """Write the same as HTML."""
        return render_letters(
            subject=self.subject,
            preview="; ".join(describe_in_line(risk) for risk in self.risks[:2]),
            letters=[build_view(risk) for risk in self.risks[: self.full]],
            heading=f"{count(len(self.risks), 'account', 'accounts')} {self.about}",
            introduction=self.introduction,
            rest=[describe_in_line(risk) for risk in self.risks[self.full :]],
            rest_title=self._title_rest(),
        )

    def _title_rest(self) -> str:
        return "All of them" if self.full == 0 else "And these, a line each"


def describe_in_line(risk: AccountRisk) -> str:
    """Describe an account's state on one line: what it is about, its value, the first reason, the next step."""
    kind = _KINDS[risk.kind]
    chance = (
        f", {describe_probability(risk.score)}" if risk.score is not None and risk.kind in {"churn", "upsell"} else ""
    )
    value = "" if risk.value is None else f"; {format_money(risk.value, risk.currency, per=' a year')}"
    worse = "worse: " if risk.worsened_from is not None else ""
    reason = list_reasons(risk)[0]
    return (
        f"{risk.title} ({to_safe_line(risk.account_id, 40)}): {worse}{kind}{chance}{value}; {reason}. {risk.play.title}"
    )
