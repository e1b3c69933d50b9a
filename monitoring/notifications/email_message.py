"""A message as it leaves the house: what it is, its bytes on the wire, and how an offer of it can end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, getaddresses

from features.core.errors import GarrisonError
from monitoring.alerts.routing import address

# Only 7-bit bytes, so that any server takes it.
_WIRE = SMTP.clone(cte_type="7bit")


class Refused(Exception):  # noqa: N818  # an answer, not an error of ours
    """The message was certainly not accepted; it may be tried again."""


class Unknown(Exception):  # noqa: N818  # likewise
    """The message may have been accepted or not: nobody can tell from here."""


@dataclass(frozen=True)
class Message:
    """One message of the outbox, for one recipient; `created_at` in µs."""

    id: str
    recipient: str
    subject: str
    body: str
    created_at: int


def compose(message: Message, sender: str) -> bytes:
    """The message as it goes over the wire: RFC 5322, 7 bit, the same bytes each time it is composed."""
    mail = EmailMessage(policy=_WIRE)
    domain = plain_sender(sender).rpartition("@")[2]
    mail["From"] = sender
    mail["To"] = message.recipient
    mail["Subject"] = message.subject
    mail["Date"] = format_datetime(datetime.fromtimestamp(message.created_at // 1_000_000, UTC))
    # Named after the outbox row: a mail system that sees it twice can tell that it is one message.
    mail["Message-ID"] = f"<{message.id}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.body, cte="quoted-printable")
    return mail.as_bytes()


def plain_sender(sender: str) -> str:
    """The one address in a sender such as "Garrison <alerts@example.com>".

    Raises:
        GarrisonError: It is no such thing.
    """
    among = getaddresses([sender])
    plain = address(among[0][1]) if len(among) == 1 and sender.isprintable() else None
    if plain is None:
        raise GarrisonError(
            "alerts.email.sender is not an e-mail address",
            found=repr(sender),
            hint='Write it as alerts@example.com or "Garrison <alerts@example.com>"',
        )
    return plain
