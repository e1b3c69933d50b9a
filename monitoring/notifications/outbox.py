"""The outbox: messages wait here until they are delivered, each of them once.

pending -> sending -> sent, or back to pending after a refusal, with a longer wait each time, and failed after
eight. A message that a crash left in sending may have arrived or not: it becomes uncertain and waits for a
person to decide, since nobody shall get the same alert twice.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.settings import Settings
from features.state.database import Store
from features.state.locks import Lock, try_lock
from features.state.tables import EPISODES, OUTBOX
from monitoring.alerts.routing import PENDING, UNDELIVERABLE, WITHHELD, address
from monitoring.notifications import channels
from monitoring.notifications.channels import Channel, Folder
from monitoring.notifications.email_message import Message, Refused, Unknown

SENDING, SENT, FAILED, UNCERTAIN = "sending", "sent", "failed", "uncertain"
ATTEMPTS = 8
_MINUTE = 60_000_000  # µs


@dataclass(frozen=True)
class Stuck:
    """A message that waits for a person."""

    id: str
    account_id: str
    state: str
    reason: str


@dataclass(frozen=True)
class Delivery:
    """What one delivery did, and what the outbox holds after it.

    Args:
        sent: Messages handed over now.
        refused: Messages refused now, to be tried again.
        waiting: Messages pending after it.
        stuck: Messages failed, uncertain or undeliverable: they wait for a person.
        withheld: Messages over an owner's cap.
        busy: Another process is delivering, and so this one did nothing.
    """

    sent: int
    refused: int
    waiting: int
    stuck: tuple[Stuck, ...]
    withheld: int
    busy: bool = False


def deliver(settings: Settings, store: Store, *, now: int | None = None) -> Delivery:
    """Send every message that is due, oldest first; of one age, the most at stake first.

    Args:
        settings: Their `alerts` name the channel.
        store: The state database.
        now: The instant (µs); by default the clock's.

    Raises:
        DeliveryError: The channel takes no messages: those not sent by then stay pending.
        GarrisonError: No channel is set, or the database is locked.
    """
    now = time.time_ns() // 1000 if now is None else now
    results: list[str] = []
    with try_lock(store.engine, Lock.DELIVER) as mine:
        if mine:
            _recover(store)
            results = list(_sending(settings, store, now))
    return _summary(store, results, busy=not mine)


def _sending(settings: Settings, store: Store, now: int) -> Iterator[str]:
    """Send what is due; gives each message's state after it."""
    due = _due(store, now)
    if not due:
        return
    channel = channels.open_for(settings.alerts)
    try:
        for message in due:
            yield _send(store, channel, message, now)
    finally:
        channel.close()


def _send(store: Store, channel: Channel, message: Message, now: int) -> str:
    try:
        channel.prepare(message)
    except Refused as refusal:
        return _put_back(store, message, now, why=str(refusal))
    # From the next commit until the one after it, a crash leaves the message's fate unknown: nothing else is
    # done in between.
    if not _change(store, message.id, PENDING, state=SENDING, channel=channel.name):
        channel.close()
        return PENDING
    try:
        channel.commit(message)
    except Refused as refusal:
        return _put_back(store, message, now, why=str(refusal))
    except Unknown as unknown:
        _change(store, message.id, SENDING, state=UNCERTAIN, reason=str(unknown))
        return UNCERTAIN
    tried = OUTBOX.c.attempts + 1
    _change(store, message.id, SENDING, state=SENT, reason=None, attempts=tried, sent_at=time.time_ns() // 1000)
    return SENT


def _put_back(store: Store, message: Message, now: int, *, why: str) -> str:
    """Try again later: after 5, 15, 45 minutes and so on, in all some four days; then it has failed."""
    with store.reading() as connection:
        tried = 1 + (connection.scalar(sa.select(OUTBOX.c.attempts).where(OUTBOX.c.id == message.id)) or 0)
    state = PENDING if tried < ATTEMPTS else FAILED
    later = now + 5 * _MINUTE * 3 ** (tried - 1)
    with store.writing() as connection:
        connection.execute(
            sa.update(OUTBOX)
            .where(OUTBOX.c.id == message.id, OUTBOX.c.state.in_([PENDING, SENDING]))
            .values(state=state, reason=why, attempts=tried, next_try_at=later)
        )
    return state


def _change(store: Store, message: str, expected: str, **values: Any) -> bool:
    """Change a message that is in the state expected; False where it is not, or no longer."""
    with store.writing() as connection:
        one = sa.update(OUTBOX).where(OUTBOX.c.id == message, OUTBOX.c.state == expected)
        return bool(connection.execute(one.values(**values)).rowcount)


def _recover(store: Store) -> None:
    """Messages that a deliverer left in sending when it died; the lock says that none is at work now."""
    why = "the process that sent it ended before it knew the answer"
    stranded = sa.update(OUTBOX).where(OUTBOX.c.state == SENDING)
    with store.writing() as connection:
        connection.execute(stranded.where(OUTBOX.c.channel == Folder.name).values(state=PENDING))
        connection.execute(stranded.values(state=UNCERTAIN, reason=why))


def _due(store: Store, now: int) -> list[Message]:
    columns = (OUTBOX.c[name] for name in Message.__dataclass_fields__)
    query = sa.select(*columns).where(OUTBOX.c.state == PENDING, OUTBOX.c.next_try_at <= now)
    with store.reading() as connection:
        rows = connection.execute(query.order_by(OUTBOX.c.created_at, OUTBOX.c.position, OUTBOX.c.id))
        return [Message(*row) for row in rows]


def _summary(store: Store, results: list[str], *, busy: bool) -> Delivery:
    states = sa.select(OUTBOX.c.state, sa.func.count().label("held")).group_by(OUTBOX.c.state)
    stuck = (
        sa.select(OUTBOX.c.id, EPISODES.c.account_id, OUTBOX.c.state, OUTBOX.c.reason)
        .join(EPISODES, EPISODES.c.id == OUTBOX.c.episode_id)
        .where(OUTBOX.c.state.in_([FAILED, UNCERTAIN, UNDELIVERABLE]))
        .order_by(OUTBOX.c.state, OUTBOX.c.created_at, OUTBOX.c.position)
    )
    with store.reading() as connection:
        counts = {row.state: row.held for row in connection.execute(states)}
        waiting = tuple(Stuck(*row) for row in connection.execute(stuck))
    refused = results.count(PENDING)
    return Delivery(results.count(SENT), refused, counts.get(PENDING, 0), waiting, counts.get(WITHHELD, 0), busy)


def resend(store: Store, message: str, *, to: str | None = None) -> None:
    """Put a message that is not sent by itself back among the pending; it keeps its Message-ID.

    Args:
        store: The state database.
        message: Its id.
        to: Whom to send it to instead; needed where it has no recipient.

    Raises:
        GarrisonError: There is no such message, it is not one to be re-sent, or nobody to send it to.
    """
    if to is not None and address(to) is None:
        raise GarrisonError("--to is not one plain e-mail address", found=repr(to), hint="Write it as name@example.com")
    state, recipient = _known(store, message)
    if state in {PENDING, SENDING, SENT}:
        there = {PENDING: "it is pending and will be sent", SENDING: "it is being sent", SENT: "it was sent"}[state]
        raise GarrisonError(f"the message {message} can't be re-sent", found=there)
    whom = address(to) or recipient
    if whom is None:
        raise GarrisonError(f"the message {message} has no recipient", hint="Name one with --to")
    _change(store, message, state, state=PENDING, recipient=whom, reason=None, attempts=0, next_try_at=0)


def arrived(store: Store, message: str) -> None:
    """Note that an uncertain message did arrive.

    Raises:
        GarrisonError: There is no such message, or its fate is known.
    """
    state, _ = _known(store, message)
    if not _change(store, message, UNCERTAIN, state=SENT, reason="said to have arrived"):
        raise GarrisonError(f"the message {message} is not uncertain", found=state)


def _known(store: Store, message: str) -> tuple[str, str | None]:
    with store.reading() as connection:
        row = connection.execute(sa.select(OUTBOX.c.state, OUTBOX.c.recipient).where(OUTBOX.c.id == message)).first()
    if row is None:
        raise GarrisonError(
            f"there is no message {message}", hint="`python -m monitoring deliver` names those that wait for you"
        )
    return row.state, row.recipient
