"""E-mail: the adapter to Apprise, whose SMTP session connects, secures the line and logs in.

Apprise's own notification is not used: it answers sent or not sent alone, so a connection lost after the last
byte would be sent again; it names each try with a new Message-ID; and it writes recipients into the log.
"""

from __future__ import annotations

import os
import re
import smtplib
from typing import Any

from apprise.plugins.email.smtp import AppriseSMTPController

from features.core.errors import DeliveryError, GarrisonError
from features.settings import Email
from monitoring.notifications.email_message import Message, Refused, Unknown, compose, plain_sender

_MODES = {"starttls": "starttls", "tls": "ssl", "none": "insecure"}
# Seconds to wait for any answer, and for the last one (RFC 5321, 4.5.3.2.6): the longer, the less in doubt.
_PATIENCE, _LAST_PATIENCE = 30, 600
_FAILURES = (OSError, smtplib.SMTPException, RuntimeError)


class Session(AppriseSMTPController):
    """An open SMTP session that tells a refusal from an unknown fate."""

    midway = False

    def offer(self, sender: str, recipient: str) -> None:
        """Everything short of the message: MAIL, RCPT and DATA."""
        try:
            self._socket.ehlo_or_helo_if_needed()
            self._accepted(self._socket.mail(sender))
            self._accepted(self._socket.rcpt(recipient))
            self._accepted(self._socket.docmd("DATA"), wanted=3)
            self.midway = True
        except _FAILURES as error:
            raise Refused(f"the connection was lost: {type(error).__name__}") from error

    def hand_over(self, content: bytes) -> None:
        """The message itself, up to the server's answer."""
        # RFC 5321, 4.5.2: a dot that begins a line is doubled, one alone ends the message.
        stuffed = re.sub(rb"(?m)^\.", b"..", content)
        try:
            self._socket.sock.settimeout(_LAST_PATIENCE)
            self._socket.send(stuffed + b".\r\n")
        except _FAILURES as error:
            # The end did not even leave this machine, so no server can have accepted the message.
            raise Refused(f"the connection was lost: {type(error).__name__}") from error
        try:
            answer = self._socket.getreply()
        except _FAILURES as error:
            raise Unknown("the connection was lost before the server's answer") from error
        self.midway = False
        self._accepted(answer)
        self._socket.sock.settimeout(_PATIENCE)

    def close(self) -> None:
        """Take leave; hang up without a word in the midst of a message, which the server then forgets."""
        if self.midway:
            self._socket.close()
        self.__exit__(None, None, None)

    def _accepted(self, answer: tuple[int, bytes], *, wanted: int = 2) -> None:
        code, text = answer
        if code // 100 != wanted:
            raise Refused(f"the server said {code} {text.decode('utf-8', 'replace')}")


class Mail:
    """Messages by e-mail, over one SMTP session while it lasts."""

    name = "email"
    repeatable = False

    def __init__(self, email: Email) -> None:
        self._email = email
        self._sender = plain_sender(email.sender)
        self._session: Any = None

    def offer(self, message: Message) -> None:
        """Connect where needed, and announce the message."""
        if self._session is None:
            self._session = _connected(self._email)
        try:
            self._session.offer(self._sender, message.recipient)
        except Refused as refusal:
            self.close()
            raise Refused(_unnamed(refusal, message)) from refusal

    def hand_over(self, message: Message) -> None:
        """Send the message and wait for the server's answer."""
        try:
            self._session.hand_over(compose(message, self._email.sender))
        except (Refused, Unknown) as answer:
            self.close()
            raise type(answer)(_unnamed(answer, message)) from answer

    def close(self) -> None:
        """Hang up."""
        if self._session is not None:
            self._session.close()
            self._session = None


def _unnamed(answer: Exception, message: Message) -> str:
    """The answer on one line, without the recipient, whom servers like to repeat."""
    return " ".join(str(answer).replace(message.recipient, "the owner").split())[:300]


def _connected(email: Email) -> Session:
    """An open session.

    Raises:
        GarrisonError: The environment lacks the user or password.
        DeliveryError: No server answers there, or it lets us not in.
    """
    user, password = _secret(email.user_env, "user_env"), _secret(email.password_env, "password_env")
    if (user is None) != (password is None):
        raise GarrisonError("alerts.email names only one of user_env and password_env", hint="Name both or neither")
    session = Session(
        host=email.host,
        port=email.port,
        secure_mode=_MODES[email.security],
        user=user,
        password=password,
        socket_connect_timeout=_PATIENCE,
    )
    do = "All messages stay in the outbox; run `python -m monitoring deliver` again once that is mended"
    where = f"{email.host}:{email.port}"
    try:
        session.__enter__()
    except smtplib.SMTPAuthenticationError as error:
        raise DeliveryError(
            f"the SMTP server {where} refuses the user and password", found=f"code {error.smtp_code}", hint=do
        ) from None
    except smtplib.SMTPException as error:
        why = f"{type(error).__name__}, with alerts.email.security = {email.security!r}"
        raise DeliveryError(f"the SMTP server {where} does not take us in", found=why, hint=do) from None
    except (OSError, RuntimeError) as error:
        there = str(error) or type(error).__name__
        raise DeliveryError(f"no SMTP server can be reached at {where}", found=there, hint=do) from None
    return session


def _secret(variable: str | None, key: str) -> str | None:
    if variable is None:
        return None
    if not (value := os.environ.get(variable)):
        raise GarrisonError(
            f"alerts.email.{key} names an environment variable that is not set", found=variable, hint="Set it"
        )
    return value
