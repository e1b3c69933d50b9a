"""Sign people in by links that come by mail: each can be used once, for some minutes; its hash alone is stored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.core.timestamps import to_micros
from features.state.console_tables import CONSOLE_LINKS
from features.state.database import Store
from features.state.message_states import PENDING
from features.state.tables import OUTBOX
from monitoring.console.sign_in.sessions import create_token, hash_token

PATH = "/sign-in/link/"
# Links for one address in an hour.
MOST_AN_HOUR = 5
_HOUR = 3_600_000_000
_MINUTE = 60_000_000
_LONGEST_PATH = 2_000
KIND = "sign_in"


class LinkUnusable(GarrisonError):  # noqa: N818  # an answer to the reader, not an error of ours
    """The link was used, is too old, or is not one of ours."""


@dataclass(frozen=True)
class OneTimeLink:
    """What a link stands for.

    Args:
        address: Whom it signs in.
        leads_to: Local path of the page that follows.
    """

    address: str
    leads_to: str


def choose_path(path: str | None) -> str:
    r"""Return a path of this console to go on to; "/" for anything else, such as another site's address.

    Examples:
        >>> choose_path("/inbox?state=open")
        '/inbox?state=open'
        >>> choose_path("//evil.example/"), choose_path("https://evil.example"), choose_path("/\\evil.example")
        ('/', '/', '/')
    """
    text = path or "/"
    is_local = text.startswith("/") and not text.startswith("//") and "\\" not in text and len(text) <= _LONGEST_PATH
    return text if is_local and text.isascii() and text.isprintable() and " " not in text else "/"


def create_link(store: Store, address: str, leads_to: str, *, minutes: int, limited: bool = True) -> str | None:
    """Create a link and return its token; None where the address had enough of them in the last hour.

    Args:
        store: The state database.
        address: Whom it signs in.
        leads_to: Local path of the page that follows.
        minutes: For which it can be used.
        limited: Whether the hourly number counts.
    """
    c, now, token = CONSOLE_LINKS.c, to_micros(datetime.now(UTC)), create_token()
    row = {
        "hash": hash_token(token),
        "address": address.lower(),
        "leads_to": choose_path(leads_to),
        "created_at": now,
        "ends_at": now + minutes * _MINUTE,
    }
    recent = sa.select(sa.func.count()).where(c.address == row["address"], c.created_at > now - _HOUR)
    with store.writing() as connection:
        connection.execute(sa.delete(CONSOLE_LINKS).where(c.ends_at < now - 24 * _HOUR))
        if limited and (connection.scalar(recent) or 0) >= MOST_AN_HOUR:
            return None
        connection.execute(sa.insert(CONSOLE_LINKS), row)
    return token


def read_link(connection: sa.Connection, token: str) -> OneTimeLink:
    """Read what a link stands for, without using it: programs that check mails open links too.

    Raises:
        LinkUnusable: It was used, is too old, or is not one of ours.
    """
    c = CONSOLE_LINKS.c
    row = connection.execute(
        sa.select(c.address, c.leads_to, c.used_at, c.ends_at).where(c.hash == hash_token(token))
    ).first()
    if row is None:
        raise LinkUnusable("This link is not one of ours, or not whole.")
    if row.used_at is not None:
        raise LinkUnusable("This link has been used: it signs in once.")
    if row.ends_at <= to_micros(datetime.now(UTC)):
        raise LinkUnusable("This link is too old.")
    return OneTimeLink(row.address, row.leads_to)


def use_link(connection: sa.Connection, token: str) -> OneTimeLink:
    """Use a link up, in the transaction that signs in.

    Raises:
        LinkUnusable: It was used, is too old, or is not one of ours.
    """
    link, c = read_link(connection, token), CONSOLE_LINKS.c
    used = sa.update(CONSOLE_LINKS).where(c.hash == hash_token(token), c.used_at.is_(None))
    if connection.execute(used.values(used_at=to_micros(datetime.now(UTC)))).rowcount != 1:
        raise LinkUnusable("This link has been used: it signs in once.")
    return link


def write_message(store: Store, address: str, subject: str, body: str, *, minutes: int) -> None:
    """Write a message with a link into the outbox; it is no news once the link is too old."""
    now = to_micros(datetime.now(UTC))
    row = {
        "id": f"{KIND}-{create_token()[:16]}",
        "kind": KIND,
        "recipient": address,
        "subject": subject,
        "body": body,
        "state": PENDING,
        "attempts": 0,
        "position": 0,
        "created_at": now,
        "next_try_at": now,
        "expires_at": now + minutes * _MINUTE,
    }
    with store.writing() as connection:
        connection.execute(sa.insert(OUTBOX), row)
