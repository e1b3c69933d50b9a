"""Escalate what nobody has answered in working time: to the owner's lead, else the account's sponsor."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.core.safe_line import to_safe_line
from features.core.timestamps import from_micros, to_micros
from features.settings import Settings
from features.sources.history import History
from features.state.database import Store
from features.state.message_states import PENDING
from features.state.tables import EPISODE_EVENTS, EPISODES, OUTBOX
from monitoring.alerts import kinds
from monitoring.alerts.episode_store import change_episode
from monitoring.alerts.mailing import SHARED_KINDS
from monitoring.binding.absences import read_absences
from monitoring.binding.account_records import AccountRecord, read_records
from monitoring.binding.bindings import BindingRules, Recipient, parse_fallback_owner
from monitoring.letters.message import render_letters
from monitoring.letters.wording import count, format_day
from serving.scoring import score_table

ESCALATED = kinds.ESCALATED
_SPACE = uuid.UUID("0c8d1b7e-7a52-5a0f-9f57-2e6c3b9d4a11")
_TOLD = (kinds.OPEN, kinds.NOTIFIED)

Records = Callable[[Collection[str]], Mapping[str, AccountRecord]]
Tiers = Callable[[], Mapping[str, str | None]]


@dataclass(frozen=True)
class UnansweredEpisode:
    """An episode whose owner was told and has not answered.

    Args:
        id: Of the episode.
        account_id: Of the account.
        version: Of the episode as it was read.
        state: Of the episode as it was read.
        recipient: Who was told.
        subject: Of that letter.
        body: Of that letter.
        sent_at: When it was sent (µs).
    """

    id: str
    account_id: str
    version: int
    state: str
    recipient: str
    subject: str
    body: str
    sent_at: int


@dataclass(frozen=True)
class Escalation:
    """What was escalated, and what nobody is there for.

    Args:
        escalated: Episodes that went up now.
        stranded: Episodes that are overdue with nobody above their owner.
    """

    escalated: int = 0
    stranded: int = 0

    def lines(self) -> Iterator[str]:
        """Yield what happened for people; nothing where nothing did."""
        if self.escalated:
            yield f"Not answered in time: {count(self.escalated, 'episode goes', 'episodes go')} up."
        if self.stranded:
            yield (
                f"Not answered in time, and nobody above the owner is named: "
                f"{count(self.stranded, 'episode', 'episodes')}. Name a lead or sponsors under [binding]."
            )


def escalate_overdue(settings: Settings, store: Store, now: datetime) -> Escalation:
    """Escalate by the company's accounts table and the tiers of its newest scores; arguments as of `escalate`."""

    def read_accounts(accounts: Collection[str]) -> Mapping[str, AccountRecord]:
        try:
            with History.open(settings) as history:
                return read_records(history, accounts)
        except GarrisonError:  # a source that can't be read now holds up no message: zones are the company's then
            return {}

    def read_tiers() -> Mapping[str, str | None]:
        newest = score_table.find_newest(settings)
        stored = score_table.read_tiers(settings, score_table.parse_instant(newest)) if newest else None
        return {} if stored is None else {str(account): tier for account, tier in stored.items()}

    return escalate(settings, store, records=read_accounts, tiers=read_tiers, now=now)


def escalate(settings: Settings, store: Store, *, records: Records, tiers: Tiers, now: datetime) -> Escalation:
    """Write a message about each overdue episode to whom it goes up to; each goes up once for each letter.

    Overdue is what was told to its owner and not acknowledged, snoozed or closed within the working hours that the
    tier has, counted in the owner's time zone and without days off.

    Args:
        settings: The company's.
        store: Its state database.
        records: Returns what the accounts table holds of some accounts.
        tiers: Returns the tiers of the newest run, by account; asked only where something waits.
        now: The instant.
    """
    waiting = _read_waiting(store)
    if not waiting or not settings.binding.escalation.after_hours:
        return Escalation()
    rules, classes = BindingRules(settings, read_absences(store, now)), tiers()
    about = records([episode.account_id for episode in waiting])
    going, stranded = defaultdict[str, list[UnansweredEpisode]](list), 0
    recipients: dict[str, Recipient] = {}
    for episode in waiting:
        tier = classes.get(episode.account_id)
        hours = settings.binding.escalation.after_hours.get(tier) if tier else None  # type: ignore[call-overload]
        if hours is None or not _is_overdue(rules, episode, about, hours, now):
            continue
        if superior := _find_superior(settings, rules, episode, tier):
            going[superior.address.lower()].append(episode)
            recipients[superior.address.lower()] = superior
        else:
            stranded += 1
    for address, episodes in going.items():
        _write(store, recipients[address], episodes, now)
    return Escalation(sum(map(len, going.values())), stranded)


def _read_waiting(store: Store) -> list[UnansweredEpisode]:
    """Read the episodes whose last letter was sent, not answered, and has not gone up yet."""
    e, o, v = EPISODES.c, OUTBOX.c, EPISODE_EVENTS.c
    gone_up = sa.select(v.seq).where(v.episode_id == e.id, v.event == ESCALATED, v.at >= o.sent_at).exists()
    query = (
        sa.select(e.id, e.account_id, e.version, e.state, o.recipient, o.subject, o.body, o.sent_at)
        .join(OUTBOX, o.id == e.message_id)
        .where(e.state.in_(_TOLD), e.kind.in_(SHARED_KINDS), o.sent_at.is_not(None), ~gone_up)
        .order_by(o.sent_at, e.expected.desc(), e.id)
    )
    with store.reading() as connection:
        return [UnansweredEpisode(*row) for row in connection.execute(query)]


def _is_overdue(
    rules: BindingRules,
    episode: UnansweredEpisode,
    records: Mapping[str, AccountRecord],
    hours: float,
    now: datetime,
) -> bool:
    record = records.get(episode.account_id, AccountRecord())
    calendar = rules.build_calendar(episode.recipient, record.timezone)
    return calendar.add_hours(from_micros(episode.sent_at), hours) <= now


def _find_superior(
    settings: Settings, rules: BindingRules, episode: UnansweredEpisode, tier: str | None
) -> Recipient | None:
    """Return who hears of it: the owner's lead, the account's sponsor, or the fallback; never the owner again."""
    told = episode.recipient.lower()
    lead = settings.binding.get_person(episode.recipient).lead
    if lead and lead.lower() not in {told, *rules.absences}:
        return Recipient(lead, "sponsor", "", rules.build_calendar(lead, None), title="lead")
    sponsor = rules.find_sponsor(tier)
    if sponsor and sponsor.address.lower() != told:
        return sponsor
    fallback = parse_fallback_owner(settings)
    if fallback and fallback.lower() != told:
        return Recipient(fallback, "sponsor", "", rules.build_calendar(fallback, None), title="fallback")
    return None


def _write(store: Store, recipient: Recipient, episodes: Sequence[UnansweredEpisode], now: datetime) -> None:
    """Write one message about all of a recipient's, and the event of each, in one transaction."""
    row = _build_row(recipient, episodes, now)
    with store.writing() as connection:
        if connection.scalar(sa.select(OUTBOX.c.id).where(OUTBOX.c.id == row["id"])):
            return  # another process was first
        connection.execute(sa.insert(OUTBOX), row)
        for episode in episodes:
            change_episode(
                connection,
                episode,
                events=[(ESCALATED, {"to": recipient.address, "as": recipient.title, "message": row["id"]})],
                by="escalation",
                now=to_micros(now),
            )


def _build_row(recipient: Recipient, episodes: Sequence[UnansweredEpisode], now: datetime) -> dict[str, Any]:
    about = [f"{e.recipient} got this on {format_day(from_micros(e.sent_at))} and has not answered" for e in episodes]
    subject = f"Not answered: {count(len(episodes), 'account', 'accounts')} at risk"
    told = f"You get this as the {recipient.title}: these letters have waited longer than their tier may."
    parts = [f"{intro}:\n\n{episode.subject}\n\n{episode.body}" for intro, episode in zip(about, episodes, strict=True)]
    lines = [f"{to_safe_line(e.subject, 200)}. {intro}." for intro, e in zip(about, episodes, strict=True)]
    page = render_letters(
        subject=subject,
        preview=lines[0],
        letters=[],
        heading=subject,
        introduction=[told],
        rest=lines,
        rest_title="Open",
    )
    key = "\x1f".join(f"{e.id} {e.sent_at}" for e in sorted(episodes, key=lambda e: e.id))
    return {
        "id": str(uuid.uuid5(_SPACE, f"{recipient.address} {key}")),
        "episode_id": episodes[0].id if len(episodes) == 1 else None,
        "kind": ESCALATED,
        "recipient": recipient.address,
        "subject": subject,
        "body": f"{told}\n\n" + f"\n{'=' * 76}\n\n".join(parts),
        "html": page,
        "state": PENDING,
        "attempts": 0,
        "position": 0,
        "created_at": to_micros(now),
        "next_try_at": to_micros(now),
    }
