"""Requests of which none is right, and what may be answered: twenty kinds of fault, in bodies, keys and headers."""

from __future__ import annotations

import copy
import gzip
import http.client
import json
import pickle
import random
import string
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from serving.api import routes

TICKET = {"ticket_id": "1", "opened_at": "2023-06-01T02:00:00+02:00", "resolved_at": "2023-06-02", "priority": "high"}
USE = {"used_at": "2023-06-01T00:00:00Z", "user_id": "u", "feature": "charts", "count": 3, "duration_s": 4.5}
PURCHASE = {"purchased_at": "2023-06-01", "amount": "12.34", "kind": "new", "term_ends_at": "2024-06-01"}
POSTED = {
    "account": {"account_id": "x", "created_at": "2023-05-01", "region": "north", "seats": 3, "rank": "0.5"},
    "tickets": [TICKET, {"ticket_id": "2", "opened_at": "2023-07-01"}],
    "usage": [USE, USE],
    "purchases": [PURCHASE],
}
# Bodies in which nothing is wrong, by path.
GOOD: dict[str, dict[str, Any]] = {
    "/v1/score": {"as_of": "2024-01-01", "detail": "scores", "accounts": [POSTED, "A-003"]},
    "/v1/events": {
        "tickets": [{**TICKET, "account_id": "not-there"}],
        "usage": [{**USE, "account_id": "not-there", "event_id": "u-1"}],
        "purchases": [{**PURCHASE, "account_id": "not-there", "event_id": "p-1"}],
    },
}
# No place in a body may hold any of these.
TOKENS = (
    *("NaN", "-NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e300", "9" * 5_000, "0." + "3" * 3_000, "0x10"),
    *("01", "+1", ".5", "1.", "1_000", "--1", "undefined", "None", "True", "'text'", "{'a': 1}", ",", "[,]", "{,}"),
    *(
        '"\\ud800"',
        '"\\udfff\\ud800"',
        '"\\x41"',
        '"\\u12"',
        '"\x00"',
        '"\x1f"',
        '"open',
        '""',
        '{"rubbish": 1}',
        "[[]]",
    ),
    *(
        '"' + "x" * 1_001 + '"',
        '"' + "\\u0000" * 1_001 + '"',
        '"' + "é" * 100_000 + '"',
        "/* no */ 1 //",
        "{}",
        "[[[[]]]]",
    ),
)
DATES: tuple[Any, ...] = (
    *(
        "",
        "now",
        "2024",
        "2024-02-30",
        "2023-13-01",
        "24-01-01",
        "2024-01-01T10:00",
        "2024-01-01T25:00:00Z",
        "2024-1-1",
    ),
    *("0000-01-01", "10000-01-01", "-2024-01-01", " 2024-01-01", "2024-01-01 ", "2024-01-01T00:00:00+25:00"),
    *(
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "2024-01-01T00:00:00ZZ",
        "01/02/2024",
        "\u0662\u0660\u0662\u0664-\u0660\u0661-\u0660\u0661",
    ),
    *(1704067200, 1704067200.5, True, [], ["2024-01-01"], {"date": "2024-01-01"}),
)
KINDS = (
    *(
        "",
        "text/plain",
        "text/json",
        "application/xml",
        "application/x-www-form-urlencoded",
        "application/octet-stream",
    ),
    *("multipart/form-data", "multipart/form-data; boundary=x", "application/vnd.bentoml+pickle", "application/pickle"),
    *("application/json5", "application/jsonl", "json", ";", "application/json, text/plain", "*/*", "é" * 50),
)
# What a header may hold.
VISIBLE = tuple({*range(33, 256)} - {127})


@dataclass(frozen=True)
class Asked:
    """A request in which something is wrong."""

    body: bytes = b""
    path: str = "/v1/score"
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to each value inside."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, found in inner:
        yield (*path, key)
        yield from places(found, (*path, key))


def at(body: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        body = body[key]
    return body


# Not the id beside the posted account: ten thousand histories that are right would take too long to score.
PLACES = {path: tuple(p for p in places(good) if p != ("accounts", 1)) for path, good in GOOD.items()}
OBJECTS = {path: ((), *(p for p in found if isinstance(at(GOOD[path], p), dict))) for path, found in PLACES.items()}
TIMES = {
    path: tuple(p for p in found if str(p[-1]).endswith("_at") or p == ("as_of",)) for path, found in PLACES.items()
}


def replaced(path: str, place: tuple[Any, ...], token: str) -> bytes:
    """The good body with other text in one place."""
    body = copy.deepcopy(GOOD[path])
    at(body, place[:-1])[place[-1]] = "@"
    return json.dumps(body).replace('"@"', token, 1).encode("utf-8", "surrogatepass")


def a_wrong_value(draw: random.Random, path: str) -> Asked:
    return Asked(replaced(path, draw.choice(PLACES[path]), draw.choice(TOKENS)), path)


def a_wrong_date(draw: random.Random, path: str) -> Asked:
    return Asked(replaced(path, draw.choice(TIMES[path]), json.dumps(draw.choice(DATES))), path)


def a_number_out_of_range(draw: random.Random, path: str) -> Asked:
    numbers = [p for p in PLACES[path] if p[-1] in {"seats", "count"}]
    token = draw.choice(["-1", "9223372036854775808", "1.5", "1e3", '"3"', "true", str(draw.randrange(2**63, 2**200))])
    return Asked(replaced(path, draw.choice(numbers), token), path)


def an_unknown_key(draw: random.Random, path: str) -> Asked:
    body = copy.deepcopy(GOOD[path])
    letters = draw.choice([string.ascii_letters, string.printable, "äß漢🙂\u202e", "\x00"])
    key = "".join(draw.choices(letters, k=draw.choice([1, 3, 12, 2_000])))
    at(body, draw.choice(OBJECTS[path]))[f"-{key}"] = draw.choice([None, 1, "x", [], {}])
    return Asked(json.dumps(body).encode(), path)


def a_missing_key(draw: random.Random, path: str) -> Asked:
    needed = {
        "accounts",
        "account",
        "account_id",
        "created_at",
        "ticket_id",
        "event_id",
        "opened_at",
        "used_at",
        "amount",
    }
    place = draw.choice([p for p in PLACES[path] if p[-1] in needed])
    body = copy.deepcopy(GOOD[path])
    del at(body, place[:-1])[place[-1]]
    return Asked(json.dumps(body).encode(), path)


def a_key_twice(draw: random.Random, path: str) -> Asked:
    """The last of both is the wrong one."""
    place = draw.choice([p for p in PLACES[path] if isinstance(p[-1], str)])
    good = json.dumps(at(GOOD[path], place))
    return Asked(replaced(path, place, f"{good}, {json.dumps(place[-1])}: {draw.choice(TOKENS)}"), path)


def a_body_cut_short(draw: random.Random, path: str) -> Asked:
    body = json.dumps(GOOD[path]).encode()
    return Asked(body[: draw.randrange(len(body))], path)


def a_bracket_gone_or_too_many(draw: random.Random, path: str) -> Asked:
    body = json.dumps(GOOD[path]).encode()
    place = draw.choice([i for i, letter in enumerate(body) if letter in b"{}[]"])
    return Asked(body[:place] + body[place + 1 :] if draw.random() < 0.5 else body[:place] + body[place:] * 2, path)


def bytes_that_are_no_text(draw: random.Random, path: str) -> Asked:
    body = json.dumps(GOOD[path]).encode()
    place = draw.randrange(len(body))
    rubbish = draw.choice(
        [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\x80", b"\x00", b"\x07", b"\x1b[2J"]
    )
    return Asked(body[:place] + rubbish * draw.randrange(1, 4) + body[place:], path)


def another_encoding(draw: random.Random, path: str) -> Asked:
    encoding = draw.choice(["utf-16", "utf-16-be", "utf-32", "utf-7", "utf-8-sig", "cp037"])
    body = json.dumps({"é": 1} | GOOD[path], ensure_ascii=False)
    return Asked(body.encode(encoding), path)


def too_deep(draw: random.Random, path: str) -> Asked:
    depth = draw.choice([3, 100, 199, 200, 201, 256, 1_000, 20_000])
    opening, closing = draw.choice([("[", "]"), ('{"a":', "}"), ('[{"account":', "}]")])
    whole = opening * depth + draw.choice(["1", ""]) + closing * draw.choice([depth, 0])
    return Asked(
        (whole if draw.random() < 0.3 else replaced(path, draw.choice(PLACES[path]), whole).decode()).encode(), path
    )


def too_many(draw: random.Random, path: str) -> Asked:
    if path == "/v1/events":
        return Asked(json.dumps({"usage": [GOOD[path]["usage"][0]] * draw.randrange(1_001, 1_500)}).encode(), path)
    if draw.random() < 0.95:
        return Asked(json.dumps({"accounts": ["A-003"] * draw.choice([101, 102, 1_000, 5_000])}).encode(), path)
    return Asked(json.dumps({"accounts": [{**POSTED, "usage": [{"used_at": "2023-06-01"}] * 10_001}]}).encode(), path)


def against_itself(draw: random.Random, path: str) -> Asked:
    if path == "/v1/events":
        return Asked(replaced(path, ("tickets", 0, "resolved_at"), '"2023-05-01"'), path)
    items = draw.choice(
        [
            [POSTED, POSTED],
            [{**POSTED, "tickets": [TICKET, TICKET]}],
            [{**POSTED, "tickets": [{**TICKET, "resolved_at": "2023-05-01"}]}],
            [{**POSTED, "account": {"account_id": "x", "created_at": "2024-01-01"}}],
            ["".join(draw.choices(string.printable, k=draw.randrange(1, 200)))],
            ["\x00"],
            ["../../etc/passwd", "A-003' OR 1=1 --", "${jndi:ldap://x}"],
        ]
    )
    return Asked(json.dumps({"accounts": items, "as_of": "2024-01-01"}).encode(), path)


def no_object(draw: random.Random, path: str) -> Asked:
    whole = draw.choice(
        ["null", "true", "7", '"x"', "[]", "[[]]", "", " ", "\n", "{}{}", "{} x", "[1, 2", '{"accounts"}']
    )
    return Asked(whole.encode(), path)


def other_formats(draw: random.Random, path: str) -> Asked:
    """What is no JSON at all, under its own name and under that of JSON."""
    good = GOOD[path]
    body, kind = draw.choice(
        [
            (pickle.dumps(good, draw.randrange(6)), "application/vnd.bentoml+pickle"),
            (b"cos\nsystem\n(S'true'\ntR.", "application/octet-stream"),
            (b'--x\r\ncontent-disposition: form-data; name="f"\r\n\r\n{}\r\n--x--', "multipart/form-data; boundary=x"),
            (b"--x\r\n" + draw.randbytes(200), "multipart/form-data; boundary=x"),
            (b"accounts=A-003&accounts=A-007", "application/x-www-form-urlencoded"),
            (b"<accounts><id>A-003</id></accounts>", "application/xml"),
            (b"accounts:\n- A-003\n", "application/yaml"),
            (repr(good).encode(), "text/plain"),
            (draw.randbytes(draw.randrange(1, 3_000)), "application/octet-stream"),
        ]
    )
    headers = {"content-type": kind if draw.random() < 0.5 else "application/json"}
    return Asked(body, path, headers=headers)


def compressed(draw: random.Random, path: str) -> Asked:
    body = gzip.compress(json.dumps(GOOD[path]).encode(), mtime=0)
    named = (
        {"content-encoding": draw.choice(["gzip", "deflate", "br", "identity, gzip"])} if draw.random() < 0.8 else {}
    )
    return Asked(body, path, headers=named)


def another_kind(draw: random.Random, path: str) -> Asked:
    return Asked(json.dumps(GOOD[path]).encode(), path, headers={"content-type": draw.choice(KINDS)})


def another_method(draw: random.Random, path: str) -> Asked:
    method = draw.choice(["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "SEARCH"])
    return Asked(json.dumps(GOOD[path]).encode(), path, method)


def another_path(draw: random.Random, _: str) -> Asked:
    rubbish = "".join(f"%{b:02x}" for b in draw.randbytes(draw.randrange(1, 20)))
    mutated = [
        *(
            "/v1/score/",
            "//v1/score",
            "/V1/SCORE",
            "/v1/score;x=1",
            "/v1//score",
            "/v1/./score",
            "/v1/%73core/",
            "/v1/score%00",
        ),
        *("/", "/v2/score", "/docs", "/schema.json", "/v1", "/v1/accounts/", f"/v1/accounts/{rubbish}"),
        *(f"/{rubbish}", "/%2e%2e/%2e%2e/etc/passwd", "/v1/model/", "/static_content/index.html", "/" + "a" * 8_000),
    ]
    return Asked(json.dumps(GOOD["/v1/score"]).encode(), draw.choice(mutated), draw.choice(["GET", "POST"]))


def another_key(draw: random.Random, path: str) -> Asked:
    rubbish = "".join(chr(draw.choice(VISIBLE)) for _ in range(draw.randrange(1, 100)))
    zeros = f"garrison_{'0' * 12}_{'0' * 64}"
    given = [
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {rubbish}",
        f"Basic {rubbish}",
        zeros,
        f"Bearer {zeros}",
        f"Bearer {zeros} x",
    ]
    return Asked(json.dumps(GOOD[path]).encode(), path, headers={"authorization": draw.choice(given)})


def odd_headers(draw: random.Random, path: str) -> Asked:
    """Odd, but no concern of ours; what is wrong is the body."""
    name = "".join(draw.choices(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~", k=draw.randrange(1, 40)))
    value = "".join(chr(draw.choice(VISIBLE)) for _ in range(draw.choice([0, 1, 50, 5_000])))
    known = {
        "accept": "application/xml",
        "accept-encoding": "zstd;q=1, *;q=0",
        "cookie": value,
        "forwarded": "for=1.2.3.4;proto=gopher",
        "if-match": "*",
        "origin": "http://elsewhere.example",
        "range": "bytes=0-1,5-2",
        "traceparent": value,
        "x-forwarded-for": "' OR 1=1",
        "x-http-method-override": "DELETE",
        "bentoml-payload-meta": value,
        "args-number": "-1",
        f"x-{name}": value,
    }
    chosen = dict(draw.sample(list(known.items()), draw.randrange(1, len(known) + 1)))
    return Asked(b'{"accounts": 1, "tickets": 1}', path, headers=chosen)


# The kinds of fault, the cheap ones more often.
FAULTS: dict[Callable[[random.Random, str], Asked], int] = {
    a_wrong_value: 30,
    a_wrong_date: 12,
    a_number_out_of_range: 6,
    an_unknown_key: 8,
    a_missing_key: 6,
    a_key_twice: 6,
    a_body_cut_short: 10,
    a_bracket_gone_or_too_many: 8,
    bytes_that_are_no_text: 10,
    another_encoding: 3,
    too_deep: 5,
    too_many: 2,
    against_itself: 2,
    no_object: 3,
    other_formats: 6,
    compressed: 3,
    another_kind: 4,
    another_method: 4,
    another_path: 5,
    another_key: 4,
    odd_headers: 4,
}


def requests(seed: int, count: int) -> Iterator[tuple[str, Asked]]:
    draw = random.Random(seed)  # noqa: S311  # nothing secret here
    paths = [path for path in GOOD if path in routes.ROUTES]
    for kind in draw.choices(list(FAULTS), list(FAULTS.values()), k=count):
        yield kind.__name__, kind(draw, draw.choices(paths, [5, 1][: len(paths)])[0])


def in_the_envelope(body: bytes) -> bool:
    try:
        found = json.loads(body)
    except ValueError:
        return False
    error = found.get("error", {})
    return set(found) == {"error"} and set(error) == {"code", "message", "details"} and bool(error["message"])


def has_an_error(body: bytes) -> bool:
    """Whether some item of an answer to a whole request carries one."""
    return any(row.get("error") for rows in json.loads(body).values() if isinstance(rows, list) for row in rows)


def wrongly_answered(asked: Asked, status: int, body: bytes) -> bool:
    # Keys that were sent come back in the answer, and a key may hold these.
    if any(sign in body and sign not in asked.body for sign in (b"Traceback", b".py")):
        return True
    if asked.method == "HEAD":
        return not 400 <= status < 500
    return not (has_an_error(body) if status == 200 else 400 <= status < 500 and in_the_envelope(body))


def send(url: str, key: str, seed: int, count: int) -> tuple[Counter[int], list[str]]:
    """Send malformed requests over one connection: how often each status came, and what was answered wrongly."""
    statuses: Counter[int] = Counter()
    wrong: list[str] = []
    line = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    for name, asked in requests(seed, count):
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json", **asked.headers}
        line.request(asked.method, asked.path, asked.body, {k: v.encode("latin-1") for k, v in headers.items()})
        answer = line.getresponse()
        body = answer.read()
        statuses[answer.status] += 1
        if wrongly_answered(asked, answer.status, body):
            wrong.append(f"{name}: {asked} was answered {answer.status} {body[:300]!r}"[:3_000])
    line.close()
    return statuses, wrong
