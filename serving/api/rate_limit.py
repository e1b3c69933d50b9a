"""How often a key may ask: a bucket of tokens for each, filled evenly."""

from __future__ import annotations


class RateLimiter:
    """One worker's share of what the keys may ask.

    A worker knows nothing of the others: it grants its even share, so that all of them together never grant more.

    Args:
        per_minute: Requests of one key in a minute, all workers together; as many may come at once.
        workers: Processes that share the port.
    """

    def __init__(self, per_minute: int, workers: int = 1) -> None:
        share = per_minute / workers
        self._most = max(share, 1.0)
        self._rate = share / 60
        # By key id: tokens left, and when they were counted. As many entries as there are live keys.
        self._left: dict[str, tuple[float, float]] = {}

    def acquire(self, key_id: str, now: float) -> float:
        """Take a token.

        Args:
            key_id: Whose.
            now: Seconds, by a clock that only goes forward.

        Returns:
            0.0 where there was one; else the seconds until there will be one.
        """
        left, counted = self._left.get(key_id, (self._most, now))
        left = min(self._most, left + (now - counted) * self._rate)
        granted = left >= 1.0
        self._left[key_id] = (left - 1.0 if granted else left, now)
        return 0.0 if granted else (1.0 - left) / self._rate
