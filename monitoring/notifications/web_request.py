"""Post JSON to a URL that the settings name, in three steps that tell a refusal from an unknown answer.

The host's addresses are looked up and checked, and the connection goes to one of the very addresses that were: a name
that is looked up again could point elsewhere by then. No redirect is followed, no proxy asked, certificates are
verified, and time and size of the answer are limited.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from features.core.errors import DeliveryError
from monitoring.notifications.connections import limit_time
from monitoring.notifications.email_message import AnswerUnknown, MessageRefused

# Seconds for one answer, for the whole exchange, and bytes of the answer that are read.
_TIMEOUT, _PATIENCE, _MOST = 30, 60, 4_096
_HINT = "All messages stay in the outbox; run `python -m monitoring deliver` again once that is mended"
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True)
class WebAnswer:
    """A server's answer.

    Args:
        status: Of HTTP.
        retry_after: Its Retry-After header, if it has one.
        text: The beginning of its body.
    """

    status: int
    retry_after: str | None
    text: str


class WebRequest:
    """One POST at a time to one URL; `name` is how errors call the channel, since the URL may be a secret.

    Args:
        url: Whole, as `check_webhook_url` takes it.
        name: Of the channel, such as slack.
        allow_private: Whether addresses of private networks and of this machine are taken.
    """

    def __init__(self, url: str, name: str, *, allow_private: bool) -> None:
        parts = urlsplit(url)
        self._host, self._is_secure = parts.hostname or "", parts.scheme == "https"
        self._port = parts.port or (443 if self._is_secure else 80)
        self._netloc = parts.netloc
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._name, self._allow_private = name, allow_private
        self._connection: http.client.HTTPConnection | None = None
        self._last = b""

    def prepare(self) -> None:
        """Look up, check and connect; nothing has been sent after it.

        Raises:
            DeliveryError: An address that must not be connected to, none that answers, or a wrong certificate.
        """
        self.close()
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise self._trouble("its host can't be looked up", error.strerror or type(error).__name__) from None
        addresses = list(dict.fromkeys(str(address[4][0]) for address in found))
        for address in addresses:
            if not is_allowed(address, allow_private=self._allow_private):
                raise self._trouble(
                    "its host has an address that nothing may be posted to",
                    address,
                    hint=f"Private networks are for alerts.{self._name}.allow_private = true alone",
                )
        self._connection = http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT)
        self._connection.sock = self._connect(addresses)

    def transfer(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Send the request but for its last byte: no server can have taken it yet.

        Raises:
            MessageRefused: The connection was lost.
        """
        with self._losing_connection() as connection:
            connection.putrequest("POST", self._target, skip_host=True, skip_accept_encoding=True)
            fixed = {"Host": self._netloc, "Content-Type": "application/json", "User-Agent": "Garrison"}
            for key, value in {**fixed, "Content-Length": str(len(body)), "Connection": "close", **headers}.items():
                connection.putheader(key, value)
            connection.endheaders()
            connection.send(body[:-1])
        self._last = body[-1:]

    def commit(self) -> WebAnswer:
        """Send the last byte and return the answer.

        Raises:
            MessageRefused: The last byte did not leave this machine.
            AnswerUnknown: The connection was lost before the answer.
        """
        with self._losing_connection() as connection:
            connection.send(self._last)
        try:
            with limit_time(connection.sock, _PATIENCE):
                answer = connection.getresponse()
                text = answer.read(_MOST).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise AnswerUnknown(f"the connection was lost before the answer: {type(error).__name__}") from error
        finally:
            self.close()
        return WebAnswer(answer.status, answer.headers.get("Retry-After"), text)

    def close(self) -> None:
        """Hang up; a request without its end is none."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self, addresses: list[str]) -> socket.socket:
        reason = "no address"
        for address in addresses:
            try:
                plain = socket.create_connection((address, self._port), timeout=_TIMEOUT)
            except OSError as error:
                reason = error.strerror or type(error).__name__
                continue
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if not self._is_secure:
                return plain
            try:
                with limit_time(plain, _PATIENCE):
                    return ssl.create_default_context().wrap_socket(plain, server_hostname=self._host)
            except ssl.SSLCertVerificationError as error:
                plain.close()
                raise self._trouble("its certificate is not one to trust", error.verify_message) from None
            except OSError as error:
                plain.close()
                raise self._trouble("it does not speak TLS", type(error).__name__) from None
        raise self._trouble("it can't be reached", reason)

    @contextlib.contextmanager
    def _losing_connection(self) -> Iterator[http.client.HTTPConnection]:
        if self._connection is None:
            raise MessageRefused("the connection is closed")
        try:
            with limit_time(self._connection.sock, _PATIENCE):
                yield self._connection
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise MessageRefused(f"the connection was lost: {type(error).__name__}") from error

    def _trouble(self, problem: str, found: str, *, hint: str = _HINT) -> DeliveryError:
        return DeliveryError(f"the channel {self._name} takes no messages: {problem}", found=found, hint=hint)


def is_allowed(address: str, *, allow_private: bool) -> bool:
    """Return whether a request may go to an address: to public ones, and where the settings say so to private ones.

    Examples:
        >>> is_allowed("93.184.216.34", allow_private=False)
        True
        >>> [is_allowed(a, allow_private=False) for a in ("10.0.0.1", "169.254.169.254", "::ffff:10.0.0.1")]
        [False, False, False]
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if inner := ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None):
            return is_allowed(str(inner), allow_private=allow_private)
        if ip in _NAT64:
            return is_allowed(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)), allow_private=allow_private)
    if ip.is_multicast or ip.is_unspecified:
        return False
    if ip.is_global and not ip.is_reserved:
        return True
    return allow_private and (ip.is_private or ip.is_loopback or ip.is_link_local)
