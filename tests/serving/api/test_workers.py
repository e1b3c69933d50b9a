"""Several real workers on one port: what they share, and what a change or an end does to requests under way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest

from features.state import database
from serving.api import access_log, auth
from serving.api.launch import check_port_free
from serving.api.state import REFRESH_SECONDS
from serving.batch import run
from serving.scoring.score_table import Explain
from tests.support.waiting import wait_until
from training.registry import promotion_log
from training.registry.promotion_log import Promotion

GROWTH = 24 * 2**20  # bytes that a worker may grow by in the short soak


@pytest.fixture(scope="module")
def company(copied: Any, now: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, str]:
    """One of this module's own, scored, and a key that may ask as often as it likes."""
    harbour = copied(tmp_path_factory.mktemp("workers") / "harbour")
    with harbour.config.open("a") as file:
        file.write("\n[serving]\nper_minute = 1000000\n")
    run.score_accounts(harbour.settings, None, as_of=now, explain=Explain.NONE)
    with database.open(harbour.settings) as opened:
        return harbour, auth.create_key(opened, "tests")


@pytest.fixture(scope="module")
def two(company: tuple[Any, str], start: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A service of two workers."""
    harbour, key = company
    with start(harbour, key, tmp_path_factory.mktemp("two") / "log", workers=2) as found:
        wait_until(lambda: len(workers(found)) == 2)
        yield found


@pytest.fixture(scope="module")
def one(company: tuple[Any, str], start: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A service of one worker; the last test ends it."""
    harbour, key = company
    with start(harbour, key, tmp_path_factory.mktemp("one") / "log") as found:
        yield found


def workers(served: Any) -> list[psutil.Process]:
    return psutil.Process(served.process.pid).children()


def asked(served: Any, **rest: Any) -> httpx.Response:
    """One request on a connection of its own."""
    headers = {"authorization": f"Bearer {served.key}"}
    return httpx.request(
        rest.pop("method", "GET"), served.url + rest.pop("path", "/v1/model"), headers=headers, timeout=30, **rest
    )


def test_workers_share_the_port_and_tell_of_each_other(two: Any) -> None:
    files = access_log.access_log_folder(two.harbour.settings)
    before = set(files.glob("*"))
    sent = 0

    def both() -> bool:
        nonlocal sent
        sent += 1
        assert asked(two).status_code == 200
        return len(set(files.glob("*")) - before) == 2

    wait_until(both)

    def counted() -> float:
        text = asked(two, path="/metrics").text
        (line,) = [x for x in text.splitlines() if x.startswith('garrison_requests_total{route="model",status="200"}')]
        return float(line.split()[-1])

    wait_until(lambda: counted() == sent)
    assert {counted() for _ in range(10)} == {sent}


def test_a_new_champion_takes_over_and_no_request_is_dropped(two: Any) -> None:
    artifacts, over = two.harbour.settings.paths.mlruns / "artifacts", threading.Event()
    shutil.copytree(artifacts / "churn", artifacts / "churn-2")
    seen: Counter[tuple[int, str]] = Counter()
    troubles: list[Exception] = []

    def hammer() -> None:
        headers = {"authorization": f"Bearer {two.key}"}
        while not over.is_set():  # a connection a hundred requests: both workers are met
            with httpx.Client(base_url=two.url, headers=headers, timeout=30) as client:
                for _ in range(100):
                    try:
                        response = client.post("/v1/score", json={"accounts": ["A-003"], "detail": "scores"})
                        item = response.json()["results"][0]
                        seen[response.status_code, item["scores"]["churn_90d"]["model"]] += 1
                        time.sleep(0.02)  # two hundred requests a second are enough
                    except (httpx.HTTPError, KeyError) as error:
                        troubles.append(error)

    threads = [threading.Thread(target=hammer) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: seen[200, "churn-1"] > 200)
    made = Promotion(promotion_log.format_now(), "promote", "churn", "churn-2", "run-2", "artifacts/churn-2", "a test")
    promotion_log.append_promotion(two.harbour.settings, made)
    wait_until(lambda: seen[200, "churn-2"] > 200)

    def settled() -> bool:
        before = seen[200, "churn-1"]
        time.sleep(0.5)
        return seen[200, "churn-1"] == before

    wait_until(settled, seconds=4 * REFRESH_SECONDS)
    over.set()
    for thread in threads:
        thread.join()
    assert not troubles
    assert set(seen) == {(200, "churn-1"), (200, "churn-2")}


def test_a_worker_that_dies_is_replaced_and_what_it_counted_is_not_lost(two: Any) -> None:
    for _ in range(20):
        asked(two)
    time.sleep(1.5)  # it tells the others every second
    os.kill(workers(two)[0].pid, signal.SIGKILL)
    wait_until(lambda: len(workers(two)) == 2 and asked(two).status_code == 200)
    text = asked(two, path="/metrics").text
    (line,) = [x for x in text.splitlines() if x.startswith('garrison_requests_total{route="model",status="200"}')]
    assert float(line.split()[-1]) >= 20


def test_workers_end_with_their_supervisor_and_the_port_is_free(two: Any) -> None:
    left = workers(two)
    assert left
    two.process.kill()
    wait_until(lambda: not any(worker.is_running() for worker in left))
    check_port_free("127.0.0.1", httpx.URL(two.url).port)


def test_some_thousand_requests_leave_no_memory_behind(one: Any) -> None:
    (worker,) = workers(one)
    ids = [row["account_id"] for row in one.harbour.rows["accounts"]]
    headers = {"authorization": f"Bearer {one.key}"}
    with httpx.Client(base_url=one.url, headers=headers, timeout=30) as client:

        def ask(count: int) -> int:
            for i in range(count):
                body = {"accounts": [ids[i % len(ids)]], "detail": "scores"}
                assert client.post("/v1/score", json=body).status_code == 200
            return int(worker.memory_info().rss)

        warm = ask(1_000)
        assert ask(3_000) - warm < GROWTH


def test_a_request_under_way_is_answered_before_the_service_ends(one: Any) -> None:
    body = json.dumps({"accounts": [one.harbour.posted("A-003")], "as_of": "2024-01-01"}).encode()
    host, port = one.url.removeprefix("http://").split(":")
    head = [
        "POST /v1/score HTTP/1.1",
        "host: x",
        f"authorization: Bearer {one.key}",
        "content-type: application/json",
        f"content-length: {len(body)}",
    ]
    with socket.create_connection((host, int(port)), timeout=30) as line:
        line.sendall("\r\n".join([*head, "", ""]).encode() + body[:100])
        wait_until(lambda: asked(one).status_code == 200)  # so much time has passed for the worker as well
        one.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not answers(one.url))
        line.sendall(body[100:])
        answer = b""
        while more := line.recv(2**16):
            answer += more
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b'"churn_90d"' in answer
    assert one.process.wait(30) == 0
    assert b'"route":"score"' in b"".join(
        f.read_bytes() for f in access_log.access_log_folder(one.harbour.settings).glob("*")
    )
    assert "ERROR" not in one.log.read_text()


def answers(url: str) -> bool:
    try:
        httpx.get(f"{url}/healthz", timeout=0.2)
    except httpx.HTTPError:
        return False
    return True
