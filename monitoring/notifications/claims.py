"""Claims: which process sends which message, and how far it has come, stored before each step.

A deliverer takes a seat, a lock that its end frees even by a crash, and claims messages in its name. Who finds a claim
of a seat that nobody holds, or one that has run out, knows how far its owner came: before the end of a message was
sent nothing had been accepted, and the message is pending again; after it the message is in doubt, and is sent once
more with the same id.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from features.state.database import Store
from features.state.locks import Lock, lock_transaction, try_lock
from features.state.message_states import PENDING
from features.state.tables import EPISODES, OUTBOX
from monitoring.notifications.channels import FolderChannel
from monitoring.notifications.email_message import OutgoingMessage

SENDING, FAILED = "sending", "failed"
# The steps of a message, each stored before the next is taken.
ANNOUNCED, FINAL = "announced", "final"
# Processes that may deliver at once, and messages that one claims at a time.
SEATS, BATCH = 16, 20
MINUTE = 60_000_000  # µs
# Longer than any step of one message may take.
CLAIM = 15 * MINUTE
# How often a message is sent again since the process that sent it died; one lost answer of a server is told apart.
DEATHS = 8
_NOBODY: dict[str, Any] = {"claimed_by": None, "claimed_until": None, "phase": None}
Clock = Callable[[], int]


@contextmanager
def take_seat(store: Store) -> Iterator[str | None]:
    """Yield a new name to claim messages in, while a lock says that this process lives; None if all are taken."""
    for seat in range(SEATS):
        with try_lock(store.engine, Lock.DELIVER, of=str(seat)) as is_held:
            if is_held:
                yield f"{seat}:{uuid.uuid4().hex}"
                return
    yield None


class Claims:
    """The claims of one deliverer.

    Args:
        store: The state database.
        name: As `take_seat` yields it.
        clock: Returns the instant (µs).
    """

    def __init__(self, store: Store, name: str, clock: Clock) -> None:
        self.store, self.clock = store, clock
        self._name = name

    def take(self, channel: str, *, most: int = BATCH, per_minute: int | None = None) -> list[OutgoingMessage]:
        """Claim messages that are due on a channel, oldest first; of one age, the most at stake first.

        Args:
            channel: Its name.
            most: At most so many.
            per_minute: Messages that the channel may begin in any 60 seconds, those of other processes included.
        """
        now = self.clock()
        due = sa.select(OUTBOX.c.id).where(_is_due(channel, now))
        order = (OUTBOX.c.created_at, OUTBOX.c.position, OUTBOX.c.id)
        with self.store.writing() as connection:
            if per_minute is not None:
                lock_transaction(connection, Lock.RATE)
                most = min(most, per_minute - count_begun(connection, channel, now))
            if most <= 0:
                return []
            # On PostgreSQL rows that another deliverer is claiming are passed over; SQLite has one writer at a time.
            ids = connection.scalars(due.order_by(*order).limit(most).with_for_update(skip_locked=True)).all()
            claim = {"state": SENDING, "claimed_by": self._name, "claimed_until": now + CLAIM, "phase": None}
            connection.execute(sa.update(OUTBOX).where(OUTBOX.c.id.in_(ids)).values(**claim))
            rows = connection.execute(_MESSAGES.where(OUTBOX.c.id.in_(ids)).order_by(*order))
            return [OutgoingMessage(**row) for row in rows.mappings()]

    def mark(self, message: OutgoingMessage, phase: str) -> bool:
        """Store the step that comes next, and return whether the message is still ours to send."""
        now = self.clock()
        begun = {"tried_at": now} if phase == ANNOUNCED else {}
        return self.change(message.id, phase=phase, claimed_until=now + CLAIM, **begun)

    def change(self, message: str, **values: Any) -> bool:
        """Change a message that is ours, and return whether it still was."""
        with self.store.writing() as connection:
            return bool(connection.execute(self.update(message).values(**values)).rowcount)

    def update(self, message: str) -> sa.Update:
        """Return the beginning of a statement that changes a message only while it is ours."""
        ours = (OUTBOX.c.id == message, OUTBOX.c.state == SENDING, OUTBOX.c.claimed_by == self._name)
        return sa.update(OUTBOX).where(*ours)

    def release(self) -> None:
        """Give back all messages that are ours and whose end was not sent."""
        ours = (OUTBOX.c.state == SENDING, OUTBOX.c.claimed_by == self._name, _BEFORE_FINAL)
        with self.store.writing() as connection:
            connection.execute(sa.update(OUTBOX).where(*ours).values(state=PENDING, **_NOBODY))

    def recover(self) -> int:
        """Settle the messages of deliverers that have ended, and return how many are in doubt."""
        with self.store.reading() as connection:
            rows = connection.execute(
                sa.select(OUTBOX.c.claimed_by, sa.func.min(OUTBOX.c.claimed_until).label("until"))
                .where(OUTBOX.c.state == SENDING)
                .group_by(OUTBOX.c.claimed_by)
            ).all()
        doubtful, now = 0, self.clock()
        for owner, until in rows:
            if until is None or until <= now:
                doubtful += self._settle(owner, OUTBOX.c.claimed_until.is_(None) | (OUTBOX.c.claimed_until <= now))
            seat = str(owner).partition(":")[0]
            if seat == self._name.partition(":")[0]:  # ours now, so its holder of then has ended
                doubtful += self._settle(owner, sa.true())
                continue
            with try_lock(self.store.engine, Lock.DELIVER, of=seat) as is_held:
                if is_held:
                    doubtful += self._settle(owner, sa.true())
        return doubtful

    def _settle(self, owner: str | None, which: sa.ColumnElement[bool]) -> int:
        theirs = sa.update(OUTBOX).where(
            OUTBOX.c.state == SENDING, OUTBOX.c.claimed_by.is_not_distinct_from(owner), which
        )
        why = "the process that sent it ended before it knew the answer: it may have arrived"
        # A file written twice is still one file.
        in_doubt = theirs.where(OUTBOX.c.phase == FINAL, OUTBOX.c.channel != FolderChannel.name)
        more = {"doubts": OUTBOX.c.doubts + 1, "reason": why, **_NOBODY}
        with self.store.writing() as connection:
            given_up = connection.execute(in_doubt.where(OUTBOX.c.doubts >= DEATHS).values(state=FAILED, **more))
            again = connection.execute(in_doubt.values(state=PENDING, **more))
            connection.execute(theirs.values(state=PENDING, **_NOBODY))
        return given_up.rowcount + again.rowcount


def count_begun(connection: sa.Connection, channel: str, now: int) -> int:
    """Count the messages that a channel began in the last 60 seconds, with those that are claimed and not begun."""
    begun = OUTBOX.c.tried_at > now - MINUTE
    claimed = (OUTBOX.c.state == SENDING) & OUTBOX.c.phase.is_(None)
    query = sa.select(sa.func.count()).where(OUTBOX.c.channel == channel, begun | claimed)
    return connection.scalar(query) or 0


def find_next_turn(store: Store, channel: str, now: int) -> int | None:
    """Return when a limited channel may begin its next message (µs); None if none of its messages is due."""
    oldest = sa.select(sa.func.min(OUTBOX.c.tried_at)).where(
        OUTBOX.c.channel == channel, OUTBOX.c.tried_at > now - MINUTE
    )
    with store.reading() as connection:
        if connection.scalar(sa.select(OUTBOX.c.id).where(_is_due(channel, now)).limit(1)) is None:
            return None
        return (connection.scalar(oldest) or now - MINUTE) + MINUTE


def _is_due(channel: str, now: int) -> sa.ColumnElement[bool]:
    is_late_enough = OUTBOX.c.deliver_after.is_(None) | (OUTBOX.c.deliver_after <= now)
    is_due = (OUTBOX.c.state == PENDING) & (OUTBOX.c.next_try_at <= now) & is_late_enough
    return is_due & (OUTBOX.c.channel == channel)


_BEFORE_FINAL = OUTBOX.c.phase.is_(None) | (OUTBOX.c.phase != FINAL)
_ORIGINAL = OUTBOX.alias("original")  # what a copy for another channel repeats
# With the fields of OutgoingMessage.
_MESSAGES = (
    sa.select(
        *(OUTBOX.c[name] for name in ("id", "recipient", "subject", "body", "created_at", "html", "kind")),
        EPISODES.c.account_id,
        OUTBOX.c.run,
    )
    .outerjoin(_ORIGINAL, _ORIGINAL.c.id == OUTBOX.c.copy_of)
    .outerjoin(EPISODES, EPISODES.c.id == sa.func.coalesce(OUTBOX.c.episode_id, _ORIGINAL.c.episode_id))
)
