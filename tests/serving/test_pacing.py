from __future__ import annotations

import time

import pytest

from serving.pacing import DueTimer, TokenBucket


def test_a_bucket_starts_full_and_fills_evenly() -> None:
    bucket = TokenBucket(2, 0.5, 100.0)
    for _ in range(2):
        assert bucket.compute_wait(100.0) == 0
        bucket.take()
    assert bucket.compute_wait(100.0) == pytest.approx(2.0)
    assert bucket.compute_wait(101.0) == pytest.approx(1.0)
    assert bucket.compute_wait(102.0) == 0


def test_a_bucket_never_holds_more_than_its_capacity() -> None:
    bucket = TokenBucket(1, 1.0, 0.0)
    assert bucket.compute_wait(1_000.0) == 0
    bucket.take()
    assert bucket.compute_wait(1_000.0) == pytest.approx(1.0)


def test_a_timer_is_due_before_its_first_start_and_after_each_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    timer = DueTimer(5.0)
    assert timer.is_due
    timer.restart()
    assert (timer.is_due, timer.seconds_left) == (False, 5.0)
    now[0] += 5.1
    assert (timer.is_due, timer.seconds_left) == (True, 0.0)
    timer.restart(1_004.0)
    assert timer.seconds_left == pytest.approx(3.9)
