"""Messages that did not arrive: what happens after a refusal, who is told in the end, and how a person sends one again.

A refused message is tried again after 5, 15, 45 minutes and so on, with up to a quarter more by its id, so that many
refused at once don't come back at once; after eight tries, some five days, it is a dead letter. One that the server
says it will never take is tried three times. A lost answer has the message sent once more; lost again, it is a dead
letter too: it may have arrived. A dead letter's text goes to the fallback owner, or to the data team.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from features.core.addresses import parse_address
from features.core.errors import GarrisonError
from features.core.language import Language
from features.core.safe_line import to_safe_line
from features.settings import Settings
from features.state.database import Store
from features.state.message_states import PENDING, UNDELIVERABLE, WITHHELD
from features.state.tables import OUTBOX
from monitoring.binding.reader_language import find_language
from monitoring.notifications.channel_choice import EXPIRED, UNDELIVERED
from monitoring.notifications.claims import FAILED, MINUTE, SENDING, Claims
from monitoring.notifications.email_message import AnswerUnknown, MessageRefused, OutgoingMessage
from monitoring.notifications.told_episodes import mark_told

SENT, BOUNCED = "sent", "bounced"
ATTEMPTS, ATTEMPTS_IF_PERMANENT = 8, 3
_SPACE = uuid.UUID("52c3f2f4-6d0e-5c61-8a3f-0f3f6f1f8f10")
_DONE = {"claimed_by": None, "claimed_until": None, "phase": None}
# States that a person can send a message again from.
RESENDABLE = (FAILED, BOUNCED, EXPIRED, WITHHELD, UNDELIVERABLE)


class Fallback(NamedTuple):
    """Who is told of dead letters, and in which language."""

    address: str
    language: Language


def find_fallbacks(settings: Settings) -> list[Fallback]:
    """Return who is told of dead letters, the first of whom counts unless the letter was for that address."""
    named = (settings.alerts.fallback_owner, settings.monitoring.data_team)
    return [Fallback(address, find_language(settings, address)) for address in map(parse_address, named) if address]


def compute_wait(message: str, attempts: int) -> int:
    """Return how long a message waits after its n-th refusal (µs): three times as long each time, and its own jitter.

    Examples:
        >>> minutes = [compute_wait("m", n) / MINUTE for n in (1, 2, 3)]
        >>> all(5 * 3**n <= wait <= 1.25 * 5 * 3**n for n, wait in enumerate(minutes))
        True
    """
    draw = int.from_bytes(hashlib.sha256(f"{message} {attempts}".encode()).digest()[:4]) / 2**32
    return int(5 * MINUTE * 3 ** (attempts - 1) * (1 + draw / 4))


def put_back(
    claims: Claims, message: OutgoingMessage, answer: MessageRefused | AnswerUnknown, fallbacks: Sequence[Fallback]
) -> str:
    """Put a message back that was refused or whose answer was lost, or end it as a dead letter; return its state."""
    is_doubtful = isinstance(answer, AnswerUnknown)
    now = claims.clock()
    with claims.store.writing() as connection:
        row = connection.execute(sa.select(OUTBOX).where(OUTBOX.c.id == message.id)).mappings().one()
        tried, doubts = row["attempts"] + 1, row["doubts"] + is_doubtful
        most = ATTEMPTS_IF_PERMANENT if isinstance(answer, MessageRefused) and answer.is_permanent else ATTEMPTS
        is_dead = row["doubts"] > 0 if is_doubtful else tried >= most
        reason = f"{answer}: it may have arrived" if is_doubtful else str(answer)
        values = {"state": FAILED if is_dead else PENDING, "reason": reason, "attempts": tried, "doubts": doubts}
        values |= {"next_try_at": now + compute_wait(message.id, tried), **_DONE}
        if not connection.execute(claims.update(message.id).values(**values)).rowcount:
            return SENDING  # another deliverer has taken it over
        if is_dead:
            tell_fallback(connection, row, reason, fallbacks, now)
    return FAILED if is_dead else PENDING


def pause(claims: Claims, channel: str, seconds: float) -> None:
    """Give back what is claimed, and let no message of a channel be tried before so many seconds have passed."""
    claims.release()
    until = claims.clock() + int(seconds * 1_000_000)
    waiting = (OUTBOX.c.state == PENDING, OUTBOX.c.channel == channel, OUTBOX.c.next_try_at < until)
    with claims.store.writing() as connection:
        connection.execute(sa.update(OUTBOX).where(*waiting).values(next_try_at=until))


def tell_fallback(connection: sa.Connection, row: Any, reason: str, fallbacks: Sequence[Fallback], now: int) -> None:
    """Write a message with a dead letter's text to the first fallback that is not its recipient, once.

    A copy for a chat has its original, and a message about a dead letter is not followed by another.
    """
    others = [one for one in fallbacks if one.address.lower() != str(row["recipient"]).lower()]
    if row["copy_of"] is not None or row["kind"] == UNDELIVERED or not others:
        return
    identity = str(uuid.uuid5(_SPACE, f"{row['id']} {row['recipient']}"))
    if connection.scalar(sa.select(OUTBOX.c.id).where(OUTBOX.c.id == identity)):
        return
    say, recipient = others[0].language.say, row["recipient"]
    failed = say(
        "The message below did not reach {recipient}: {reason}.", recipient=recipient, reason=to_safe_line(reason, 300)
    )
    advice = say("It is not tried again by itself, so it comes to you. To send it again, or to another address:")
    told = {
        "id": identity,
        "copy_of": row["id"],
        "run": row["run"],
        "kind": UNDELIVERED,
        "recipient": others[0].address,
        "subject": to_safe_line(say("Not delivered: {subject}", subject=row["subject"]), 200),
        "body": (
            f"{failed}\n{advice}\n"
            f"  python -m monitoring deliver --resend {row['id']} --to ADDRESS\n\n"
            f"----\n\n{row['body']}"
        ),
        "state": PENDING,
        "attempts": 0,
        "doubts": 0,
        "position": 0,
        "created_at": now,
        "next_try_at": 0,
    }
    connection.execute(sa.insert(OUTBOX), told)


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
    if state not in RESENDABLE:
        fate = {PENDING: "it is pending and will be sent", SENDING: "it is being sent", SENT: "it was sent"}[state]
        raise GarrisonError(f"the message {message} can't be sent again", found=fate)
    recipient = parse_address(to) or recipient
    if recipient is None:
        raise GarrisonError(f"the message {message} has no recipient", hint="Name one with --to")
    fresh = {"state": PENDING, "recipient": recipient, "reason": None, "attempts": 0, "next_try_at": 0}
    one = sa.update(OUTBOX).where(OUTBOX.c.id == message, OUTBOX.c.state == state)
    with store.writing() as connection:
        connection.execute(one.values(**fresh, expires_at=None, deliver_after=None))


def mark_arrived(store: Store, message: str) -> None:
    """Mark a dead letter that may have arrived as one that did.

    Raises:
        GarrisonError: There is no such message, or it is not in doubt.
    """
    state, _ = _read_message(store, message)
    in_doubt = (OUTBOX.c.id == message, OUTBOX.c.state == FAILED, OUTBOX.c.doubts > 0)
    now = time.time_ns() // 1000
    with store.writing() as connection:
        arrived = sa.update(OUTBOX).where(*in_doubt).values(state=SENT, reason="marked as arrived", sent_at=now)
        if connection.execute(arrived).rowcount:
            return mark_told(connection, message, now)
    raise GarrisonError(f"the message {message} is not a dead letter that may have arrived", found=state)


def _read_message(store: Store, message: str) -> tuple[str, str | None]:
    """Read a message's state and recipient."""
    with store.reading() as connection:
        row = connection.execute(sa.select(OUTBOX.c.state, OUTBOX.c.recipient).where(OUTBOX.c.id == message)).first()
    if row is None:
        raise GarrisonError(
            f"there is no message {message}", hint="`python -m monitoring deliver` lists those that need attention"
        )
    return row.state, row.recipient
