from __future__ import annotations

import pytest

from serving.api.rate_limit import RateLimiter


def granted(limits: RateLimiter, key: str, now: float, asked: int) -> int:
    return sum(limits.acquire(key, now) == 0 for _ in range(asked))


def test_a_minutes_share_may_come_at_once_and_no_more() -> None:
    limits = RateLimiter(60)
    assert granted(limits, "a", 0.0, 100) == 60
    assert limits.acquire("a", 0.0) == pytest.approx(1.0)


def test_tokens_come_back_evenly_and_never_more_than_the_share() -> None:
    limits = RateLimiter(60)
    granted(limits, "a", 0.0, 60)
    assert granted(limits, "a", 2.5, 10) == 2
    assert limits.acquire("a", 2.5) == pytest.approx(0.5)
    assert granted(limits, "a", 10_000.0, 100) == 60


def test_a_minute_of_asking_grants_no_more_than_the_share_and_what_comes_back_meanwhile() -> None:
    limits = RateLimiter(600)
    assert sum(granted(limits, "a", t / 100, 1) for t in range(6_000)) == pytest.approx(1_200, abs=1)


def test_keys_do_not_share_a_bucket() -> None:
    limits = RateLimiter(60)
    granted(limits, "a", 0.0, 60)
    assert limits.acquire("b", 0.0) == 0


def test_workers_grant_together_what_one_would() -> None:
    workers = [RateLimiter(60, 4) for _ in range(4)]
    assert sum(granted(limits, "a", 0.0, 60) for limits in workers) == 60


def test_who_waits_as_told_is_granted() -> None:
    limits = RateLimiter(1, 64)  # a share of less than one request
    assert limits.acquire("a", 0.0) == 0
    wait = limits.acquire("a", 1.0)
    assert limits.acquire("a", 1.0 + wait - 1.0) > 0
    assert limits.acquire("a", 1.0 + wait) == pytest.approx(0.0, abs=1e-6)
