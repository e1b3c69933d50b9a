"""The outbox: messages wait here until they are delivered, each of them once.

A message goes from pending to sending to sent. After a refusal it goes back to pending, with a longer wait each time;
after eight refusals it has failed. A message that a crash left in sending may have arrived or not: it becomes
uncertain and needs a person's decision, since nobody may get the same alert twice.
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
from monitoring.alerts.routing import PENDING, UNDELIVERABLE, WITHHELD, parse_address
from monitoring.notifications import channels
from monitoring.notifications.channels import Channel, FolderChannel
from monitoring.notifications.email_message import AnswerUnknown, MessageRefused, OutgoingMessage

SENDING, SENT, FAILED, UNCERTAIN = "sending", "sent", "failed", "uncertain"
ATTEMPTS = 8
_MINUTE = 60_000_000  # µs


@dataclass(frozen=True)
class BlockedMessage:
    """A message that needs a person's attention: failed, uncertain, or without a recipient.

    Args:
        id: Its id.
        account_id: The account that it is about; None for a message about a run.
        run: The held run that it is about; None for a message about an account.
        state: failed, uncertain or undeliverable.
        reason: Why it is in that state.
        subject: Its subject, which names the account.
    """

    id: str
    account_id: str | None
    run: str | None
    state: str
    reason: str
    subject: str


@dataclass(frozen=True)
class Delivery:
    """The result of one delivery, and what the outbox holds after it.

    Args:
        sent: Messages sent now.
        refused: Messages refused now, to be tried again.
        waiting: Messages pending after it.
        needs_attention: Messages that wait for a person.
        withheld: Messages over an owner's cap.
        busy: Whether another process is delivering, so that this one did nothing.
    """

    sent: int
    refused: int
    waiting: int
    needs_attention: tuple[BlockedMessage, ...]
    withheld: int
    busy: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        keys = ("id", "account_id", "run", "state", "reason")
        stuck = [{key: getattr(message, key) for key in keys} for message in self.needs_attention]
        plain = {"sent": self.sent, "refused": self.refused, "waiting": self.waiting, "stuck": stuck}
        return {**plain, "withheld": self.withheld, "busy": self.busy}


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
    with try_lock(store.engine, Lock.DELIVER) as is_held:
        if is_held:
            _recover(store)
            results = list(_send_due(settings, store, now))
    return _summarize(store, results, busy=not is_held)


def _send_due(settings: Settings, store: Store, now: int) -> Iterator[str]:
    """Send the messages that are due, and yield the state of each after it."""
    due = _read_due(store, now)
    if not due:
        return
    channel = channels.open_channel(settings.alerts)
    try:
        for message in due:
            yield _send(store, channel, message, now)
    finally:
        channel.close()


def _send(store: Store, channel: Channel, message: OutgoingMessage, now: int) -> str:
    """Send one message, and return its state after it."""
    try:
        channel.prepare(message)
    except MessageRefused as refusal:
        return _put_back(store, message, now, why=str(refusal))
    # A crash between this change and the next one leaves it unknown whether the message was sent.
    # So nothing else is done in between.
    if not _change(store, message.id, PENDING, state=SENDING, channel=channel.name):
        channel.close()
        return PENDING
    try:
        channel.commit(message)
    except MessageRefused as refusal:
        return _put_back(store, message, now, why=str(refusal))
    except AnswerUnknown as unknown:
        _change(store, message.id, SENDING, state=UNCERTAIN, reason=str(unknown))
        return UNCERTAIN
    tried = OUTBOX.c.attempts + 1
    _change(store, message.id, SENDING, state=SENT, reason=None, attempts=tried, sent_at=time.time_ns() // 1000)
    return SENT


def _put_back(store: Store, message: OutgoingMessage, now: int, *, why: str) -> str:
    """Put a refused message back for 5, 15, 45 minutes and so on, some four days in all; then it has failed."""
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
    """Change a message if it is in the state expected, and return whether it was."""
    with store.writing() as connection:
        one = sa.update(OUTBOX).where(OUTBOX.c.id == message, OUTBOX.c.state == expected)
        return bool(connection.execute(one.values(**values)).rowcount)


def _recover(store: Store) -> None:
    """Settle the messages that a killed process left in sending; the lock says that no process is sending now."""
    why = "the process that sent it ended before it knew the answer"
    stranded = sa.update(OUTBOX).where(OUTBOX.c.state == SENDING)
    with store.writing() as connection:
        connection.execute(stranded.where(OUTBOX.c.channel == FolderChannel.name).values(state=PENDING))
        connection.execute(stranded.values(state=UNCERTAIN, reason=why))


def _read_due(store: Store, now: int) -> list[OutgoingMessage]:
    columns = (OUTBOX.c[name] for name in OutgoingMessage.__dataclass_fields__)
    query = sa.select(*columns).where(OUTBOX.c.state == PENDING, OUTBOX.c.next_try_at <= now)
    with store.reading() as connection:
        rows = connection.execute(query.order_by(OUTBOX.c.created_at, OUTBOX.c.position, OUTBOX.c.id))
        return [OutgoingMessage(*row) for row in rows]


def _summarize(store: Store, results: list[str], *, busy: bool) -> Delivery:
    """Count the messages by state, and read those that need attention."""
    states = sa.select(OUTBOX.c.state, sa.func.count().label("number")).group_by(OUTBOX.c.state)
    blocked = (
        sa.select(OUTBOX.c.id, EPISODES.c.account_id, OUTBOX.c.run, OUTBOX.c.state, OUTBOX.c.reason, OUTBOX.c.subject)
        .outerjoin(EPISODES, EPISODES.c.id == OUTBOX.c.episode_id)
        .where(OUTBOX.c.state.in_([FAILED, UNCERTAIN, UNDELIVERABLE]))
        .order_by(OUTBOX.c.state, OUTBOX.c.created_at, OUTBOX.c.position)
    )
    with store.reading() as connection:
        counts = {row.state: row.number for row in connection.execute(states)}
        needs_attention = tuple(BlockedMessage(*row) for row in connection.execute(blocked))
    return Delivery(
        sent=results.count(SENT),
        refused=results.count(PENDING),
        waiting=counts.get(PENDING, 0),
        needs_attention=needs_attention,
        withheld=counts.get(WITHHELD, 0),
        busy=busy,
    )


def resend(store: Store, message: str, *, to: str | None = None) -> None:
    """Put a message that needs attention, or is withheld, back among the pending; it keeps its Message-ID.

    Args:
        store: The state database.
        message: Its id.
        to: Whom to send it to instead; needed where it has no recipient.

    Raises:
        GarrisonError: There is no such message, it can't be sent again, or it has no recipient.
    """
    if to is not None and parse_address(to) is None:
        raise GarrisonError("--to is not one plain e-mail address", found=repr(to), hint="Write it as name@example.com")
    state, recipient = _read_message(store, message)
    if state in {PENDING, SENDING, SENT}:
        fate = {PENDING: "it is pending and will be sent", SENDING: "it is being sent", SENT: "it was sent"}[state]
        raise GarrisonError(f"the message {message} can't be sent again", found=fate)
    recipient = parse_address(to) or recipient
    if recipient is None:
        raise GarrisonError(f"the message {message} has no recipient", hint="Name one with --to")
    _change(store, message, state, state=PENDING, recipient=recipient, reason=None, attempts=0, next_try_at=0)


def mark_arrived(store: Store, message: str) -> None:
    """Mark an uncertain message as arrived.

    Raises:
        GarrisonError: There is no such message, or it is not uncertain.
    """
    state, _ = _read_message(store, message)
    if not _change(store, message, UNCERTAIN, state=SENT, reason="marked as arrived"):
        raise GarrisonError(f"the message {message} is not uncertain", found=state)


def _read_message(store: Store, message: str) -> tuple[str, str | None]:
    """Read a message's state and recipient."""
    with store.reading() as connection:
        row = connection.execute(sa.select(OUTBOX.c.state, OUTBOX.c.recipient).where(OUTBOX.c.id == message)).first()
    if row is None:
        raise GarrisonError(
            f"there is no message {message}", hint="`python -m monitoring deliver` lists those that need attention"
        )
    return row.state, row.recipient
