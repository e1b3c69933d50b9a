from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from serving.api import access_log
from serving.api.access_log import AccessLog
from tests.support.waiting import wait_until


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AccessLog]:
    made = AccessLog(tmp_path / "audit")
    yield made
    made.close()


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in sorted(folder.glob("*")) for line in file.read_bytes().splitlines()]


def test_a_line_says_who_asked_for_whom_and_nothing_personal(log: AccessLog, tmp_path: Path) -> None:
    log.record("0123456789ab", "score", 200, ["A-1", 'B"\n', None, "x" * 5_000])
    log.close()
    (line,) = lines(tmp_path / "audit")
    assert datetime.fromisoformat(line.pop("at")).tzinfo is UTC
    assert line == {
        "key": "0123456789ab",
        "route": "score",
        "status": 200,
        "count": 4,
        "accounts": ["A-1", 'B"\n', None, "x" * 200],
    }


def test_lines_are_on_disk_within_seconds_without_a_close(log: AccessLog, tmp_path: Path) -> None:
    log.record("k", "score", 200, [])
    wait_until(lambda: lines(tmp_path / "audit"))


def test_a_file_is_a_days_and_a_workers_and_its_owners_alone(log: AccessLog, tmp_path: Path) -> None:
    log.record("k", "score", 200, [])
    log.close()
    (file,) = (tmp_path / "audit").iterdir()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d\.\d+\.jsonl", file.name)
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_new_day_begins_a_new_file(log: AccessLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime(2999, 1, 1, tzinfo=tz)

    log.record("k", "score", 200, [])
    wait_until(lambda: lines(tmp_path / "audit"))
    monkeypatch.setattr(access_log, "datetime", Tomorrow)
    log.record("k", "score", 200, [])
    log.close()
    assert sorted(file.name[:4] for file in (tmp_path / "audit").iterdir())[1] == "2999"


def test_what_the_disk_does_not_take_is_kept_and_written_once_it_does(log: AccessLog, tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    folder.write_text("in the way")
    for i in range(3):
        log.record("k", "score", 200, [str(i)])
    time.sleep(2 * access_log.WRITE_SECONDS)  # let it fail
    folder.unlink()
    log.record("k", "score", 200, ["3"])
    wait_until(lambda: folder.is_dir() and len(lines(folder)) == 4)
    assert [line["accounts"] for line in lines(folder)] == [["0"], ["1"], ["2"], ["3"]]


def test_a_queue_that_nobody_empties_is_full_until_it_is(
    log: AccessLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_log, "MAX_WAITING_BYTES", 1_000)
    (tmp_path / "audit").write_text("in the way")
    assert not log.is_full
    for _ in range(20):
        log.record("k", "score", 200, ["A-1"])
    assert log.is_full
    time.sleep(2 * access_log.WRITE_SECONDS)
    assert log.is_full
    (tmp_path / "audit").unlink()
    wait_until(lambda: not log.is_full)
    assert len(lines(tmp_path / "audit")) == 20
