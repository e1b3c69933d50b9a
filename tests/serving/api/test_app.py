from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from features.state import database
from serving.api import access_log, app, auth, request, worker
from serving.api.app import HttpApp
from serving.api.state import ScoringContext
from serving.api.worker import Worker
from serving.batch import run
from serving.scoring import score_table
from serving.scoring.score_table import Explain, ScoreTable
from training.registry import promotion_log
from training.registry.promotion_log import Promotion

SECURE = {"x-content-type-options": "nosniff", "cache-control": "no-store"}
ASKED = {
    "score": ("POST", "/v1/score", {"accounts": ["A-003"]}),
    "events": ("POST", "/v1/events", {}),
    "accounts": ("GET", "/v1/accounts", None),
    "account": ("GET", "/v1/accounts/A-003", None),
    "model": ("GET", "/v1/model", None),
    "metrics": ("GET", "/metrics", None),
}
NEEDED = {
    "score": "score",
    "events": "ingest",
    "accounts": "read",
    "account": "read",
    "model": "read",
    "metrics": "read",
}


async def healthy(_scope: Any, _receive: Any, send: Any) -> None:
    """Where BentoML would answer."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"\n"})


@pytest.fixture(scope="module")
def made(harbour: Any, now: Any) -> Any:
    """A company that has been scored; its worker is each test's own."""
    run.score_accounts(harbour.settings, None, as_of=now, explain=Explain.NONE)
    return harbour


@pytest.fixture
def keys(made: Any) -> dict[str, str]:
    scopes = ("score", "read", "ingest", "admin", "score,read", "score,read,ingest")
    with database.open(made.settings) as opened:
        return {scope: auth.create_key(opened, scope, scope) for scope in scopes}


@pytest.fixture
def worker_(made: Any, keys: dict[str, str]) -> Iterator[Worker]:
    """A worker that knows the keys."""
    assert keys
    HttpApp.worker = Worker(str(made.config))
    yield HttpApp.worker
    assert HttpApp.worker.access_log is not None
    HttpApp.worker.access_log.close()


@asynccontextmanager
async def client(key: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    transport = httpx.ASGITransport(HttpApp(healthy))
    async with httpx.AsyncClient(transport=transport, base_url="http://s", headers=headers) as found:
        yield found


def ask(name: str, key: str | None = None, **rest: Any) -> httpx.Response:
    method, path, body = ASKED[name]

    async def asking() -> httpx.Response:
        async with client(key) as found:
            return await found.request(method, path, **({"json": body} | rest if body is not None else rest))

    return asyncio.run(asking())


def send(method: str, path: str, key: str | None = None, **rest: Any) -> httpx.Response:
    async def asking() -> httpx.Response:
        async with client(key) as found:
            return await found.request(method, path, **rest)

    return asyncio.run(asking())


def read_error(response: httpx.Response) -> tuple[int, str]:
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "details"}
    assert response.headers["content-type"] == "application/json"
    assert SECURE.items() <= dict(response.headers).items()
    return response.status_code, body["error"]["code"]


@pytest.mark.usefixtures("worker_")
@pytest.mark.parametrize("scope", ["score", "read", "ingest", "admin", "score,read,ingest"])
@pytest.mark.parametrize("name", ASKED)
def test_a_key_opens_what_it_has_the_scope_for_and_nothing_else(name: str, scope: str, keys: dict[str, str]) -> None:
    response = ask(name, keys[scope])
    if scope == "admin" or NEEDED[name] in scope.split(","):
        assert response.status_code == 200, response.text
    else:
        assert read_error(response) == (403, "no_scope")
        assert f"the scope {NEEDED[name]}" in response.text


@pytest.mark.usefixtures("worker_")
def test_every_answer_has_the_headers_of_a_careful_server(keys: dict[str, str]) -> None:
    key = keys["admin"]
    answers = [ask(name, key) for name in ASKED] + [ask("score"), send("GET", "/nowhere"), send("PUT", "/v1/model")]
    answers += [send("GET", "/openapi.json"), send("GET", "/healthz"), send("GET", "/readyz")]
    for answer in answers:
        assert SECURE.items() <= dict(answer.headers).items(), answer.url
        assert answer.headers["content-type"]
        assert "server" not in answer.headers


@pytest.mark.usefixtures("worker_")
def test_methods_that_are_not_there_are_refused_with_those_that_are(keys: dict[str, str]) -> None:
    for path, methods in {
        "/v1/score": "POST",
        "/v1/events": "POST",
        "/v1/model": "GET, HEAD",
        "/v1/accounts/A-003": "GET, HEAD",
        "/metrics": "GET, HEAD",
        "/openapi.json": "GET, HEAD",
        "/readyz": "GET, HEAD",
        "/healthz": "GET, HEAD",
    }.items():
        for method in ("DELETE", "OPTIONS", "PATCH", "GET" if methods == "POST" else "POST"):
            response = send(method, path, keys["admin"])
            assert read_error(response) == (405, "method_not_allowed"), (method, path)
            assert response.headers["allow"] == methods
    assert send("HEAD", "/v1/model", keys["read"]).status_code == 200


@pytest.mark.usefixtures("worker_")
def test_paths_that_are_near_a_route_are_none() -> None:
    for path in ("/", "/v1/score/", "/v1/accounts/", "/v1", "/healthz/", "/docs", "/docs.json", "/schema.json"):
        assert read_error(send("GET", path)) == (404, "not_found"), path


@pytest.mark.usefixtures("worker_")
@pytest.mark.parametrize("name", ["score", "events"])
def test_a_body_that_does_not_come_is_not_waited_for(
    name: str, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request, "READ_SECONDS", 0.1)
    method, path, _ = ASKED[name]

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(60)

    began = time.monotonic()
    headers = {"content-type": "application/json"}
    response = send(method, path, keys["admin"], content=slow(), headers=headers)
    assert read_error(response) == (408, "too_slow")
    assert response.headers["connection"] == "close"
    assert time.monotonic() - began < 10


@pytest.mark.usefixtures("worker_")
def test_work_that_takes_too_long_is_given_up(keys: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "WORK_SECONDS", 0.05)
    monkeypatch.setattr(ScoringContext, "get_account", lambda *_: time.sleep(0.5))
    response = ask("account", keys["read"])
    assert read_error(response) == (503, "busy")
    assert response.headers["retry-after"] == "1"


@pytest.mark.usefixtures("worker_")
def test_a_fault_of_ours_is_told_without_a_word_of_what_was_sent(
    keys: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        secret = "A-003 of Boatyard 3"
        raise ValueError(secret)

    monkeypatch.setattr(ScoringContext, "get_account", broken)
    monkeypatch.setattr(app._log, "propagate", True)
    response = ask("account", keys["read"])
    assert read_error(response) == (500, "internal")
    assert "Boatyard" not in response.text
    assert "Traceback" not in response.text
    assert "ValueError" in caplog.text
    assert "broken" in caplog.text  # where it was
    assert "Boatyard" not in caplog.text


def test_a_request_that_breaks_off_is_not_answered_and_counts_as_none(worker_: Worker, keys: dict[str, str]) -> None:
    sent: list[Any] = []

    async def gone() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def sending(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", f"Bearer {keys['score']}".encode()), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/v1/score", "headers": headers}
    asyncio.run(HttpApp(healthy)(scope, gone, sending))
    assert not sent
    assert not worker_.metrics.requests


@pytest.fixture
def few(own_harbour: Any) -> Iterator[tuple[Worker, str]]:
    """A company whose keys may ask three times a minute."""
    with own_harbour.config.open("a") as file:
        file.write("\n[serving]\nper_minute = 3\n")
    with database.open(own_harbour.settings) as opened:
        key = auth.create_key(opened, "few")
    HttpApp.worker = Worker(str(own_harbour.config))
    yield HttpApp.worker, key
    assert HttpApp.worker.access_log is not None
    HttpApp.worker.access_log.close()


def test_a_key_that_asks_too_often_is_told_when_to_come_back(few: tuple[Worker, str]) -> None:
    _, key = few
    assert [ask("model", key).status_code for _ in range(3)] == [200] * 3
    response = ask("model", key)
    assert read_error(response) == (429, "too_many")
    assert 1 <= int(response.headers["retry-after"]) <= 20
    assert read_error(ask("model")) == (401, "no_key")  # who has no key has no bucket


def test_each_request_with_a_key_has_its_line_in_the_audit_log(
    worker_: Worker, made: Any, keys: dict[str, str]
) -> None:
    assert worker_.access_log is not None
    before = len(lines(made.settings))
    ask("score", keys["score"], json={"accounts": ["A-003", made.posted("A-004"), "nobody", 7]})
    ask("account", keys["read"])
    ask("model", keys["score"])
    ask("score")
    worker_.access_log.close()
    found = lines(made.settings)[before:]
    ids = {scope: key.split("_")[1] for scope, key in keys.items()}
    assert [(line["route"], line["status"], line["key"], line["count"]) for line in found] == [
        ("score", 200, ids["score"], 4),
        ("account", 200, ids["read"], 1),
        ("model", 403, ids["score"], 0),
    ]
    assert found[0]["accounts"] == ["A-003", "A-004", "nobody", None]
    assert "Boatyard" not in json.dumps(found)


def lines(settings: Any) -> list[dict[str, Any]]:
    files = sorted(access_log.access_log_folder(settings).glob("*"), key=lambda file: file.stat().st_mtime)
    return [json.loads(line) for file in files for line in file.read_text().split("\n") if line]


def test_nothing_is_scored_that_can_not_be_written_down(
    worker_: Worker, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert worker_.access_log is not None
    assert ask("score", keys["score"]).status_code == 200
    monkeypatch.setattr(access_log, "MAX_WAITING_BYTES", 0)
    assert read_error(ask("score", keys["score"])) == (503, "unavailable")


def test_figures_tell_of_what_was_asked(worker_: Worker, made: Any, keys: dict[str, str]) -> None:
    posted = made.posted("A-003")
    posted["account"] = posted["account"] | {"region": "moon"}
    ask("score", keys["score"], json={"accounts": ["A-003", posted], "detail": "scores", "as_of": "2024-01-01"})
    send("POST", "/v1/score", keys["score"], content=b"{", headers={"content-type": "application/json"})
    ask("model")
    text = ask("metrics", keys["read"]).text
    for line in (
        'garrison_requests_total{route="score",status="200"} 1.0',
        'garrison_requests_total{route="score",status="400"} 1.0',
        'garrison_errors_total{code="no_json"} 1.0',
        'garrison_errors_total{code="no_key"} 1.0',
        'garrison_scores_count{score="churn_90d"} 2.0',
        'garrison_posted_unseen_total{column="region",target="churn"} 1.0',
        'garrison_request_seconds_count{route="model"} 1.0',
    ):
        assert line in text, line
    assert worker_.metrics.scores["churn_30d"].total > 0


def test_events_are_taken_by_a_key_that_may_send_them(worker_: Worker, made: Any, keys: dict[str, str]) -> None:
    assert worker_.access_log is not None
    row = {"account_id": "not-there", "event_id": "use-1", "used_at": "2023-12-30T00:00:00Z", "feature": "charts"}
    answers = [ask("events", keys["ingest"], json={"usage": [row]}) for _ in range(2)]
    assert [answer.json()["usage"][0]["fate"] for answer in answers] == ["accepted", "duplicate"]
    assert read_error(ask("events", keys["ingest"], json={"rubbish": []})) == (422, "invalid")
    worker_.access_log.close()
    last = lines(made.settings)[-3:]
    assert [(line["route"], line["status"], line["accounts"]) for line in last] == [
        ("events", 200, ["not-there"]),
        ("events", 200, ["not-there"]),
        ("events", 422, []),
    ]


def test_what_stands_in_for_a_champion_is_said(own_harbour: Any) -> None:
    broken = Promotion(promotion_log.format_now(), "promote", "churn", "churn-2", "run-2", "artifacts/none", "a test")
    promotion_log.append_promotion(own_harbour.settings, broken)
    with database.open(own_harbour.settings) as opened:
        key = auth.create_key(opened, "tests")
    HttpApp.worker = Worker(str(own_harbour.config))
    ready, model = send("GET", "/readyz"), ask("model", key).json()
    assert (ready.status_code, ready.headers["x-garrison-fallback"]) == (200, "churn")
    assert model["models"]["churn"]["fallback"] == "churn-2 can't be read, churn-1 serves"  # where is in the log
    assert 'garrison_fallback{target="churn"} 1.0' in ask("metrics", key).text


def test_what_is_missing_is_said_without_paths_and_addresses(
    own_harbour: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with database.open(own_harbour.settings) as opened:
        key = auth.create_key(opened, "tests")
    for place in (own_harbour.settings.paths.mlruns / "artifacts" / "churn").glob("bundle.json"):
        place.write_text("{")
    HttpApp.worker = Worker(str(own_harbour.config))
    for answer in (send("GET", "/readyz"), ask("model", key)):
        assert read_error(answer) == (503, "not_ready")
        assert answer.headers["retry-after"] == "5"
        assert "is not a whole model" in answer.text
        assert "/" not in answer.json()["error"]["message"]
    assert str(own_harbour.settings.paths.mlruns) in caplog.text


def test_a_worker_looks_for_what_is_new_by_itself(own_harbour: Any, monkeypatch: pytest.MonkeyPatch, now: Any) -> None:
    monkeypatch.setattr("serving.api.state.REFRESH_SECONDS", 0.05)
    monkeypatch.setattr(worker, "REFRESH_SECONDS", 0.05)

    async def seen() -> Any:
        found = Worker(str(own_harbour.config))
        await found.start()
        assert found.state.scoring is not None
        assert found.state.scoring.score_service.snapshot.as_of is None
        await asyncio.to_thread(run.score_accounts, own_harbour.settings, None, as_of=now, explain=Explain.NONE)
        for _ in range(3_000):
            if found.state.scoring.score_service.snapshot.as_of == now:
                break
            await asyncio.sleep(0.02)
        assert found.state.scoring.score_service.snapshot.as_of == now
        await found.close()

    asyncio.run(seen())


@pytest.mark.usefixtures("worker_")
def test_accounts_are_listed_by_the_page(made: Any, keys: dict[str, str]) -> None:
    scores = ScoreTable.read(score_table.find_newest(made.settings)).table.to_pandas()
    name = f"churn_{made.settings.alert_horizon}d"
    customers = scores[scores["in_cohort_churn"]]
    for order, key, ascending in (("-value_at_risk", f"{name}_value", False), ("risk", name, True)):
        known = customers.dropna(subset=[key]).sort_values([key, "account_id"], ascending=ascending)
        missing = customers[customers[key].isna()].sort_values("account_id")
        after, listed = "", []
        while after is not None:
            page = send("GET", f"/v1/accounts?order={order}&limit=7&after={after}", keys["read"]).json()
            assert page["total"] == len(customers)
            assert page["score"] == name
            listed += [row["account_id"] for row in page["accounts"]]
            after = page["after"]
        assert listed == [*known["account_id"], *missing["account_id"]]
    wrongs = ("order=luck", "order=name", "limit=0", "limit=201", "limit=x", "limit=1e2", "top=5")
    for wrong in wrongs:
        response = send("GET", f"/v1/accounts?{wrong}", keys["read"])
        assert read_error(response) == (422, "invalid"), wrong
        assert response.json()["error"]["details"][0]["at"] == wrong.partition("=")[0]
    assert read_error(send("GET", "/v1/accounts?after=Zm9v", keys["read"])) == (404, "unknown_page")
