"""Limits how many requests each key may send."""

from __future__ import annotations

from serving.pacing import TokenBucket


class RateLimiter:
    """One worker's share of the requests that each key may send.

    A worker knows nothing of the others. It grants its even share, so that all of them together never grant more.

    Args:
        per_minute: Requests of one key in a minute, all workers together; as many may come at once.
        workers: Processes that share the port.
    """

    def __init__(self, per_minute: int, workers: int = 1) -> None:
        share = per_minute / workers
        self._capacity = max(share, 1.0)
        self._per_second = share / 60
        # By key id; as many entries as there are live keys.
        self._buckets: dict[str, TokenBucket] = {}

    def acquire(self, key_id: str, now: float) -> float:
        """Take a token of a key.

        Args:
            key_id: The key's id.
            now: Seconds, by a clock that never goes back.

        Returns:
            0.0 if there was a token; else the seconds until there will be one.
        """
        bucket = self._buckets.get(key_id)
        if bucket is None:
            bucket = self._buckets[key_id] = TokenBucket(self._capacity, self._per_second, now)
        wait = bucket.compute_wait(now)
        if not wait:
            bucket.take()
        return wait
