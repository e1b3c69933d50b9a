"""Bring the library up to date: new tickets, topics as problems, links by topics, counts, and fixes that fail."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from features.core.timestamps import to_micros
from features.settings import Settings
from features.sources.history import History
from features.state.database import Store
from features.state.problem_tables import PROBLEM_TICKETS, PROBLEMS
from monitoring.problems import fix_counts, token_counts
from monitoring.problems.library import NEW
from monitoring.problems.problem_acts import TOPICS, record_event
from monitoring.problems.reopening import ReopenedProblem, watch_fixes
from monitoring.problems.ticket_index import IndexedTickets, index_tickets
from monitoring.problems.ticket_texts import has_texts, read_tickets

# Tabs of the map whose topics are problems: doubts before buying and wishes are not.
PAIN = ("friction", "complaints")
_SPACE = uuid.UUID("9c7c1f4e-6f4b-5d39-9a44-2f1a0b1c7d20")
_CHUNK = 10_000


@dataclass(frozen=True)
class TopicSeed:
    """A topic that a problem is made from: its id, its names by language, and the address of its team."""

    topic_id: str
    names: Mapping[str, str]
    team: str | None = None


@dataclass(frozen=True)
class TopicLinks:
    """What the map of topics says: topics of pain, and the topic of each ticket."""

    seeds: tuple[TopicSeed, ...] = ()
    tickets: Mapping[str, str] = ()  # type: ignore[assignment]  # an empty mapping is made below

    @property
    def topics(self) -> Mapping[str, str]:
        """Return the topic of each ticket."""
        return self.tickets or {}


@dataclass(frozen=True)
class LibraryUpdate:
    """What an update did.

    Args:
        indexed: Tickets taken in.
        made: New problems from topics.
        linked: Tickets linked, or linked otherwise, by topics.
        problems: In the library.
        tickets: In the library.
        has_texts: Whether tickets have a subject or a text.
        reopened: Fixes that did not hold.
    """

    indexed: IndexedTickets
    made: int
    linked: int
    problems: int
    tickets: int
    has_texts: bool
    reopened: tuple[ReopenedProblem, ...] = ()

    def lines(self) -> Iterator[str]:
        """Yield the lines for the terminal."""
        taken = self.indexed
        yield f"Tickets: {taken.new:,} new, {taken.updated:,} changed; {self.tickets:,} in the library"
        if not self.has_texts:
            yield "Tickets have no subject and no text here: problems are found by the names of topics alone."
        yield f"Problems: {self.made:,} new from topics, {self.problems:,} in all; {self.linked:,} tickets linked"
        if not self.problems:
            yield "Problems are made from topics: run `python -m monitoring journey build` first, or make one by hand."
        yield from (str(problem) for problem in self.reopened)

    def describe(self) -> str:
        """Say it in one line."""
        reopened = f", {len(self.reopened):,} reopened" if self.reopened else ""
        return f"{self.indexed.new:,} new tickets, {self.problems:,} problems{reopened}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        counts = {"new": self.indexed.new, "updated": self.indexed.updated, "linked": self.linked, "made": self.made}
        reopened = [problem.as_dict() for problem in self.reopened]
        return counts | {"problems": self.problems, "tickets": self.tickets, "reopened": reopened}


def read_topic_links(settings: Settings, store: Store) -> TopicLinks:
    """Read the topics of the last map, as people's decisions left them."""
    from monitoring.journey.topics import read_ticket_topics, read_topics

    topics = [topic for topic in read_topics(settings, store) if topic.tab in PAIN]
    seeds = tuple(TopicSeed(topic.topic_id, topic.names, topic.team) for topic in topics)
    frame = read_ticket_topics(settings, store)
    known = frame[frame["topic_id"].isin([seed.topic_id for seed in seeds])]
    return TopicLinks(seeds, dict(zip(known["ticket_id"], known["topic_id"], strict=True)))


def update_library(
    settings: Settings, store: Store, history: History, until: datetime, links: TopicLinks | None = None
) -> LibraryUpdate:
    """Bring the library up to date with what was known at an instant; what people did stays.

    Args:
        settings: The company's.
        store: Its state database.
        history: Its tables.
        until: The instant.
        links: Topics; by default those of the last map.
    """
    links = links if links is not None else read_topic_links(settings, store)
    indexed = index_tickets(store, read_tickets(history, until))
    made = _make_problems(store, links, until)
    linked = _link_by_topics(store, links)
    days = settings.problems.return_days
    with store.writing() as connection:
        fix_counts.count_all(connection, days=days, now=to_micros(until))
    reopened = tuple(watch_fixes(settings, store, history, until))
    with store.reading() as connection:
        problems = sa.select(sa.func.count()).select_from(PROBLEMS).where(PROBLEMS.c.merged_into.is_(None))
        tickets = connection.scalar(sa.select(sa.func.count()).select_from(PROBLEM_TICKETS)) or 0
        return LibraryUpdate(
            indexed, made, linked, connection.scalar(problems) or 0, tickets, has_texts(history), reopened
        )


def _make_problems(store: Store, links: TopicLinks, until: datetime) -> int:
    """Make a problem of each topic that has none, and take up the names of those that nobody has looked at."""
    c, made = PROBLEMS.c, 0
    with store.writing() as connection:
        known = {row.topic_id: row for row in connection.execute(sa.select(c.topic_id, c.id, c.state, c.names, c.team))}
        for seed in links.seeds:
            names = dict(seed.names) or {"en": seed.topic_id}
            row = known.get(seed.topic_id)
            if row is None:
                problem = f"P-{uuid.uuid5(_SPACE, seed.topic_id).hex[:8]}"
                values = {"id": problem, "names": names, "team": seed.team, "state": NEW, "topic_id": seed.topic_id}
                connection.execute(sa.insert(PROBLEMS), values | {"made_at": to_micros(until), "made_by": TOPICS})
                record_event(connection, problem, "made", by=TOPICS, details=names, now=until)
                made += 1
            elif row.state == NEW and (row.names, row.team) != (names, seed.team):
                connection.execute(sa.update(PROBLEMS).where(c.id == row.id).values(names=names, team=seed.team))
    return made


def _link_by_topics(store: Store, links: TopicLinks) -> int:
    """Link tickets to the problems of their topics, but for those that a person linked; returns how many changed."""
    c, t = PROBLEMS.c, PROBLEM_TICKETS.c
    if not links.topics:
        return 0
    with store.reading() as connection:
        rows = connection.execute(sa.select(c.topic_id, sa.func.coalesce(c.merged_into, c.id)))
        problems = {topic: problem for topic, problem in rows if topic}
        query = sa.select(t.number, t.ticket_id, t.problem_id)
        free = connection.execute(query.where(t.linked_by.is_(None) | (t.linked_by == TOPICS))).all()
    wanted = ((row, problems.get(links.topics.get(row.ticket_id, ""))) for row in free)
    moves = {row.number: (row.problem_id, problem) for row, problem in wanted if row.problem_id != problem}
    statement = sa.update(PROBLEM_TICKETS).where(t.number == sa.bindparam("_number"))
    statement = statement.values(problem_id=sa.bindparam("_problem"), linked_by=sa.bindparam("_by"))
    numbers = sorted(moves)
    for start in range(0, len(numbers), _CHUNK):
        chunk = numbers[start : start + _CHUNK]
        values = [{"_number": n, "_problem": moves[n][1], "_by": TOPICS if moves[n][1] else None} for n in chunk]
        with store.writing() as connection:
            token_counts.move_tickets(connection, {n: moves[n] for n in chunk})
            connection.execute(statement, values)
    return len(moves)
