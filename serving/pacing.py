"""Limits on how often something happens: a token bucket, and an interval that says when it is over."""

from __future__ import annotations

import time


class TokenBucket:
    """A bucket that fills evenly and starts full; whoever wants to act takes a token first.

    Args:
        capacity: Tokens that it holds at most, `1 <= capacity`.
        per_second: Tokens that flow in, `0 < per_second`.
        now: Seconds, by a clock that never goes back.
    """

    __slots__ = ("_capacity", "_counted_at", "_per_second", "_tokens")

    def __init__(self, capacity: float, per_second: float, now: float) -> None:
        self._capacity, self._per_second = capacity, per_second
        self._tokens, self._counted_at = capacity, now

    def compute_wait(self, now: float) -> float:
        """Return the seconds until there is a token; 0.0 if there is one."""
        self._tokens = min(self._capacity, self._tokens + (now - self._counted_at) * self._per_second)
        self._counted_at = now
        return 0.0 if self._tokens >= 1.0 else (1.0 - self._tokens) / self._per_second

    def take(self) -> None:
        """Remove a token; call it only after `compute_wait` has returned 0.0."""
        self._tokens -= 1.0


class DueTimer:
    """An interval that is due once its seconds have passed, and from the beginning if it was never started.

    Args:
        seconds: Length of the interval.
        started_at: Its beginning, by `time.monotonic`.
    """

    __slots__ = ("_due_at", "_seconds")

    def __init__(self, seconds: float, started_at: float = float("-inf")) -> None:
        self._seconds = seconds
        self._due_at = started_at + seconds

    @property
    def is_due(self) -> bool:
        """Return whether the interval is over."""
        return time.monotonic() > self._due_at

    @property
    def seconds_left(self) -> float:
        """Return the seconds until it is due; 0.0 if it is."""
        return max(0.0, self._due_at - time.monotonic())

    def restart(self, started_at: float | None = None) -> None:
        """Begin the interval anew.

        Args:
            started_at: Its beginning, by `time.monotonic`; by default now.
        """
        self._due_at = (time.monotonic() if started_at is None else started_at) + self._seconds
