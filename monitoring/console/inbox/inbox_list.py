"""List open episodes by the expected loss that an hour of work avoids, each with why, what to do, and until when."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from features.core.timestamps import DAY, from_micros, to_micros
from features.state.database import is_among
from features.state.tables import EPISODE_EVENTS, EPISODES, OUTBOX
from monitoring.alerts import kinds, queries
from monitoring.alerts.escalation import find_due
from monitoring.binding.bindings import BindingRules
from monitoring.console.kept_reads import KeptReads, count_time
from monitoring.console.sign_in.access import EVERYTHING
from monitoring.letters.driver_words import rank_drivers

if TYPE_CHECKING:
    from features.settings import Settings
    from features.state.database import Store
    from monitoring.console.accounts.account_index import AccountIndex, AccountRow
    from monitoring.console.accounts.open_episodes import OpenEpisodes
    from monitoring.console.context import ConsoleContext
    from monitoring.console.sign_in.access import RowFilter
    from monitoring.console.sign_in.person import Person

# Accounts of a reader that one statement names; with more, episodes are read in their order and looked at one by one.
_NAMED = 20_000
_BLOCK = 60
_REASONS = 3
_RECENT_DAYS = 90
_TABLE = EPISODES.outerjoin(OUTBOX, OUTBOX.c.id == EPISODES.c.message_id)


@dataclass(frozen=True)
class InboxItem:
    """An episode as its reader decides on it.

    Args:
        id: Of the episode.
        account_id: Of the account.
        kind: Such as churn.
        state: Such as notified.
        version: That an act on it names.
        opened_as_of: The run that opened it (µs).
        last_as_of: The last run that saw it (µs).
        opened_score: The score then.
        last_score: The newest score.
        value: Money a year at stake.
        expected: Loss that acting avoids, less what acting costs.
        an_hour: The same for an hour of work, by the minutes that the kind takes.
        cause: What the play works against.
        play: Key of the play.
        owner: Address.
        acknowledged_by: Who is at it.
        acknowledged_at: Since when (µs).
        snoozed_until: Rests until then (µs).
        closed_at: When it was closed (µs).
        outcome: What became of it.
        outcome_reason: Why that is so.
        told_at: When its letter was sent (µs).
        recipient: Who got that.
        account: As the index has it.
        why: The condition that opened it, in English.
        drivers: That raised the score, the strongest first, as it stores them.
        due: Until when it must be answered; None where it never goes up, or is answered.
    """

    id: str
    account_id: str
    kind: str
    state: str
    version: int
    opened_as_of: int
    last_as_of: int
    opened_score: float | None
    last_score: float | None
    value: float | None
    expected: float | None
    an_hour: float | None
    cause: str | None
    play: str | None
    owner: str | None
    acknowledged_by: str | None
    acknowledged_at: int | None
    snoozed_until: int | None
    closed_at: int | None
    outcome: str | None
    outcome_reason: str | None
    told_at: int | None
    recipient: str | None
    account: AccountRow | None = None
    why: str = ""
    drivers: Sequence[Mapping[str, Any]] = ()
    due: datetime | None = None

    def add(self, **known: Any) -> InboxItem:
        """Return it with more that is known of it: as `dataclasses.replace`, in a fifth of its time."""
        return InboxItem(**vars(self) | known)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        plain = {name: getattr(self, name) for name in _NAMES} | {"drivers": [dict(d) for d in self.drivers]}
        plain |= {name: plain[name] and from_micros(plain[name]).isoformat() for name in _TIMES}
        return plain | {"due": self.due and self.due.isoformat(), "account": self.account and self.account.as_dict()}


_NAMES = tuple(InboxItem.__dataclass_fields__)
_TIMES = tuple(name for name in _NAMES if name.endswith(("_at", "_as_of", "_until")))


@dataclass(frozen=True)
class Inbox:
    """A page of open episodes.

    Args:
        items: The most an hour first.
        after: What the next page begins after; None on the last one.
    """

    items: tuple[InboxItem, ...]
    after: str | None

    @cached_property
    def as_json(self) -> bytes:
        """Return the page as JSON: made once, since programs ask for the same page again and again."""
        plain = {"episodes": [item.as_dict() for item in self.items], "after": self.after}
        return json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


@dataclass(frozen=True)
class InboxReader:
    """Reads episodes of accounts that a reader may see.

    Args:
        settings: The company's.
        store: Its state database.
        accounts: Its index of accounts.
        rows: What the reader may see.
        waiting: All open episodes.
    """

    settings: Settings
    store: Store
    accounts: AccountIndex
    rows: RowFilter
    waiting: OpenEpisodes

    @classmethod
    def of(cls, context: ConsoleContext, rows: RowFilter) -> Self:
        """Build the reader of a console."""
        return cls(context.settings, context.store, context.accounts, rows, context.read_open_episodes())

    def read_open(self, *, owner: str | None = None, resting: bool = False, after: str = "", limit: int = 20) -> Inbox:
        """Read open episodes, the most an hour first.

        Args:
            owner: Only those that this person owns, or whose cause is this person's team's; None for all.
            resting: Those that rest, in place of those that don't.
            after: `Inbox.after` of the page before; "" for the first.
            limit: Episodes of the page.
        """
        found = self.waiting.find_first(self._select_open(owner, resting=resting), _read_key(after), limit + 1)
        items = self._read_items([episode for _, episode in found[:limit]])
        following = f"{found[limit - 1][0]!r} {found[limit - 1][1]}" if len(found) > limit else None
        return Inbox(self._complete(items), following)

    def keep_open(self, kept: KeptReads, person: Person | None, **asked: Any) -> Inbox:
        """Return what `read_open` does, from what is kept where nothing has changed since a person asked the same."""
        who = None if person is None else (person.address, person.roles)
        # Who is away follows from the clock, and so does until when an answer is due.
        key = ("inbox", who, self.accounts.version, count_time(), *sorted(asked.items(), key=repr))
        return kept.get(key, lambda: self.read_open(**asked))

    def read_closed(self, *, owner: str | None = None, limit: int = 10) -> tuple[InboxItem, ...]:
        """Read the episodes that were closed last, in the last 90 days, newest first; of one instant any, by id."""
        since = to_micros(datetime.now(UTC)) - _RECENT_DAYS * DAY
        conditions: list[sa.ColumnElement[bool]] = [EPISODES.c.closed_at > since]
        if owner is not None:
            conditions.append(self._is_of(owner))
        query = sa.select(EPISODES.c.id, EPISODES.c.account_id).where(*conditions)
        # A run closes thousands at one instant: to order these too would read them all.
        found = self._find_visible(query.order_by(EPISODES.c.closed_at.desc()), limit)
        return tuple(sorted(self._read_items(found), key=lambda item: (-(item.closed_at or 0), item.id)))

    def count_open(self, *, owner: str | None = None, resting: bool = False) -> int:
        """Count open episodes; arguments as of `read_open`."""
        return int(self._select_open(owner, resting=resting).sum())

    def find_visible(self, episode_id: str) -> InboxItem | None:
        """Find an episode by its whole id; None where there is none on an account that the reader may see."""
        return next(iter(self._read_items([episode_id])), None)

    def _is_of(self, owner: str) -> sa.ColumnElement[bool]:
        teams = self._list_teams(owner)
        return (sa.func.lower(EPISODES.c.owner) == owner.lower()) | EPISODES.c.cause.in_(teams)

    def _list_teams(self, person: str) -> list[str]:
        return [cause for cause, team in self.settings.binding.teams.items() if team.lower() == person.lower()]

    def _select_open(self, owner: str | None, *, resting: bool) -> npt.NDArray[np.bool_]:
        """Return which open episodes are asked for, of those that the reader sees; shape (n,)."""
        snapshot, teams = self.accounts.take_snapshot(), self._list_teams(owner) if owner else []
        visible = None if self.rows == EVERYTHING else snapshot.read_visible(self.rows)
        seen = self.waiting.select(snapshot, visible, owner=owner and owner.lower(), teams=teams)
        return seen & (self.waiting.is_resting == resting)

    def _find_visible(self, query: sa.Select[Any], limit: int) -> list[str]:
        """Find the first episodes of a query of id and account whose accounts the reader may see."""
        if self.rows != EVERYTHING:
            own = self.accounts.list_visible(self.rows, most=_NAMED)
            query = query if own is None else query.where(is_among(self.store, EPISODES.c.account_id, own))
        found: list[str] = []
        with (
            self.store.reading() as connection,
            connection.execute(query.execution_options(yield_per=_BLOCK)) as result,
        ):
            for block in result.partitions(_BLOCK):
                visible = self.accounts.find_accounts(self.rows, [row.account_id for row in block])
                found += [row.id for row in block if row.account_id in visible]
                if len(found) >= limit:
                    break
        return found[:limit]

    def _read_items(self, ids: Sequence[str]) -> list[InboxItem]:
        """Read episodes by their ids, in the order of the ids."""
        if not ids:
            return []
        query = _build_select(tuple((kind, self.settings.capacity.get_minutes(kind)) for kind in kinds.KINDS))
        with self.store.reading() as connection:
            items = {row.id: InboxItem(*row) for row in connection.execute(query, {"ids": list(ids)})}
        accounts = self.accounts.find_accounts(self.rows, [item.account_id for item in items.values()])
        known = (items[i] for i in ids if i in items)
        return [item.add(account=accounts[item.account_id]) for item in known if item.account_id in accounts]

    def _complete(self, items: Sequence[InboxItem]) -> tuple[InboxItem, ...]:
        """Add why each was opened, what raised its score, and until when it must be answered."""
        if not items:
            return ()
        # The recipients are known: no owner is looked up.
        rules = BindingRules.load(self.settings, self.store, datetime.now(UTC), accounts=())
        whys = self._read_whys(items)
        details: dict[tuple[str, int], Any] = {}
        with self.store.reading() as connection:
            for at in {item.last_as_of for item in items}:
                own = {item.account_id for item in items if item.last_as_of == at}
                found = queries.read_details(connection, own, at, horizon=self.settings.alert_horizon)
                details |= {(account, at): one for account, one in found.items()}
        completed = []
        for item in items:
            known = details.get((item.account_id, item.last_as_of))
            due = None
            if item.told_at and item.recipient and item.state in {kinds.OPEN, kinds.NOTIFIED} and item.account:
                due = find_due(rules, item.recipient, None, from_micros(item.told_at), item.account.tier)
            drivers = rank_drivers(known.drivers)[:_REASONS] if known else ()
            completed.append(item.add(why=whys.get(item.id, ""), drivers=drivers, due=due))
        return tuple(completed)

    def _read_whys(self, items: Sequence[InboxItem]) -> dict[str, str]:
        c = EPISODE_EVENTS.c
        query = sa.select(c.episode_id, c.details).where(
            c.episode_id.in_([item.id for item in items]), c.event == kinds.OPENED
        )
        with self.store.reading() as connection:
            return {episode: str(details.get("why") or "") for episode, details in connection.execute(query)}


_COMPLETED = ("account", "why", "drivers", "due")


@cache
def _build_select(minutes: tuple[tuple[str, int], ...]) -> sa.Select[Any]:
    """Build the query of episodes by their `ids`, once for the minutes that each kind takes."""
    # To build it takes as long as to ask it.
    hours = sa.case({kind: taken / 60 for kind, taken in minutes}, value=EPISODES.c.kind, else_=0.5)
    # Money an hour, 0 where nothing is expected.
    rate = sa.func.coalesce(EPISODES.c.expected, 0.0) / sa.cast(hours, sa.Double)
    made = {"an_hour": rate, "told_at": OUTBOX.c.sent_at, "recipient": OUTBOX.c.recipient}
    names = [f.name for f in fields(InboxItem)][: -len(_COMPLETED)]
    columns = (made[name] if name in made else EPISODES.c[name] for name in names)
    query = sa.select(*(column.label(name) for column, name in zip(columns, names, strict=True))).select_from(_TABLE)
    return query.where(EPISODES.c.id.in_(sa.bindparam("ids", expanding=True)))


def _read_key(after: str) -> tuple[float, str] | None:
    rate, _, episode = after.partition(" ")
    try:
        return (float(rate), episode) if episode else None
    except ValueError:
        return None
