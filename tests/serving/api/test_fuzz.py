"""Three thousand requests of which none is right: each is refused in the one envelope, and the service stays well."""

from __future__ import annotations

import http.client
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from features.state import database
from serving.api import auth
from tests.support.malformed_requests import in_the_envelope, send

REQUESTS = 3_000
CONNECTIONS = 4


@pytest.fixture(scope="module")
def keys(served: Any) -> list[str]:
    """A key for each connection: one alone would be told that it asks too often."""
    with database.open(served.harbour.settings) as opened:
        made = [auth.create_key(opened, f"fuzz {n}", "score,read,ingest") for n in range(CONNECTIONS)]
    deadline = time.monotonic() + 30
    while any(httpx.get(f"{served.url}/v1/model", headers={"authorization": f"Bearer {k}"}).is_error for k in made):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return made


def test_thousands_of_malformed_requests_are_refused_and_leave_no_trace(served: Any, keys: list[str]) -> None:
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        found = list(pool.map(lambda n: send(served.url, keys[n], n, REQUESTS // CONNECTIONS), range(CONNECTIONS)))
    wrong = [said for _, all_said in found for said in all_said]
    assert not wrong, f"{len(wrong)} answers are wrong: " + "\n".join(wrong[:20])
    statuses = sum((counted for counted, _ in found), Counter[int]())
    assert statuses.total() == REQUESTS
    assert {200, 400, 401, 404, 405, 415, 422} <= set(statuses)
    well(served, keys[0])


# What no client library sends: the head of a request, and its body.
LINE = b"POST /v1/score HTTP/1.1\r\nhost: x\r\n"
RAW = {
    "no http": b"rubbish\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "http/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http/9": b"GET /v1/model HTTP/9.9\r\nhost: x\r\n\r\n",
    "a made-up method": b"FOO /v1/score HTTP/1.1\r\nhost: x\r\n\r\n",
    "a tunnel": b"CONNECT elsewhere:443 HTTP/1.1\r\nhost: x\r\n\r\n",
    "no path": b"GET  HTTP/1.1\r\nhost: x\r\n\r\n",
    "bytes in the path": b"GET /v1/accounts/\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
    "a long path": b"GET /v1/accounts/" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
    "a length below zero": LINE + b"KEYcontent-length: -1\r\n\r\n{}",
    "a length that is no number": LINE + b"KEYcontent-length: two\r\n\r\n{}",
    "a length beyond all": LINE + b"KEYcontent-length: 99999999999999999999999\r\n\r\n{}",
    "a length too short": LINE + b'KEYcontent-length: 3\r\n\r\n{"accounts": ["A-003"]}',
    "two lengths": LINE + b"KEYcontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    "a length and chunks": LINE + b"KEYtransfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunks that are none": LINE + b"KEYtransfer-encoding: chunked\r\n\r\nzz\r\n{}",
    "gzip as a transfer": LINE + b"KEYtransfer-encoding: gzip\r\n\r\n{}",
    "nul in a header": LINE + b"KEYx-a: \x00\r\ncontent-length: 2\r\n\r\n{}",
    "nul in a header's name": LINE + b"KEYx\x00a: 1\r\ncontent-length: 2\r\n\r\n{}",
    "a long header": LINE + b"KEYx-a: " + b"a" * 200_000 + b"\r\ncontent-length: 2\r\n\r\n{}",
    "many headers": LINE + b"KEY" + b"x-a: 1\r\n" * 5_000 + b"content-length: 2\r\n\r\n{}",
    "a key of bytes": LINE + b"authorization: Bearer \xff\xfe\r\ncontent-length: 2\r\n\r\n{}",
    "a kind of bytes": LINE + b"KEYcontent-type: \xff\xfe\r\ncontent-length: 2\r\n\r\n{}",
    "a body that never ends": LINE + b"KEYcontent-length: 100\r\n\r\n{",
    "a chunk that never ends": LINE + b"KEYtransfer-encoding: chunked\r\n\r\n5\r\n{",
}


@pytest.mark.parametrize("name", RAW)
def test_what_is_hardly_http_is_refused_as_well(name: str, served: Any, keys: list[str]) -> None:
    head = f"authorization: Bearer {keys[0]}\r\ncontent-type: application/json\r\n".encode()
    address = urlsplit(served.url)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=20) as line:
        line.sendall(RAW[name].replace(b"KEY", head))
        answer = http.client.HTTPResponse(line)
        answer.begin()
        body = answer.read()
    assert 400 <= answer.status < 500
    # What can't be read as HTTP is refused before it comes to us.
    assert in_the_envelope(body) or body == b"Invalid HTTP request received."
    well(served, keys[0])


def well(served: Any, key: str) -> None:
    """Whether the service is what it was, and wrote nothing of what was sent."""
    headers = {"authorization": f"Bearer {key}"}
    assert httpx.get(f"{served.url}/readyz").status_code == 200
    answer = httpx.post(f"{served.url}/v1/score", headers=headers, json={"accounts": ["A-003"]}, timeout=30)
    assert 0 < answer.json()["results"][0]["scores"]["churn_90d"]["score"] < 1
    log = served.log.read_text()
    for trace in ("Traceback", "ERROR", '.py", line', "rubbish", "garrison_0"):
        assert trace not in log
