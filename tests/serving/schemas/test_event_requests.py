from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import pytest
import sqlalchemy as sa

from features.core.timestamps import to_micros
from features.settings import Settings
from features.settings.load import load_settings
from features.state import database
from features.state.database import Store
from features.state.tables import EVENT_LOG, PARITY_RUNS
from serving.events.log import store_events
from serving.parity.sampler import SERVED
from serving.schemas import event_requests
from serving.schemas.errors import ApiError
from serving.schemas.event_requests import EventRequestReader, PostedEvent, RejectedEvent

RECEIPT = datetime(2024, 1, 1, 9, tzinfo=UTC)
TICKET = {"ticket_id": "T-1", "account_id": "A-001", "opened_at": "2023-12-30T10:00:00Z", "priority": "high"}
USE = {"event_id": "u-1", "account_id": "A-001", "used_at": "2023-12-31T10:00:00Z", "duration_s": "1.50"}
PURCHASE = {"event_id": "p-1", "account_id": "A-002", "purchased_at": "2023-12-31", "amount": "10", "kind": "new"}
LATER = {"resolved_at": "2023-12-31T10:00:00Z", "csat": "4"}


@pytest.fixture
def settings(harbour: Any) -> Settings:
    return load_settings(harbour.config)


@pytest.fixture(params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, settings: Settings, tmp_path: Any) -> Iterator[Store]:
    lite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/state.db" if lite else str(request.getfixturevalue("postgres_url"))
    with database.open(settings.model_copy(update={"state_url": url})) as found:
        yield found


def read(settings: Settings, **body: Any) -> event_requests.ParsedEvents:
    return EventRequestReader(settings).read(json.dumps(body).encode())


def fates(answer: dict[str, Any]) -> list[str]:
    return [item["fate"] for table in ("tickets", "usage", "purchases") for item in answer.get(table, [])]


def rows(opened: Store) -> list[dict[str, Any]]:
    with opened.reading() as connection:
        return [dict(row) for row in connection.execute(sa.select(EVENT_LOG).order_by(EVENT_LOG.c.seq)).mappings()]


def test_events_are_in_the_log_once_the_answer_is_given(settings: Settings, opened: Store) -> None:
    events = read(settings, tickets=[TICKET], usage=[USE], purchases=[PURCHASE])
    answer = store_events(settings, opened, events, now=RECEIPT)
    assert answer["received_at"] == "2024-01-01T09:00:00Z"
    assert answer["usage"] == [{"event_id": "u-1", "fate": "accepted", "error": None, "note": None}]
    late = store_events(
        settings, opened, read(settings, usage=[USE | {"event_id": " u-0 "}]), now=RECEIPT.replace(year=2025)
    )
    assert (late["usage"][0]["event_id"], late["usage"][0]["fate"]) == ("u-0", "accepted")
    assert "counts from then on" in late["usage"][0]["note"]
    found = rows(opened)[:3]
    assert [(r["seq"], r["source"], r["event_id"]) for r in found] == [
        (1, "tickets", "T-1"),
        (2, "usage", "u-1"),
        (3, "purchases", "p-1"),
    ]
    assert {r["known_at"] for r in found} == {to_micros(RECEIPT)}
    assert json.loads(found[1]["content"]) == {
        "account_id": "A-001",
        "used_at": to_micros(datetime(2023, 12, 31, 10, tzinfo=UTC)),
        "duration_s": "1.5000",
    }


def test_the_same_again_changes_nothing(settings: Settings, opened: Store) -> None:
    events = read(settings, tickets=[TICKET], usage=[USE], purchases=[PURCHASE, PURCHASE])
    assert fates(store_events(settings, opened, events)) == ["accepted", "accepted", "accepted", "duplicate"]
    before = rows(opened)
    again = read(settings, usage=[USE | {"duration_s": 1.5, "known_at": "2024-01-01"}], purchases=[PURCHASE])
    assert fates(store_events(settings, opened, again)) == ["duplicate", "duplicate"]
    assert rows(opened) == before


def test_other_content_under_a_known_id_is_a_conflict(settings: Settings, opened: Store) -> None:
    store_events(settings, opened, read(settings, usage=[USE], purchases=[PURCHASE]))
    other = read(settings, usage=[USE | {"count": 2}], purchases=[PURCHASE | {"amount": "10.0001"}])
    answer = store_events(settings, opened, other)
    assert fates(answer) == ["conflict", "conflict"]
    assert answer["usage"][0]["error"]["details"] == [{"at": "count", "message": "is not what was posted before"}]
    less = read(settings, usage=[{k: v for k, v in USE.items() if k != "duration_s"}])
    assert fates(store_events(settings, opened, less)) == ["conflict"]
    assert len(rows(opened)) == 2


def test_a_ticket_may_tell_more_of_its_later_course(settings: Settings, opened: Store) -> None:
    store_events(settings, opened, read(settings, tickets=[TICKET | {"escalated": False}]), now=RECEIPT)
    bare = {k: TICKET[k] for k in ("ticket_id", "account_id", "opened_at")}
    later = RECEIPT + timedelta(hours=1)
    more = read(settings, tickets=[bare | LATER | {"escalated": True}])
    assert fates(store_events(settings, opened, more, now=later)) == ["updated"]
    assert fates(store_events(settings, opened, more)) == ["duplicate"]
    first, second = rows(opened)
    assert (first["revision"], second["revision"]) == (0, 1)
    assert (first["known_at"], second["known_at"]) == (to_micros(RECEIPT), to_micros(later))
    assert json.loads(second["content"])["priority"] == "high"
    assert json.loads(second["content"])["escalated"] is True
    answered = read(settings, tickets=[bare | {"first_response_at": "2023-12-30T11:00:00Z"}])
    assert fates(store_events(settings, opened, answered)) == ["updated"]


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"priority": "low"}, "priority"),
        ({"topic": "mooring"}, "topic"),
        ({"account_id": "A-002"}, "account_id"),
        ({"opened_at": "2023-12-30T10:00:01Z"}, "opened_at"),
        ({"resolved_at": "2023-12-31T11:00:00Z"}, "resolved_at"),
        ({"csat": "5"}, "csat"),
        ({"reopened": True}, "reopened"),
    ],
)
def test_what_was_known_of_a_resolved_ticket_stands(
    settings: Settings, opened: Store, change: dict[str, Any], column: str
) -> None:
    store_events(settings, opened, read(settings, tickets=[TICKET | LATER]))
    answer = store_events(settings, opened, read(settings, tickets=[TICKET | LATER | change]))
    assert fates(answer) == ["conflict"]
    assert [d["at"] for d in answer["tickets"][0]["error"]["details"]] == [column]


@pytest.mark.parametrize(
    ("table", "row", "fault"),
    [
        ("usage", USE | {"count": 1.5}, "count: Input should be a valid integer"),
        ("usage", USE | {"count": "3"}, "count: Input should be a valid integer"),
        ("usage", USE | {"color": "red"}, "color: this key is unknown"),
        ("usage", USE | {"first_known_at": "2023-12-31"}, "first_known_at: this key is unknown"),
        ("usage", {k: v for k, v in USE.items() if k != "event_id"}, "event_id: Field required"),
        ("usage", USE | {"event_id": "x" * 201}, "event_id: String should have at most 200 characters"),
        ("usage", USE | {"event_id": ""}, "event_id: String should have at least 1 character"),
        ("usage", USE | {"feature": "a\0b"}, "feature: has the character NUL, which databases don't take"),
        ("usage", 7, "Input should be an object"),
        ("tickets", TICKET | {"event_id": "e"}, "event_id: this key is unknown"),
        ("tickets", TICKET | {"resolved_at": "2023-12-29"}, "resolved_at: is before opened_at"),
        ("tickets", TICKET | {"first_response_at": "2023-12-29"}, "first_response_at: is before opened_at"),
        ("purchases", PURCHASE | {"currency": "XTS"}, "currency: is not EUR: convert the amounts before you post them"),
        ("purchases", PURCHASE | {"amount": float("nan")}, "amount: Input should be a finite number"),
        ("purchases", PURCHASE | {"amount": "1.00001"}, "amount: Decimal input should have no more than 4 decimal"),
        ("purchases", PURCHASE | {"kind": "gift"}, "kind: Input should be 'new'"),
    ],
)
def test_a_bad_row_is_rejected_alone(settings: Settings, table: str, row: Any, fault: str) -> None:
    good = {"tickets": TICKET, "usage": USE, "purchases": PURCHASE}[table]
    found = read(settings, **{table: [row, good]})[table]
    bad, event = found
    assert isinstance(bad, RejectedEvent)
    assert bad.error.message.startswith(fault)
    assert isinstance(event, PostedEvent)
    assert event.content == read(settings, **{table: [good]})[table][0].content  # type: ignore[union-attr]  # an event


def test_a_decimal_beside_a_bad_row_keeps_every_digit(settings: Settings) -> None:
    body = b'{"purchases": [{"event_id": "p", "account_id": "A", "purchased_at": "2023-12-31", "amount": %s}, 1]}'
    event = EventRequestReader(settings).read(body % b"12345678901234.5678")["purchases"][0]
    assert isinstance(event, PostedEvent)
    assert event.content["amount"] == "12345678901234.5678"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", HTTPStatus.BAD_REQUEST, "no_json"),
        (b"{", HTTPStatus.BAD_REQUEST, "no_json"),
        (b"[" * 300, HTTPStatus.BAD_REQUEST, "no_json"),
        (b'{"usage": [{"count": 1' + b"0" * 5_000 + b"}]}", HTTPStatus.BAD_REQUEST, "no_json"),
        (b"[]", HTTPStatus.UNPROCESSABLE_ENTITY, "invalid"),
        (b'{"events": []}', HTTPStatus.UNPROCESSABLE_ENTITY, "invalid"),
        (b'{"usage": {}}', HTTPStatus.UNPROCESSABLE_ENTITY, "invalid"),
        (b'{"usage": null}', HTTPStatus.UNPROCESSABLE_ENTITY, "invalid"),
        (json.dumps({"usage": [USE] * 600, "purchases": [PURCHASE] * 401}).encode(), 422, "too_many_rows"),
    ],
)
def test_a_request_that_is_wrong_as_a_whole_is_refused(settings: Settings, body: bytes, status: int, code: str) -> None:
    with pytest.raises(ApiError) as told:
        EventRequestReader(settings).read(body)
    assert (told.value.status, told.value.error.code) == (status, code)


@pytest.mark.parametrize(
    "body",
    [
        b'{"usage": [{"count": 1' + b"0" * 4_299 + b"}]}",
        b'{"usage": [1], "usage": [2, 3]}',
        b'{"usage": [1e999, -0, NaN, Infinity, [], "x", null, true]}',
        b'{"usage": [{"event_id": 1, "event_id": 2}]}',
    ],
)
def test_odd_json_is_rejected_row_by_row(settings: Settings, body: bytes) -> None:
    assert all(isinstance(row, RejectedEvent) for row in EventRequestReader(settings).read(body)["usage"])


def test_rows_of_a_table_that_the_company_does_not_have_are_rejected(settings: Settings) -> None:
    fewer = settings.model_copy(update={"tables": {t: s for t, s in settings.tables.items() if t != "usage"}})
    (found,) = read(fewer, usage=[USE])["usage"]
    assert isinstance(found, RejectedEvent)
    assert "map no table of usage" in found.error.message


def test_what_has_not_happened_yet_is_rejected_but_for_a_days_grace(settings: Settings, opened: Store) -> None:
    use = [USE | {"event_id": n, "used_at": f"2024-01-0{n}T00:00:00Z"} for n in "234"]
    claim = USE | {"event_id": "c", "known_at": "2024-01-03"}
    answer = store_events(settings, opened, read(settings, usage=[*use, claim]), now=RECEIPT)
    assert fates(answer) == ["accepted", "rejected", "rejected", "rejected"]
    assert answer["usage"][2]["error"]["message"] == "used_at: is in the future"


def test_it_is_known_at_its_receipt_whatever_earlier_time_its_sender_says(settings: Settings, opened: Store) -> None:
    claims = {"old": "2023-12-31T11:00:00Z", "new": "2024-01-01T12:00:00Z"}
    events = [USE | {"event_id": name, "known_at": at} for name, at in claims.items()]
    store_events(settings, opened, read(settings, usage=events), now=RECEIPT)
    known = {r["event_id"]: r["known_at"] for r in rows(opened)}
    assert known == {"old": to_micros(RECEIPT), "new": to_micros(RECEIPT + timedelta(hours=3))}


def test_receipts_ascend_though_the_clock_goes_back(settings: Settings, opened: Store) -> None:
    store_events(settings, opened, read(settings, usage=[USE]), now=RECEIPT)
    store_events(settings, opened, read(settings, purchases=[PURCHASE]), now=RECEIPT - timedelta(hours=1))
    assert [r["received_at"] - to_micros(RECEIPT) for r in rows(opened)] == [0, 1]


def _post(url: str, config: str, worker: int, waiting: Any) -> None:
    settings = load_settings(config)
    with database.open(settings.model_copy(update={"state_url": url})) as opened:
        waiting.wait()
        for n in range(20):
            shared, own = USE | {"event_id": f"s{n}"}, USE | {"event_id": f"{worker}-{n}"}
            store_events(settings, opened, read(settings, usage=[shared, own]))


def test_processes_that_post_at_once_take_each_event_once_and_leave_no_gap(opened: Store, harbour: Any) -> None:
    # Each is a process of its own, forked from one that has imported what they need, and done nothing else.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    url, barrier = opened.engine.url.render_as_string(hide_password=False), context.Barrier(3)
    each = [context.Process(target=_post, args=(url, str(harbour.config), n, barrier)) for n in range(3)]
    for process in each:
        process.start()
    for process in each:
        process.join(120)
    assert [process.exitcode for process in each] == [0, 0, 0]
    found = rows(opened)
    assert [r["seq"] for r in found] == list(range(1, 81))
    assert len({r["event_id"] for r in found}) == 80
    received = [r["received_at"] for r in found]
    assert received == sorted(received)


def test_threads_that_post_the_same_get_one_accepted(settings: Settings, opened: Store) -> None:
    events = read(settings, usage=[USE])
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: store_events(settings, opened, events), range(8)))
    assert sorted(fate for answer in answers for fate in fates(answer)) == ["accepted"] + ["duplicate"] * 7


POSTING = """
import json, sys
from features.settings.load import load_settings
from features.state import database
from serving.events.log import store_events
from serving.schemas.event_requests import EventRequestReader
settings = load_settings(sys.argv[1]).model_copy(update={"state_url": sys.argv[2]})
reader = EventRequestReader(settings)
with database.open(settings) as store:
    for n in range(100_000):
        row = {"event_id": f"e{n}", "account_id": "A-001", "used_at": "2023-12-31"}
        store_events(settings, store, reader.read(json.dumps({"usage": [row]}).encode()))
        print(n, flush=True)
"""


def test_what_was_answered_is_there_after_a_kill_and_can_be_posted_again(
    settings: Settings, harbour: Any, tmp_path: Any
) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    line = [sys.executable, "-c", POSTING, str(harbour.config), url]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        answered = [int(process.stdout.readline()) for _ in range(30)]
        os.kill(process.pid, signal.SIGKILL)
        answered += [int(line) for line in process.stdout.read().split("\n")[:-1]]
    with database.open(settings.model_copy(update={"state_url": url})) as opened:
        found = [r["event_id"] for r in rows(opened)]
        assert found[: len(answered)] == [f"e{n}" for n in answered]
        assert len(found) <= len(answered) + 1
        again = [{"event_id": e, "account_id": "A-001", "used_at": "2023-12-31"} for e in found]
        assert set(fates(store_events(settings, opened, read(settings, usage=again)))) == {"duplicate"}


def test_the_tables_are_those_of_the_migrations(opened: Store) -> None:
    there = sa.inspect(opened.engine)
    for table in (EVENT_LOG, SERVED, PARITY_RUNS):
        columns = {c["name"]: c["nullable"] for c in there.get_columns(table.name)}
        assert columns == {c.name: c.nullable for c in table.columns}
        indexes = {i["name"]: i["column_names"] for i in there.get_indexes(table.name) if not i.get("unique")}
        assert indexes == {i.name: [c.name for c in i.columns] for i in table.indexes}


def test_what_people_wrote_is_redacted_before_it_is_in_the_log(settings: Settings, tmp_path: Any) -> None:
    wrote = {"subject": "Call 138 1234 5678", "body": "I am jo@harbour.example, card 4111 1111 1111 1111. " * 40}
    with database.open(settings.model_copy(update={"state_url": f"sqlite:///{tmp_path}/state.db"})) as found:
        for _ in range(2):
            answer = store_events(settings, found, read(settings, tickets=[TICKET | wrote]), now=RECEIPT)
        assert fates(answer) == ["duplicate"]
        content = json.loads(rows(found)[0]["content"])
    assert (content["subject"], content["body"][:30]) == ("Call [phone]", "I am [mail], card [card]. I am")
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"Call [phone]" in stored
    assert not any(secret in stored for secret in (b"1234 5678", b"harbour.example", b"4111"))
