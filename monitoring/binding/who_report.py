"""Answer who an account's messages go to, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from rich.table import Table

from features.core.errors import GarrisonError
from features.settings import Settings
from features.settings.cli import table
from features.state.database import Store
from monitoring.binding import tier_report
from monitoring.binding.account_records import AccountRecord, list_parents
from monitoring.binding.bindings import AccountBinding, BindingRules, Recipient
from serving.scoring import score_table


@dataclass(frozen=True)
class WhoAnswers:
    """Who answers for one account at one instant.

    Args:
        binding: Everybody bound to the account.
        parents: Names of its parent accounts, nearest first.
        tier: Why it has its tier, in a sentence.
        at: The instant.
    """

    binding: AccountBinding
    parents: tuple[str, ...]
    tier: str
    at: datetime

    def lines(self) -> Iterator[str]:
        """Yield what stands above the table."""
        yield f"{self.binding.name or 'no name'} (account {self.binding.account_id})"
        if self.parents:
            yield f"  belongs to {', '.join(self.parents)}"
        yield f"  {self.tier}"
        if self.binding.owner is None:
            yield f"  Nobody gets its letters: {self.binding.fault}, and there is no alerts.fallback_owner."

    def tabulate(self) -> Table:
        """Return a row for each recipient."""
        shown = table("role", "who", "now", "why")
        for role, recipient in self._iterate():
            shown.add_row(
                role, recipient.address, _describe_now(recipient, self.at), str(recipient.why) or "as recorded"
            )
        return shown

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        people = [{"role": role, "address": r.address, "why": str(r.why) or None} for role, r in self._iterate()]
        return {"account_id": self.binding.account_id, "tier": self.binding.tier, "why": self.tier, "people": people}

    def _iterate(self) -> Iterator[tuple[str, Recipient]]:
        if self.binding.owner:
            yield "owner", self.binding.owner
        for cause, team in self.binding.teams.items():
            yield f"team for {cause}", team
        if self.binding.sponsor:
            yield self.binding.sponsor.title, self.binding.sponsor


def find_who(
    settings: Settings, store: Store, records: Mapping[str, AccountRecord], account_id: str, now: datetime
) -> WhoAnswers:
    """Find who answers for an account whose record is known."""
    tiers, why = {}, "No tier: it has not been scored."
    newest = score_table.find_newest(settings)
    if newest is not None:
        stored = score_table.read_tiers(settings, score_table.parse_instant(newest))
        tiers = {} if stored is None else {account_id: stored.get(account_id)}
        try:
            why = tier_report.explain_account(settings, store, account_id)
        except GarrisonError as error:  # scores of an earlier release, or none of this account
            why = f"No tier: {error}"
    rules = BindingRules.load(settings, store, now)
    bound = rules.bind(records, [account_id], tiers)[account_id]
    parents = tuple(records[p].name or p for p in list_parents(records, account_id))
    return WhoAnswers(bound, parents, why, now)


def _describe_now(recipient: Recipient, now: datetime) -> str:
    calendar = recipient.calendar
    local = now.astimezone(ZoneInfo(calendar.zone))
    if calendar.is_working(now):
        return f"at work, {local:%H:%M}"
    back = calendar.find_next(now).astimezone(ZoneInfo(calendar.zone))
    return f"{local:%a %H:%M}, at work again {back:%a %d %b %H:%M}"
