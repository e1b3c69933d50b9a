"""E-mail by SMTP, one message at a time, in three steps that tell a refusal from an unknown answer.

Python's `sendmail` does not separate the two: a connection lost after the last byte looks like one lost before it.
"""

from __future__ import annotations

import contextlib
import os
import re
import smtplib
import ssl
from collections.abc import Iterator

from features.core.errors import DeliveryError, GarrisonError
from features.settings import Email
from monitoring.notifications.connections import check_silence, limit_time
from monitoring.notifications.email_message import (
    AnswerUnknown,
    MessageRefused,
    OutgoingMessage,
    compose_email,
    hide_recipient,
    parse_sender,
)

# Seconds to wait for any answer, and for the last one (RFC 5321, 4.5.3.2.6): the longer, the less in doubt.
_TIMEOUT, _LAST_TIMEOUT = 30, 600
# Seconds for all that comes before the last dot: a server that answers byte by byte holds nobody up for longer.
_PATIENCE = 240
_FAILURES = (OSError, smtplib.SMTPException)
_HINT = "All messages stay in the outbox; run `python -m monitoring deliver` again once that is mended"


class SmtpSession:
    """An open SMTP session, logged in."""

    def __init__(self, smtp: smtplib.SMTP) -> None:
        self._smtp = smtp
        self._is_midway = False

    def prepare(self, sender: str, recipient: str) -> None:
        """Send all that comes before the message: MAIL, RCPT and DATA.

        Raises:
            MessageRefused: The server does not take it, or the connection was lost.
        """
        try:
            with limit_time(self._smtp.sock, _PATIENCE):
                self._smtp.ehlo_or_helo_if_needed()
                _check(self._smtp.mail(sender))
                _check(self._smtp.rcpt(recipient))
                _check(self._smtp.docmd("DATA"), wanted=3)
            self._is_midway = True
        except _FAILURES as error:
            raise MessageRefused(f"the connection was lost: {type(error).__name__}") from error

    def transfer(self, content: bytes) -> None:
        """Send the message but for the dot that ends it: the server can't have accepted it yet.

        Raises:
            MessageRefused: The connection was lost.
        """
        try:
            with limit_time(self._smtp.sock, _PATIENCE):
                # RFC 5321, 4.5.2: a dot that begins a line is doubled, one alone ends the message.
                self._smtp.send(re.sub(rb"(?m)^\.", b"..", content.removesuffix(b"\r\n") + b"\r\n"))
        except _FAILURES as error:
            raise MessageRefused(f"the connection was lost: {type(error).__name__}") from error

    def commit(self) -> None:
        """Send the dot that ends the message, and wait for the server's answer.

        Raises:
            MessageRefused: The server did not take the message, or had hung up before the dot left this machine.
            AnswerUnknown: The connection was lost before the answer.
        """
        try:
            check_silence(self._smtp.sock)
            self._set_timeout(_LAST_TIMEOUT)
            self._smtp.send(b".\r\n")
        except _FAILURES as error:
            # The end did not even leave this machine, so no server can have accepted the message.
            raise MessageRefused(f"the connection was lost: {type(error).__name__}") from error
        try:
            with limit_time(self._smtp.sock, _LAST_TIMEOUT):
                answer = self._smtp.getreply()
        except _FAILURES as error:
            raise AnswerUnknown("the connection was lost before the server's answer") from error
        self._is_midway = False
        _check(answer)
        self._set_timeout(_TIMEOUT)

    def close(self) -> None:
        """End the session; in the midst of a message just hang up, and the server forgets the message."""
        if self._is_midway:
            self._smtp.close()
        else:
            _quit(self._smtp)

    def _set_timeout(self, seconds: int) -> None:
        if self._smtp.sock is not None:
            self._smtp.sock.settimeout(seconds)


class EmailChannel:
    """Messages by e-mail, over one SMTP session while it lasts."""

    name = "email"

    def __init__(self, email: Email) -> None:
        self._email = email
        self._sender = parse_sender(email.sender)
        self._session: SmtpSession | None = None

    def prepare(self, message: OutgoingMessage) -> None:
        """Connect where needed, and announce the message."""
        compose_email(message, self._email.sender)  # one that can't be written is not announced
        if self._session is None:
            self._session = _open(self._email)
        with self._closing_on_failure(message):
            self._session.prepare(self._sender, message.recipient)

    def transfer(self, message: OutgoingMessage) -> None:
        """Send the message but for its end."""
        with self._closing_on_failure(message) as session:
            session.transfer(compose_email(message, self._email.sender))

    def commit(self, message: OutgoingMessage) -> None:
        """Send the message's end, and wait for the server's answer."""
        with self._closing_on_failure(message) as session:
            session.commit()

    def close(self) -> None:
        """Hang up."""
        if self._session is not None:
            self._session.close()
            self._session = None

    @contextlib.contextmanager
    def _closing_on_failure(self, message: OutgoingMessage) -> Iterator[SmtpSession]:
        """Yield the session, and hang up after a refusal or a lost answer, told without the recipient."""
        if self._session is None:
            raise MessageRefused("the session is closed")
        try:
            yield self._session
        except MessageRefused as refusal:
            self.close()
            raise MessageRefused(hide_recipient(str(refusal), message), is_permanent=refusal.is_permanent) from refusal
        except AnswerUnknown as unknown:
            self.close()
            raise AnswerUnknown(hide_recipient(str(unknown), message)) from unknown


def _check(answer: tuple[int, bytes], *, wanted: int = 2) -> None:
    """Raise MessageRefused unless the answer's code is of the hundred wanted."""
    code, text = answer
    if code // 100 != wanted:
        said = f"the server said {code} {text.decode('utf-8', 'replace')}"
        # 421 closes the session, 452 asks to wait: of the hundreds, five alone means never (RFC 5321, 4.2.1).
        raise MessageRefused(said, is_permanent=code // 100 == 5)


def _open(email: Email) -> SmtpSession:
    """Open a session.

    Raises:
        GarrisonError: The environment lacks the user or password.
        DeliveryError: No server answers there, or it refuses the session.
    """
    user, password = _read_secret(email.user_env, "user_env"), _read_secret(email.password_env, "password_env")
    if (user is None) != (password is None):
        raise GarrisonError("alerts.email names only one of user_env and password_env", hint="Name both or neither")
    where = f"{email.host}:{email.port}"
    try:
        return SmtpSession(_connect(email, user, password))
    except smtplib.SMTPAuthenticationError as error:
        raise DeliveryError(
            f"the SMTP server {where} refuses the user and password", found=f"code {error.smtp_code}", hint=_HINT
        ) from None
    except smtplib.SMTPException as error:
        why = f"{type(error).__name__}, with alerts.email.security = {email.security!r}"
        raise DeliveryError(f"the SMTP server {where} refuses the session", found=why, hint=_HINT) from None
    except OSError as error:
        why = str(error) or type(error).__name__
        raise DeliveryError(f"no SMTP server can be reached at {where}", found=why, hint=_HINT) from None


def _connect(email: Email, user: str | None, password: str | None) -> smtplib.SMTP:
    """Connect, secure the line as the settings say, and log in; certificates are verified."""
    if email.security == "tls":
        context = ssl.create_default_context()
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(email.host, email.port, timeout=_TIMEOUT, context=context)
    else:
        smtp = smtplib.SMTP(email.host, email.port, timeout=_TIMEOUT)
    try:
        if email.security == "starttls":
            smtp.starttls(context=ssl.create_default_context())
        if user and password:
            smtp.login(user, password)
    except _FAILURES:
        _quit(smtp)
        raise
    return smtp


def _quit(smtp: smtplib.SMTP) -> None:
    with contextlib.suppress(*_FAILURES):
        smtp.quit()
    smtp.close()


def _read_secret(variable: str | None, key: str) -> str | None:
    if variable is None:
        return None
    if not (value := os.environ.get(variable)):
        raise GarrisonError(
            f"alerts.email.{key} names an environment variable that is not set", found=variable, hint="Set it"
        )
    return value
