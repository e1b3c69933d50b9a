from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, get_args

import pytest

from features.core.errors import GarrisonError
from features.state import database
from serving.api import auth
from serving.client import MAX_RETRY_AFTER, MAX_TRIES, AnswerError, Client
from serving.schemas.responses import AccountScores, Detail, FailedAccount
from tests.support.waiting import wait_until

BUSY = b'{"error": {"code": "busy", "message": "too much to do at once", "details": []}}'
MODELS = b'{"models": {}, "catalog": "c", "snapshot": null}'
Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture(scope="module")
def client(served: Any) -> Iterator[Client]:
    with served.client() as found:
        yield found


def test_answers_are_typed(served: Any, client: Client) -> None:
    scored, failed = client.score(["A-003", "nobody"]).results
    assert isinstance(scored, AccountScores)
    assert isinstance(failed, FailedAccount)
    assert failed.error.code == "unknown_account"
    assert scored.as_of == datetime(2024, 1, 1, tzinfo=UTC)
    assert scored.scores["churn_90d"].drivers
    posted = client.score([served.harbour.posted("A-003")], as_of=scored.as_of, detail="scores").results[0]
    assert isinstance(posted, AccountScores)
    assert posted.scores["churn_90d"].score == scored.scores["churn_90d"].score
    assert posted.scores["churn_90d"].drivers is None


@pytest.mark.parametrize("detail", get_args(Detail))
def test_every_detail_is_understood(detail: Detail, client: Client) -> None:
    (scored,) = client.score(["A-003"], detail=detail).results
    assert isinstance(scored, AccountScores)
    assert (scored.recommendation is None) == (detail == "scores")
    assert (scored.scores["churn_90d"].drivers is None) == (detail != "drivers")


def test_an_account_and_the_models(client: Client) -> None:
    assert {(past.target, past.horizon) for past in client.account("A-003").history} >= {("churn", 90), ("upsell", 90)}
    assert client.model().models["churn"].horizons == (30, 90)
    with pytest.raises(AnswerError) as caught:
        client.account("a/b?c#d")
    assert (caught.value.status, caught.value.code) == (404, "unknown_account")


def test_events_are_sent_and_each_has_its_fate(served: Any) -> None:
    with database.open(served.harbour.settings) as opened:
        key = auth.create_key(opened, "events", "ingest")
    use = {"account_id": "not-there-yet", "event_id": "client-1", "used_at": "2023-06-01T00:00:00Z", "count": 2}
    with Client(served.url, key) as client:
        wait_until(lambda: allowed(client))
        received = client.send(usage=[use, use | {"event_id": "client-2", "count": -1}])
        assert [fate.fate for fate in received.usage] == ["accepted", "rejected"]
        assert received.usage[1].error is not None
        assert received.received_at > datetime(2024, 1, 1, tzinfo=UTC)
        assert [fate.fate for fate in client.send(usage=[use]).usage] == ["duplicate"]
        with pytest.raises(AnswerError) as caught:
            client.score(["A-003"])
    assert (caught.value.status, caught.value.code) == (403, "no_scope")


def allowed(client: Client) -> bool:
    try:
        client.send()
    except AnswerError as error:
        return error.status != 401
    return True


def test_it_knows_whether_the_service_is_ready(client: Client, free_port: int) -> None:
    assert client.healthy()
    with Client(f"http://127.0.0.1:{free_port}") as other:
        assert not other.healthy()
    with answering((503, {}, BUSY)) as (url, _), Client(url) as other:
        assert not other.healthy()


@contextmanager
def answering(*answers: Answer | None) -> Iterator[tuple[str, list[str]]]:
    """A server that gives these answers in turn, the last of them again and again; for None it hangs up."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(self.path)
            answer = answers[min(len(asked), len(answers)) - 1]
            if answer is None:
                self.close_connection = True
                return
            status, headers, body = answer
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("first", [None, (503, {"retry-after": "0"}, BUSY), (429, {"retry-after": "0"}, BUSY)])
def test_what_may_pass_is_asked_again_and_said(first: Answer | None, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.WARNING, "garrison.client"),
        answering(first, first, (200, {}, MODELS)) as (url, asked),
        Client(url) as client,
    ):
        assert client.model().catalog == "c"
    assert len(asked) == MAX_TRIES == 3
    assert [record.getMessage().startswith("retrying in ") for record in caplog.records] == [True, True]


@pytest.mark.parametrize(
    ("answer", "times"),
    [
        ((503, {"retry-after": "0"}, BUSY), MAX_TRIES),
        ((503, {}, BUSY), 1),
        ((503, {"retry-after": f"{MAX_RETRY_AFTER + 1:.0f}"}, BUSY), 1),
        ((429, {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, BUSY), 1),
        ((500, {"retry-after": "0"}, BUSY), 1),
        ((422, {"retry-after": "0"}, BUSY), 1),
    ],
)
def test_it_gives_up_in_the_end_and_at_once_where_asking_again_is_no_use(answer: Answer, times: int) -> None:
    with answering(answer) as (url, asked), Client(url) as client, pytest.raises(AnswerError) as caught:
        client.model()
    assert (caught.value.status, caught.value.code) == (answer[0], "busy")
    assert len(asked) == times


def test_a_server_that_keeps_hanging_up_is_no_answer() -> None:
    with (
        answering(None) as (url, asked),
        Client(url) as client,
        pytest.raises(GarrisonError, match=r"no answer from .*make serve"),
    ):
        client.model()
    assert len(asked) == MAX_TRIES


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"error": "no"}', b""])
@pytest.mark.parametrize("status", [200, 404])
def test_what_is_not_garrisons_service_is_told(status: int, body: bytes) -> None:
    with (
        answering((status, {}, body)) as (url, _),
        Client(url) as client,
        pytest.raises(GarrisonError, match="not Garrison's service"),
    ):
        client.model()


def test_it_needs_nothing_of_the_server() -> None:
    program = (
        "import sys, serving.client\n"
        "heavy = {'numpy', 'pandas', 'lightgbm', 'bentoml', 'ibis', 'duckdb', 'sqlalchemy'}\n"
        "heavy.add('serving.schemas.score_requests')\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
