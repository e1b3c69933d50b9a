"""`make attack`: malformed and heavy bodies, slow connections and overload, against a service of its own.

The service is on this machine, for a small company, with one worker. Beside every attack another client asks for its
health 20 times a second. What must hold is in `PROMISES`: no server error but a 503 that says when to come again, every
answer in the one envelope, health within a second, memory within 100 MiB of what it was once the service had scored
whole histories, as many at a time as it works on.

    attack.py [--requests 100000] [--seconds 20]
"""

import argparse
import contextlib
import json
import os
import random
import resource
import socket
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import measure
from health_watch import HealthWatch, read_memory

from features.state import database
from serving.api import auth
from serving.batch import run
from tests.support.harbour import NOW, make_harbour, running
from tests.support.malformed_requests import send

CONNECTIONS, SLOW_CONNECTIONS, CROWD, WARM_REQUESTS = 4, 1_000, 64, 4
THREADS = os.cpu_count() or 1  # that the service works with
HEALTH_LIMIT_S, MEMORY_LIMIT_MIB = 1.0, 100
HEAD = b"POST /v1/score HTTP/1.1\r\nhost: x\r\nauthorization: Bearer KEY\r\ncontent-type: application/json\r\n"
# What a slow connection has sent, and what it then sends a byte a second of; None for nothing more.
SLOW = {
    "nothing": (b"", None),
    "half a line": (b"GET /v1/mod", b"a"),
    "half a head": (HEAD + b"x-a: ", b"a"),
    "a body by the byte": (HEAD + b"content-length: 100000\r\n\r\n{", b" "),
    "chunks by the byte": (HEAD + b"transfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
}
PROMISES = {
    "server_errors": "server errors but 503 with Retry-After",
    "wrong_answers": "answers that are wrong",
    "health_failures": "health checks that failed",
}


def list_heavy_bodies():
    """Bodies within the limit of size that cost as much as possible, by what they are; each is refused or answered."""
    rows, empty = [{}] * 9_000, [{}] * 600_000
    keys = {f"k{n}": 0 for n in range(400_000)}
    deep = '{"a":' * 100_000
    return {
        "600,000 empty rows": ("/v1/events", json.dumps({"usage": empty})),
        "2,700,000 empty rows": ("/v1/events", json.dumps({"usage": [{}] * 2_000_000}, separators=(",", ":"))),
        "400,000 keys": ("/v1/events", json.dumps(keys, separators=(",", ":"))),
        "900,000 rows of 100 accounts": (
            "/v1/score",
            json.dumps({"accounts": [{"account": {"account_id": f"x{n}"}, "usage": rows} for n in range(100)]}),
        ),
        "100,000 levels": ("/v1/score", deep),
        "one text of 8 MB": ("/v1/score", json.dumps({"accounts": ["x" * 8_000_000]})),
        "one number of 4 MB": ("/v1/score", '{"accounts": [' + "9" * 4_000_000 + "]}"),
    }


def is_promised(answer):
    """Whether an answer is no server error, or a 503 that says when to come again."""
    is_overload = answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE and "retry-after" in answer.headers
    return not answer.is_server_error or is_overload


def send_malformed(served, keys, requests, counts):
    """Malformed requests of twenty kinds over a few connections."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        shares = range(CONNECTIONS)
        found = list(pool.map(lambda n: send(served.url, keys[n], n, requests // CONNECTIONS), shares))
    for statuses, wrong in found:
        counts["statuses"].update(statuses)
        counts["wrong"] += len(wrong)
        counts["errors"] += sum(n for status, n in statuses.items() if status >= HTTPStatus.INTERNAL_SERVER_ERROR)
        for said in wrong[:5]:
            print(f"    wrong: {said[:300]}")


def send_heavy(served, keys, bodies, seconds, counts):
    """The heaviest bodies within the limits, again and again, over a few connections."""
    until = time.monotonic() + seconds

    def post(n):
        draw = random.Random(n)  # noqa: S311  # nothing secret here
        with httpx.Client(base_url=served.url, headers={"authorization": f"Bearer {keys[n]}"}, timeout=60) as http:
            while time.monotonic() < until:
                path, body = draw.choice(bodies)
                yield http.post(path, content=body, headers={"content-type": "application/json"})

    count_answers(post, CONNECTIONS, counts)


def write_histories(served):
    """A request that is right, with the whole histories of all accounts."""
    return json.dumps({"accounts": [served.harbour.posted(f"A-{n:03}") for n in range(80)], "detail": "scores"})


def warm_up(served, keys):
    """Have whole histories scored, in each thread of the service: what stays in memory after that is no growth."""
    body, headers = write_histories(served), {"content-type": "application/json"}

    def post(n):
        with httpx.Client(headers=headers | {"authorization": f"Bearer {keys[n]}"}, timeout=60) as http:
            answers = [http.post(f"{served.url}/v1/score", content=body).status_code for _ in range(WARM_REQUESTS)]
            return answers.count(HTTPStatus.OK)

    with ThreadPoolExecutor(THREADS) as pool:
        while sum(pool.map(post, range(THREADS))) < WARM_REQUESTS:
            print("Warming up took too long: again.", flush=True)


def overload(served, keys, seconds, counts):
    """Whole histories of a hundred accounts each, from many clients at once."""
    body = write_histories(served)
    until = time.monotonic() + seconds

    def post(n):
        headers = {"authorization": f"Bearer {keys[n % len(keys)]}", "content-type": "application/json"}
        with httpx.Client(base_url=served.url, headers=headers, timeout=120) as http:
            while time.monotonic() < until:
                yield http.post("/v1/score", content=body)

    count_answers(post, CROWD, counts)


def count_answers(post, clients, counts):
    """Let clients post side by side; count what they were answered."""
    with ThreadPoolExecutor(clients) as pool:
        for answers in pool.map(lambda n: [(a.status_code, is_promised(a)) for a in post(n)], range(clients)):
            counts["statuses"].update(status for status, _ in answers)
            counts["errors"] += sum(not kept for _, kept in answers)


def hold_slow(served, keys, seconds, counts):
    """A thousand connections of each kind that begin a request and do not end it."""
    address = urlsplit(served.url)
    lines = []
    for begun, more in SLOW.values():
        for _ in range(SLOW_CONNECTIONS):
            line = socket.create_connection((address.hostname, address.port), timeout=10)
            with contextlib.suppress(OSError):
                line.sendall(begun.replace(b"KEY", keys[0].encode()))
            lines.append((line, more))
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for line, more in lines:
            with contextlib.suppress(OSError):
                if more:
                    line.sendall(more)
        time.sleep(1)
    for line, _ in lines:
        line.settimeout(0.001)
        with contextlib.suppress(OSError):
            if head := line.recv(12):
                counts["statuses"][int(head[9:12])] += 1
        line.close()


def main():
    """Attack, and end with 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--requests", type=int, default=100_000, help="malformed requests")
    parser.add_argument("--seconds", type=int, default=20, help="of each of the other attacks")
    given = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    figures, broken = {}, []
    with tempfile.TemporaryDirectory() as name:
        harbour = make_harbour(Path(name) / "harbour")
        harbour.config.write_text(harbour.config.read_text() + "\n[serving]\nper_minute = 1000000\n")
        run.score_accounts(harbour.settings, None, as_of=NOW)
        with database.open(harbour.settings) as opened:
            keys = [auth.create_key(opened, f"attack {n}", "score,read,ingest") for n in range(CONNECTIONS)]
        with running(harbour, keys[0], Path(name) / "log") as served:
            warm_up(served, keys)
            before, bodies = read_memory(served.process.pid), list(list_heavy_bodies().values())
            attacks = {
                "malformed": lambda counts: send_malformed(served, keys, given.requests, counts),
                "heavy": lambda counts: send_heavy(served, keys, bodies, given.seconds, counts),
                "slow": lambda counts: hold_slow(served, keys, given.seconds, counts),
                "overload": lambda counts: overload(served, keys, given.seconds, counts),
            }
            for attack, work in attacks.items():
                counts = {"statuses": Counter(), "wrong": 0, "errors": 0}
                with HealthWatch(served.url, served.process.pid) as watch:
                    work(counts)
                took = max(watch.took, default=0.0)
                answers = ", ".join(f"{n:,} x {status}" for status, n in sorted(counts["statuses"].items()))
                print(
                    f"{attack}: {answers}; {counts['errors']} server errors, {counts['wrong']} wrong answers; "
                    f"health asked {len(watch.took):,} times, {watch.failed} failed, slowest {took:.2f} s; "
                    f"memory {before:.0f} MiB, at most {watch.peak:.0f}",
                    flush=True,
                )
                figures |= {
                    f"{attack}_answers": counts["statuses"].total(),
                    f"{attack}_server_errors": counts["errors"],
                    f"{attack}_wrong_answers": counts["wrong"],
                    f"{attack}_health_failures": watch.failed,
                    f"{attack}_health_slowest_s": took,
                    f"{attack}_memory_mib": watch.peak - before,
                }
                broken += [f"{attack}: {said}" for key, said in PROMISES.items() if figures[f"{attack}_{key}"]]
                broken += [f"{attack}: health took {took:.2f} s"] if took > HEALTH_LIMIT_S else []
                broken += [f"{attack}: memory grew"] if watch.peak - before > MEMORY_LIMIT_MIB else []
    measure.write("attack", figures, ("uvicorn", "httptools", "msgspec"))
    print("Broken: " + "; ".join(broken) if broken else "All promises held.")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
