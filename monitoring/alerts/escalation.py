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
from features.core.language import Phrase
from features.core.local_formats import Day
from features.core.safe_line import to_safe_line
from features.core.timestamps import from_micros, to_micros
from features.settings import Settings
from features.sources.history import History
from features.state.database import Store
from features.state.message_states import PENDING
from features.state.tables import EPISODE_EVENTS, EPISODES, OUTBOX
from monitoring.alerts import kinds
from monitoring.alerts.episode_store import change_episode
from monitoring.alerts.mailing import SHARED_KINDS, name_role
from monitoring.binding.account_records import AccountRecord, read_records
from monitoring.binding.bindings import BindingRules, Recipient, parse_fallback_owner
from monitoring.binding.reader_language import find_language
from monitoring.letters.account_risk import Text
from monitoring.letters.message import render_letters
from monitoring.letters.wording import KINDS, count, count_in_words
from serving.scoring import score_table

ESCALATED = kinds.ESCALATED
_SPACE = uuid.UUID("0c8d1b7e-7a52-5a0f-9f57-2e6c3b9d4a11")
_TOLD = (kinds.OPEN, kinds.NOTIFIED)
_LEAD, _FALLBACK = "lead", "fallback"

Records = Callable[[Collection[str]], Mapping[str, AccountRecord]]
Tiers = Callable[[], Mapping[str, str | None]]


@dataclass(frozen=True)
class UnansweredEpisode:
    """An episode whose owner was told and has not answered.

    Args:
        id: Of the episode.
        account_id: Of the account.
        kind: Of the episode.
        version: Of the episode as it was read.
        state: Of the episode as it was read.
        recipient: Who was told.
        subject: Of that letter.
        body: Of that letter.
        sent_at: When it was sent (µs).
    """

    id: str
    account_id: str
    kind: str
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
    rules, classes = BindingRules.load(settings, store, now), tiers()
    about = records([episode.account_id for episode in waiting])
    going, stranded = defaultdict[str, list[UnansweredEpisode]](list), 0
    recipients: dict[str, Recipient] = {}
    for episode in waiting:
        tier, record = classes.get(episode.account_id), about.get(episode.account_id, AccountRecord())
        due = find_due(rules, episode.recipient, record.timezone, from_micros(episode.sent_at), tier)
        if due is None or due > now:
            continue
        if superior := _find_superior(settings, rules, episode, tier):
            going[superior.address.lower()].append(episode)
            recipients[superior.address.lower()] = superior
        else:
            stranded += 1
    for address, episodes in going.items():
        writer = _Writer(settings, recipients[address], about)
        _write(store, writer, episodes, now)
    return Escalation(sum(map(len, going.values())), stranded)


def _read_waiting(store: Store) -> list[UnansweredEpisode]:
    """Read the episodes whose last letter was sent, not answered, and has not gone up yet."""
    e, o, v = EPISODES.c, OUTBOX.c, EPISODE_EVENTS.c
    gone_up = sa.select(v.seq).where(v.episode_id == e.id, v.event == ESCALATED, v.at >= o.sent_at).exists()
    query = (
        sa.select(e.id, e.account_id, e.kind, e.version, e.state, o.recipient, o.subject, o.body, o.sent_at)
        .join(OUTBOX, o.id == e.message_id)
        .where(e.state.in_(_TOLD), e.kind.in_(SHARED_KINDS), o.sent_at.is_not(None), ~gone_up)
        .order_by(o.sent_at, e.expected.desc(), e.id)
    )
    with store.reading() as connection:
        return [UnansweredEpisode(*row) for row in connection.execute(query)]


def find_due(
    rules: BindingRules, recipient: str, zone: str | None, told_at: datetime, tier: str | None
) -> datetime | None:
    """Find until when an episode must be answered before it goes up: so many working hours of who was told.

    Args:
        rules: Of the company.
        recipient: Who was told.
        zone: Of the account's owner, as exported.
        told_at: When.
        tier: Of the account.

    Returns:
        The instant; None where the tier never goes up.
    """
    hours = rules.settings.binding.escalation.after_hours.get(tier) if tier else None  # type: ignore[call-overload]
    return None if hours is None else rules.build_calendar(recipient, zone).add_hours(told_at, hours)


def _find_superior(
    settings: Settings, rules: BindingRules, episode: UnansweredEpisode, tier: str | None
) -> Recipient | None:
    """Return who hears of it: the owner's lead, the account's sponsor, or the fallback; never the owner again."""
    told = episode.recipient.lower()
    lead = settings.binding.get_person(episode.recipient).lead
    if lead and lead.lower() not in {told, *rules.absences}:
        return Recipient(lead, "sponsor", "", rules.build_calendar(lead, None), title=_LEAD)
    sponsor = rules.find_sponsor(tier)
    if sponsor and sponsor.address.lower() != told:
        return sponsor
    fallback = parse_fallback_owner(settings)
    if fallback and fallback.lower() != told:
        return Recipient(fallback, "sponsor", "", rules.build_calendar(fallback, None), title=_FALLBACK)
    return None


def _write(store: Store, writer: _Writer, episodes: Sequence[UnansweredEpisode], now: datetime) -> None:
    """Write one message about all of a recipient's, and the event of each, in one transaction."""
    recipient, row = writer.recipient, writer.build_row(episodes, now)
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


@dataclass(frozen=True)
class _Writer:
    """Writes to one recipient, in that one's language.

    Args:
        settings: The company's.
        recipient: Who hears of it.
        records: What the accounts table holds, by account.
    """

    settings: Settings
    recipient: Recipient
    records: Mapping[str, AccountRecord]

    def build_row(self, episodes: Sequence[UnansweredEpisode], now: datetime) -> dict[str, Any]:
        """Build the outbox's row about some episodes."""
        language = find_language(self.settings, self.recipient.address)
        said = "{recipient} got this on {day} and has not answered"
        about = [language.say(said, recipient=e.recipient, day=Day(from_micros(e.sent_at))) for e in episodes]
        one, many = "Not answered: {n} account at risk", "Not answered: {n:,} accounts at risk"
        subject = count_in_words(len(episodes), one, many).say(language)
        told = language.say(
            "You get this as the {role}: these letters have waited longer than their tier may.", role=self._name_role()
        )
        titles = [self._write_title(episode) for episode in episodes]
        parts = [
            f"{language.say('{label}:', label=intro)}\n\n{title}\n\n{episode.body}"
            for intro, title, episode in zip(about, titles, episodes, strict=True)
        ]
        lines = [
            language.say("{subject}. {sentence}.", subject=to_safe_line(title, 200), sentence=intro)
            for title, intro in zip(titles, about, strict=True)
        ]
        page = render_letters(
            language,
            subject=subject,
            preview=lines[0],
            letters=[],
            heading=subject,
            introduction=[told],
            rest=lines,
            rest_title=language.say("Open"),
        )
        key = "\x1f".join(f"{e.id} {e.sent_at}" for e in sorted(episodes, key=lambda e: e.id))
        return {
            "id": str(uuid.uuid5(_SPACE, f"{self.recipient.address} {key}")),
            "episode_id": episodes[0].id if len(episodes) == 1 else None,
            "kind": ESCALATED,
            "recipient": self.recipient.address,
            "subject": subject,
            "body": f"{told}\n\n" + f"\n{'=' * 76}\n\n".join(parts),
            "html": page,
            "state": PENDING,
            "attempts": 0,
            "position": 0,
            "created_at": to_micros(now),
            "next_try_at": to_micros(now),
        }

    def _write_title(self, episode: UnansweredEpisode) -> str:
        """Return the subject of the owner's letter; said anew where the owner reads another language."""
        language = find_language(self.settings, self.recipient.address)
        if find_language(self.settings, episode.recipient) == language:
            return episode.subject
        record = self.records.get(episode.account_id, AccountRecord())
        unnamed = Phrase("Account {id}", {"id": to_safe_line(episode.account_id)})
        account = to_safe_line(record.name, 80) if record.name else unnamed
        return language.say("{kind}: {account}", kind=Phrase(KINDS[episode.kind].name), account=account)

    def _name_role(self) -> Text:
        title = self.recipient.title
        return Phrase(title) if title in {_LEAD, _FALLBACK} else name_role(self.recipient)
