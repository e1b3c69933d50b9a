"""Tell a topic's team that it rises: one message for each rise, not one each night, through the outbox."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from features.core.language import Language
from features.core.safe_line import to_safe_line
from features.core.timestamps import to_micros
from features.settings import Settings
from features.state.database import Store
from features.state.journey_tables import TOPIC_WARNINGS
from features.state.message_states import PENDING
from features.state.tables import OUTBOX
from monitoring.binding.reader_language import find_language
from monitoring.journey.rising_topics import Rise
from monitoring.journey.topic import Topic
from monitoring.letters.text_lines import wrap

RISING = "topic_rising"
_SPACE = uuid.UUID("5d0a6c1e-6a52-5a0a-9a1b-3a1f5a0c77d2")


@dataclass(frozen=True)
class Warned:
    """What the warnings of one night did: topics that began to rise, of these without a team, and rises that ended."""

    began: tuple[str, ...]
    untold: tuple[str, ...]
    ended: int
    open: int

    def describe(self) -> str:
        """Say it in one line."""
        text = f"{len(self.began):,} topics began to rise, {self.ended:,} are back, {self.open:,} rise now"
        return f"{text}; {len(self.untold):,} have no team to tell" if self.untold else text


def warn_teams(
    settings: Settings, store: Store, topics: Sequence[Topic], rises: Sequence[Rise], as_of: datetime
) -> Warned:
    """Write a message to the team of each topic that begins to rise; end the warnings of those that are back.

    Args:
        settings: The company's.
        store: Its state database.
        topics: Of the last build, with their teams.
        rises: As `find_rises` returns them.
        as_of: The instant that the rises were seen from.
    """
    at, by_id = to_micros(as_of), {topic.topic_id: topic for topic in topics}
    seen = {(rise.topic_id, rise.partner_id): rise for rise in rises}
    c, began, untold = TOPIC_WARNINGS.c, list[str](), list[str]()
    with store.writing() as connection:
        is_open = c.ended.is_(None)
        rows = connection.execute(sa.select(c.id, c.topic_id, c.partner_id, c.began).where(is_open)).all()
        gone = [row.id for row in rows if _is_over(seen.get((row.topic_id, row.partner_id)), row.began, at)]
        if gone:
            connection.execute(sa.update(TOPIC_WARNINGS).where(c.id.in_(gone)).values(ended=at))
        open_now = {(row.topic_id, row.partner_id) for row in rows if row.id not in gone}
        for rise in rises:
            key = (rise.topic_id, rise.partner_id)
            if not rise.is_rising or key in open_now or rise.topic_id not in by_id:
                continue
            topic = by_id[rise.topic_id]
            message = _write_message(connection, settings, topic, rise, at) if topic.team else None
            row: dict[str, Any] = {
                "id": _name(settings, rise, at),
                "topic_id": rise.topic_id,
                "partner_id": rise.partner_id,
            }
            row |= {"began": at, "message_id": message, "figures": rise.as_dict()}
            if connection.scalar(sa.select(c.id).where(c.id == row["id"])) is None:
                connection.execute(sa.insert(TOPIC_WARNINGS), row)
                (began if topic.team else untold).append(topic.get_name())
            open_now.add(key)
    return Warned(tuple(began + untold), tuple(untold), len(gone), len(open_now))


def read_open_warnings(store: Store) -> list[dict[str, Any]]:
    """Read the rises that go on: topic_id, partner_id, began (µs), figures; newest first."""
    c = TOPIC_WARNINGS.c
    query = sa.select(c.topic_id, c.partner_id, c.began, c.figures).where(c.ended.is_(None)).order_by(c.began.desc())
    with store.reading() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def _is_over(rise: Rise | None, began: int, at: int) -> bool:
    """Return whether a rise is over: its rate is back, or its topic gone. A night run again ends nothing of its own."""
    return at > began and (rise is None or rise.is_back)


def _name(settings: Settings, rise: Rise, at: int) -> str:
    parts = (settings.company.name, rise.topic_id, rise.partner_id or "", str(at))
    return str(uuid.uuid5(_SPACE, "\x1f".join(parts)))


def _write_message(connection: sa.Connection, settings: Settings, topic: Topic, rise: Rise, at: int) -> str:
    """Put the message into the outbox, unless it is there; return its id."""
    key, now = _name(settings, rise, at), to_micros(datetime.now(UTC))
    if connection.scalar(sa.select(OUTBOX.c.id).where(OUTBOX.c.id == key)) is None:
        letter = write_letter(settings, topic, rise, find_language(settings, topic.team))
        row = {"id": key, "kind": RISING, "recipient": topic.team, **letter, "state": PENDING, "attempts": 0}
        row |= {"position": 0, "created_at": now, "next_try_at": now}
        connection.execute(sa.insert(OUTBOX), row)
    return key


def write_letter(settings: Settings, topic: Topic, rise: Rise, language: Language) -> dict[str, str]:
    """Write subject and body; no ticket's text leaves by mail."""
    say, name = language.say, topic.get_name(language.name)
    subject = say("{company}: tickets about “{topic}” rise", company=settings.company.name, topic=name)
    lines = [line for sentence in _list_sentences(settings, rise, name, language) for line in wrap(sentence)]
    if settings.console.url:
        lines += ["", say("Look at them: {address}", address=f"{settings.console.url}/journey/{topic.topic_id}")]
    return {"subject": to_safe_line(subject, 120), "body": "\n".join(lines) + "\n"}


def _list_sentences(settings: Settings, rise: Rise, name: str, language: Language) -> Iterator[str]:
    say = language.say
    values: Mapping[str, Any] = {
        "n": rise.tickets, "usual": f"{rise.usual:.1f}", "days": settings.journey.warnings.days, "topic": name
    }  # fmt: skip
    if rise.partner_id is None:
        yield say("{n} tickets about “{topic}” came in the last {days} days; {usual} are usual.", **values)
    else:
        text = "{n} tickets about “{topic}” came in the last {days} days through partner {partner}; {usual} are usual."
        yield say(text, partner=to_safe_line(rise.partner_id, 60), **values)
    yield say(
        "Chance alone does not explain it. Your team owns this topic: find the cause before more accounts are hit."
    )
    yield say("You get one message for each rise, until the rate is back.")
