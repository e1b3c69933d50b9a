"""Read bounces: the mail by which a mail system says, later, that it could not deliver a message (RFC 3464)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from email.utils import parsedate_to_datetime
from pathlib import Path

import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.core.safe_line import to_safe_line
from features.settings import Settings
from features.state.database import Store
from features.state.tables import OUTBOX
from monitoring.notifications.dead_letters import BOUNCED, SENT, Fallback, find_fallbacks, tell_fallback
from monitoring.notifications.email_message import parse_sender

_LARGEST = 20_000_000  # bytes
_ID = re.compile(r"<([^<>@\s]{1,64})@([^<>@\s]{1,255})>")


@dataclass(frozen=True)
class Bounce:
    """What a bounce says of one of our messages.

    Args:
        message: Its id; None where the bounce names no message of this sender.
        recipients: Addresses that it is about, in small letters.
        is_final: Whether nothing more is tried; else the mail is only late.
        reason: Status and the server's words.
        at: When it was written (µs); None where it does not say.
    """

    message: str | None
    recipients: frozenset[str]
    is_final: bool
    reason: str
    at: int | None


def record_bounces(settings: Settings, store: Store, path: Path, *, now: int) -> Iterator[str]:
    """Mark the messages that bounced, tell the fallback owner or the data team, and yield a line for each file.

    A file read twice changes nothing the second time.

    Args:
        settings: With `alerts.email`, whose sender's messages these are.
        store: The state database.
        path: An .eml file, or a folder of them.
        now: The instant (µs).

    Raises:
        GarrisonError: There is no such file, or it is not a bounce.
    """
    if settings.alerts.email is None:
        raise GarrisonError("bounces are of e-mail, and the settings have no [alerts.email]")
    domain = parse_sender(settings.alerts.email.sender).rpartition("@")[2]
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    fallbacks = find_fallbacks(settings)
    for file in files:
        try:
            bounce = read_bounce(file, domain)
        except GarrisonError as error:
            if not path.is_dir():
                raise
            yield f"{to_safe_line(file.name)}: {error}"
        else:
            yield f"{to_safe_line(file.name)}: {_record(store, bounce, fallbacks, now)}"


def read_bounce(file: Path, domain: str) -> Bounce:
    """Read a bounce of a message from a sender of this domain.

    Raises:
        GarrisonError: The file can't be read, or is not a delivery status notification.
    """
    try:
        if file.stat().st_size > _LARGEST:
            raise GarrisonError(f"{file} is no bounce", found=f"more than {_LARGEST:,} bytes")
        mail = message_from_bytes(file.read_bytes(), policy=policy.default)
    except OSError as error:
        raise GarrisonError(f"{file} can't be read", found=error.strerror) from error
    report = next((part for part in mail.walk() if part.get_content_type() == "message/delivery-status"), None)
    blocks = [block for block in _list_blocks(report) if block["Action"]]
    if not blocks:
        raise GarrisonError(
            f"{file} is no bounce",
            found=mail.get_content_type(),
            hint="It needs a part message/delivery-status (RFC 3464)",
        )
    failed = [block for block in blocks if _word(block, "Action") == "failed"]
    told = failed or blocks
    status, diagnosis = _word(told[0], "Status"), str(told[0]["Diagnostic-Code"] or "").partition(";")[2]
    reason = to_safe_line(f"bounced with {status or 'no status'}: {diagnosis.strip() or 'without a word'}", 300)
    return Bounce(_find_message(mail, domain), _list_recipients(told), bool(failed), reason, _find_date(mail))


def _record(store: Store, bounce: Bounce, fallbacks: list[Fallback], now: int) -> str:
    with store.writing() as connection:
        query = sa.select(OUTBOX).where(OUTBOX.c.id == (bounce.message or ""))
        row = connection.execute(query).mappings().first()
        if row is None:
            return "a bounce of no message of ours, nothing changed"
        if obstacle := _find_obstacle(row, bounce):
            return f"message {row['id']} {obstacle}, nothing changed"
        reason = bounce.reason.replace(str(row["recipient"]), "the owner")
        connection.execute(sa.update(OUTBOX).where(OUTBOX.c.id == row["id"]).values(state=BOUNCED, reason=reason))
        tell_fallback(connection, row, reason, fallbacks, now)
    return f"message {row['id']} {reason}"


def _find_obstacle(row: sa.RowMapping, bounce: Bounce) -> str | None:
    """Return why a bounce says nothing about the message as it stands; None if it does."""
    if row["state"] != SENT:
        return f"is {row['state']}"
    if bounce.recipients and str(row["recipient"]).lower() not in bounce.recipients:
        return "bounced from another address"
    if bounce.at is not None and bounce.at < (row["sent_at"] or 0) - 1_000_000:  # mail is dated in whole seconds
        return "was sent again since"
    return None if bounce.is_final else "is late and still tried"


def _list_blocks(report: Message | None) -> list[Message]:
    payload = report.get_payload() if report is not None else []
    return [block for block in payload if isinstance(block, Message)] if isinstance(payload, list) else []


def _word(block: Message, name: str) -> str:
    return (str(block[name] or "").split() or [""])[0].lower()


def _list_recipients(blocks: list[Message]) -> frozenset[str]:
    """Return the addresses that the recipient was written as, first and in the end."""
    named = (str(block[name] or "") for block in blocks for name in ("Original-Recipient", "Final-Recipient"))
    return frozenset(text.rpartition(";")[2].strip().strip("<>").lower() for text in named if text)


def _find_message(mail: EmailMessage, domain: str) -> str | None:
    """Return the id of our message, from the Message-ID of what came back with the bounce, or what it answers."""
    texts = []
    for part in mail.walk():
        if part.get_content_type() in {"message/rfc822", "text/rfc822-headers"}:
            inner = part.get_payload()
            original = inner[0] if isinstance(inner, list) and inner else _parse_headers(part)
            texts.append(str(original["Message-ID"] or "") if isinstance(original, Message) else "")
    texts += [str(mail[name] or "") for name in ("In-Reply-To", "References")]
    ids = (match for text in texts for match in _ID.finditer(text))
    return next((match[1] for match in ids if match[2].lower() == domain.lower()), None)


def _parse_headers(part: Message) -> Message | None:
    payload = part.get_payload(decode=True)
    return message_from_bytes(payload, policy=policy.default) if isinstance(payload, bytes) else None


def _find_date(mail: EmailMessage) -> int | None:
    try:
        at = parsedate_to_datetime(str(mail["Date"]))
    except ValueError:
        return None
    aware = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return int((aware - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * 1_000_000
