"""E-mail messages: their fields, their bytes, and the two ways in which sending can fail."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, getaddresses

from features.core.errors import GarrisonError
from monitoring.alerts.routing import parse_address

# Only 7-bit bytes, so that any server takes it.
_WIRE = SMTP.clone(cte_type="7bit")


class MessageRefused(Exception):  # noqa: N818  # an answer, not an error of ours
    """The message was certainly not accepted; it may be tried again."""


class AnswerUnknown(Exception):  # noqa: N818  # likewise
    """The message may have been accepted or not: the server's answer was lost."""


@dataclass(frozen=True)
class OutgoingMessage:
    """One message of the outbox, for one recipient; `created_at` in µs."""

    id: str
    recipient: str
    subject: str
    body: str
    created_at: int


def compose_email(message: OutgoingMessage, sender: str) -> bytes:
    """Compose the message as RFC 5322 says, in 7 bits; the same message gives the same bytes each time."""
    mail = EmailMessage(policy=_WIRE)
    domain = parse_sender(sender).rpartition("@")[2]
    mail["From"] = sender
    mail["To"] = message.recipient
    mail["Subject"] = message.subject
    mail["Date"] = format_datetime(datetime.fromtimestamp(message.created_at // 1_000_000, UTC))
    # Named after the outbox row: a mail system that sees it twice can tell that it is one message.
    mail["Message-ID"] = f"<{message.id}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.body, cte="quoted-printable")
    return mail.as_bytes()


def parse_sender(sender: str) -> str:
    """Return the one address in a sender such as "Garrison <alerts@example.com>".

    Raises:
        GarrisonError: It holds no address, or several.
    """
    among = getaddresses([sender])
    plain = parse_address(among[0][1]) if len(among) == 1 and sender.isprintable() else None
    if plain is None:
        raise GarrisonError(
            "alerts.email.sender is not an e-mail address",
            found=repr(sender),
            hint='Write it as alerts@example.com or "Garrison <alerts@example.com>"',
        )
    return plain
