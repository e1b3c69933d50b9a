"""Messages of the outbox: their fields, their bytes as e-mail, and the two ways in which sending one can fail."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, getaddresses

from features.core.addresses import parse_address
from features.core.errors import GarrisonError
from features.core.safe_line import to_safe_line

# Only 7-bit bytes, so that any server takes it.
_WIRE = SMTP.clone(cte_type="7bit")
_LONGEST_SUBJECT = 300


class MessageRefused(Exception):  # noqa: N818  # an answer, not an error of ours
    """The message was certainly not accepted; it may be tried again.

    Args:
        reason: What the other side said.
        is_permanent: Whether it would say the same the next time.
        retry_after: Seconds for which the channel wants no message at all; None where it did not say.
    """

    def __init__(self, reason: str, *, is_permanent: bool = False, retry_after: float | None = None) -> None:
        self.is_permanent, self.retry_after = is_permanent, retry_after
        super().__init__(reason)


class AnswerUnknown(Exception):  # noqa: N818  # likewise
    """The message may have been accepted or not: the server's answer was lost."""


@dataclass(frozen=True)
class OutgoingMessage:
    """One message of the outbox, for one recipient.

    Args:
        id: Of its row; the same each time it is sent.
        recipient: Its one address.
        subject: One line.
        body: Plain text.
        created_at: In µs.
        html: The same as the body, for mail programs that show it.
        kind: Of the message: opened, held and so on.
        account_id: That it is about, if it is about one.
        run: The held run that it is about, if it is about one.
    """

    id: str
    recipient: str
    subject: str
    body: str
    created_at: int
    html: str | None = None
    kind: str = ""
    account_id: str | None = None
    run: str | None = None


def compose_email(message: OutgoingMessage, sender: str) -> bytes:
    """Compose the message as RFC 5322 says, in 7 bits; the same message gives the same bytes each time.

    Raises:
        MessageRefused: It can't be an e-mail message, whatever the server says.
    """
    mail = EmailMessage(policy=_WIRE)
    domain = parse_sender(sender).rpartition("@")[2]
    try:
        mail["From"] = sender
        mail["To"] = message.recipient
        mail["Subject"] = to_safe_line(message.subject, _LONGEST_SUBJECT)
        mail["Date"] = format_datetime(datetime.fromtimestamp(message.created_at // 1_000_000, UTC))
        # Named after the outbox row: a mail system that sees it twice can tell that it is one message.
        mail["Message-ID"] = f"<{message.id}@{domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.body, cte="quoted-printable")
        if message.html is not None:
            mail.add_alternative(message.html, subtype="html", cte="quoted-printable")
            mail.set_boundary(hashlib.sha256(f"{message.body}\x00{message.html}".encode()).hexdigest()[:40])
        return mail.as_bytes()
    except (ValueError, LookupError, TypeError) as error:
        raise MessageRefused(f"it can't be written as e-mail: {type(error).__name__}", is_permanent=True) from error


def hide_recipient(text: str, message: OutgoingMessage) -> str:
    """Return the text on one line, without the recipient, whom servers like to repeat."""
    return " ".join(text.replace(message.recipient, "the owner").split())[:300]


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
