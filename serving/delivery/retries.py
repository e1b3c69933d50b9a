"""Retry outgoing requests and records: one policy for all destinations, on stamina."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import stamina
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from serving.delivery.destination import StoppedError

_log = logging.getLogger("garrison.delivery")
_BUSY = frozenset({429, 500, 502, 503, 504})
# Seconds: the longest wait of our own, and the longest that a server may impose.
_LONGEST, _LONGEST_IMPOSED = 60.0, 900.0

Result = TypeVar("Result")


class RetryableError(Exception):
    """Something may succeed at another try.

    Args:
        who: The destination.
        cause: Why it did not succeed, in a few words.
        retry_after: Seconds that the server asks to wait; 0 where it asks for none.
    """

    def __init__(self, who: str, cause: str, retry_after: float = 0.0) -> None:
        super().__init__(f"{who}: {cause}")
        self.who, self.cause, self.retry_after = who, cause, retry_after


@dataclass(frozen=True)
class RetryPolicy:
    """How often to try, and how long to wait in between.

    The wait doubles with each try, up to a minute, with a jitter of up to the first wait. Where a server sends
    Retry-After, the wait is as long as that says.

    Args:
        tries: In all, at least 1.
        first_wait: Seconds before the second try.
    """

    tries: int
    first_wait: float

    def call(self, function: Callable[[], Result]) -> Result:
        """Call a function again after each `RetryableError`, until it returns.

        Raises:
            RetryableError: That of the last try.
        """
        set_on_retry_hooks([_log_retry])  # stamina's own hooks print its internals, and count for Prometheus
        caller = stamina.RetryingCaller(
            attempts=self.tries,
            timeout=None,
            wait_initial=self.first_wait,
            wait_max=_LONGEST,
            wait_jitter=self.first_wait,
        )
        return caller(_choose_wait, function)

    def request(self, who: str, send: Callable[[], Result], no_answer: tuple[type[Exception], ...]) -> Result:
        """Send a request again until the answer is not "busy".

        Args:
            who: The destination, for the error.
            send: Makes one request; its response has `status_code` and `headers`.
            no_answer: What `send` raises when there is no answer.

        Raises:
            StoppedError: All tries were in vain, or the server asks for a wait of more than 15 minutes.
        """
        try:
            return self.call(lambda: _send(who, send, no_answer))
        except RetryableError as error:
            raise StoppedError(
                f"{who} did not answer in {self.tries} tries", found=error.cause, hint="Run it again later"
            ) from error


def _send(who: str, send: Callable[[], Result], no_answer: tuple[type[Exception], ...]) -> Result:
    try:
        response: Any = send()
    except no_answer as error:
        raise RetryableError(who, type(error).__name__) from error
    if response.status_code not in _BUSY:
        return response
    cause, wait = f"HTTP {response.status_code}", parse_retry_after(response.headers.get("Retry-After"))
    if wait > _LONGEST_IMPOSED:
        raise StoppedError(f"{who} asks to be left alone for {wait:.0f} s", found=cause, hint="Run it again later")
    raise RetryableError(who, cause, wait)


def _choose_wait(error: Exception) -> bool | float:
    """Return whether to try again, or after how many seconds where the server says it."""
    return isinstance(error, RetryableError) and (error.retry_after or True)


def _log_retry(details: RetryDetails) -> None:
    _log.warning("%s; trying again in %.1f s", details.caused_by, details.wait_for)


def parse_retry_after(header: str | None) -> float:
    """Return the seconds to wait that a header gives, as a number or as a date; 0 without one."""
    if not header:
        return 0.0
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
