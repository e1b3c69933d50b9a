"""Events that came over HTTP are rows of the canonical tables: once each, known when they came, in every command."""

import json
import os
import random
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from features.core.timestamps import from_micros, to_micros
from features.engine import snapshots
from features.sources import posted_events, table_cache
from features.sources.history import History
from tests.support.property_tests import is_nightly

METADATA = sa.MetaData()
EVENTS = sa.Table(
    "events",
    METADATA,
    *(sa.Column(c, sa.BigInteger) for c in ("seq", "revision", "at", "known_at", "received_at")),
    *(sa.Column(c, sa.String) for c in ("source", "event_id", "account_id", "content")),
)


def at(text):
    return to_micros(datetime.fromisoformat(text).replace(tzinfo=UTC))


class Log:
    """The state database's log, written to as the service does."""

    def __init__(self, settings):
        (settings.var).mkdir(parents=True, exist_ok=True)
        self.engine = sa.create_engine(settings.state)
        METADATA.create_all(self.engine)
        self.seq = 0

    def add(self, source, event_id, known, revision=0, **content):
        self.seq += 1
        content = {"account_id": "A"} | {c: at(v) if c.endswith("_at") else v for c, v in content.items()}
        row = {"seq": self.seq, "source": source, "event_id": event_id, "revision": revision, "known_at": at(known)}
        row |= {"account_id": content["account_id"], "at": 0, "received_at": at(known)}
        with self.engine.begin() as connection:
            connection.execute(sa.insert(EVENTS).values(content=json.dumps(content), **row))


@pytest.fixture
def log(company):
    tickets = ("T1,A,2024-01-02,2024-01-02,,normal", "T2,B,2024-01-03,2024-01-03,2024-01-04,")
    company.table("tickets", "ticket_id,account_id,opened_at,known_at,resolved_at,priority", *tickets)
    company.table("usage", "account_id,used_at,user_id,count", "A,2024-01-02,u,3", "B,2024-01-02,u,3")
    company.table("purchases", "account_id,purchased_at,amount,order_id", "A,2024-01-05,10,O1", "B,2024-01-06,20,")
    return Log(company.settings())


def purchases(company):
    return company.read("purchases", "account_id, amount::DOUBLE, known_at, event_id")


def test_without_a_state_database_nothing_came_and_none_is_made(company):
    settings = company.settings()
    assert posted_events.read_log_position(settings) == 0
    assert len(posted_events.read_revisions(settings, 5)) == 0
    with company.open() as history:
        assert history.cache.position == 0
    assert not (settings.var / "garrison.db").exists()


def test_what_came_over_http_is_a_row_known_at_its_receipt(company, log):
    log.add("usage", "e1", "2024-01-09T10:00", used_at="2024-01-08", count=4, duration_s="2.5000")
    with company.open() as history:
        (row,) = [r for r in history.read_rows("usage", "A") if r["event_id"]]
        usage = next(c for c in history.checked if c.table == "usage")
    assert (row["event_id"], row["known_at"], row["count"]) == ("e1", at("2024-01-09T10:00"), 4)
    assert str(row["duration_s"]) == "2.5000"
    assert (usage.rows, usage.kept, usage.reasons) == (3, 3, {})
    assert usage.last == from_micros(at("2024-01-08"))


def test_the_tables_are_read_anew_once_something_came(company, log):
    with company.open() as history:
        first = history.cache
    log.add("usage", "e1", "2024-01-09", used_at="2024-01-08")
    with company.open() as history:
        second = history.cache
        assert len(history.read_rows("usage", "A")) == 2
    assert second.key != first.key
    assert (first.position, second.position) == (0, 1)
    with History.reopen(company.settings(), first.key) as before:
        assert len(before.read_rows("usage", "A")) == 1
        assert before.cache == first


def test_a_file_that_is_held_outlives_those_that_come_after(company, log):
    keys = []
    for n in range(3):
        log.add("usage", f"e{n}", "2024-01-09", used_at="2024-01-08")
        with company.open() as history:
            keys.append(history.cache.key)
        for file in (company.settings().var / "history").glob("*.duckdb"):
            os.utime(file, (1, 1))
        if n == 0:
            table_cache.pin_cache(company.settings(), keys[0])
    assert [table_cache.reopen_cache(company.settings(), key) is not None for key in keys] == [True, False, True]


def test_events_of_an_account_that_is_not_there_wait_and_stop_no_run(company, log):
    for n in range(20):
        log.add("usage", f"e{n}", "2024-01-09", used_at="2024-01-08", account_id="C")
    checked = company.checked("usage")
    assert (checked.rows, checked.kept, checked.reasons) == (22, 2, {posted_events.WAITING: 20})
    company.table("accounts", "account_id,created_at", "A,2023-01-01", "B,2023-01-01", "C,2024-01-01")
    assert company.checked("usage").kept == 22


def test_an_event_that_the_table_has_too_is_one_row_known_when_it_was_first_told(company, log):
    # The table tells of A's order as it happens; of B's purchase too, by its content alone.
    log.add("purchases", "p1", "2024-01-09", purchased_at="2024-01-05", amount="10.0000", order_id="O1")
    log.add("purchases", "p2", "2024-01-02", purchased_at="2024-01-06", amount="20.0000", account_id="B")
    assert purchases(company) == [("A", 10, at("2024-01-05"), None), ("B", 20, at("2024-01-02"), None)]
    log.add("purchases", "p3", "2024-01-09", purchased_at="2024-01-05", amount="-10.0000", order_id="O1")
    log.add("purchases", "p4", "2024-01-09", purchased_at="2024-01-06", amount="20.0001", account_id="B")
    assert len(purchases(company)) == 4  # a refund of the order, and another amount


def test_usage_that_the_table_has_too_counts_once_and_equal_events_each(company, log):
    log.add("usage", "e1", "2024-01-09", used_at="2024-01-02", user_id="u", count=3)
    log.add("usage", "e2", "2024-01-09", used_at="2024-01-02", user_id="u", count=4)
    log.add("usage", "e3", "2024-01-09", used_at="2024-01-02", user_id="u", count=4)
    found = company.read("usage", "account_id, count, event_id")
    assert found == [("A", 3, None), ("A", 4, "e2"), ("A", 4, "e3"), ("B", 3, None)]


def tickets(company):
    columns = "ticket_id, account_id, known_at, resolved_at, resolved_known_at, priority"
    return {row[0]: row[1:] for row in company.read("tickets", columns)}


def test_a_posted_resolution_of_a_ticket_in_the_table_is_known_at_its_receipt(company, log):
    log.add("tickets", "T1", "2024-01-09", opened_at="2024-01-02", resolved_at="2024-01-08", ticket_id="T1")
    found = tickets(company)
    assert len(found) == 2
    assert found["T1"] == ("A", at("2024-01-02"), at("2024-01-08"), at("2024-01-09"), "normal")
    assert found["T2"][3] is None


def test_what_table_and_post_both_tell_of_a_ticket_is_known_when_the_first_did(company, log):
    post = {"opened_at": "2024-01-03", "ticket_id": "T2", "account_id": "B"}
    log.add("tickets", "T2", "2024-01-03T12:00", **post)
    log.add("tickets", "T2", "2024-01-09", 1, resolved_at="2024-01-04", **post)
    assert tickets(company)["T2"][:4] == ("B", at("2024-01-03"), at("2024-01-04"), at("2024-01-04"))


def test_of_a_ticket_posted_twice_each_fact_is_known_when_it_came(company, log):
    post = {"opened_at": "2024-01-03", "ticket_id": "N"}
    log.add("tickets", "N", "2024-01-04", **post)
    log.add("tickets", "N", "2024-01-08", 1, resolved_at="2024-01-05", **post)
    log.add("tickets", "N", "2024-01-09", 2, resolved_at="2024-01-05", first_response_at="2024-01-03", **post)
    assert tickets(company)["N"] == ("A", at("2024-01-04"), at("2024-01-05"), at("2024-01-08"), None)
    assert company.read("tickets", "max(first_response_known_at)") == [(at("2024-01-09"),)]


def test_events_of_a_merged_account_are_borne_as_those_of_tables_are(company, log):
    rows = ("A,2023-01-01,B,2024-01-07", "B,2023-01-01,,")
    company.table("accounts", "account_id,created_at,merged_into,merged_at", *rows)
    log.add("usage", "before", "2024-01-06T12:00", used_at="2024-01-06")
    log.add("usage", "after", "2024-01-08T12:00", used_at="2024-01-08")
    found = company.read("usage", "event_id, account_id, known_at, first_known_at")
    known_at = at("2024-01-06T12:00")
    assert [row for row in found if row[0]] == [
        ("after", "B", at("2024-01-08T12:00"), None),
        ("before", "A", known_at, None),
        ("before", "B", at("2024-01-07"), known_at),
    ]


def test_a_log_that_cannot_be_read_is_told_without_its_password(company):
    company.toml["state_url"] = "postgresql://who:secret@127.0.0.1:1/none"
    with pytest.raises(Exception, match="can't be read") as told:
        company.open()
    assert "secret" not in str(told.value)


START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.mark.hypothesis  # so that `make test-nightly` runs it as well, with more seeds
@pytest.mark.parametrize("seed", range(40 if is_nightly() else 2))
def test_no_score_from_before_a_receipt_moves_when_the_event_comes(company, log, seed):
    draw = random.Random(seed)  # noqa: S311  # nothing secret here

    def some_time(after=0.0):
        return (START + timedelta(days=after + draw.random() * 20)).replace(tzinfo=None).isoformat()

    as_ofs = [START + timedelta(days=d, hours=5) for d in range(1, 45, 4)]
    come = sorted(some_time(20) for _ in range(6))
    posted, seen = {}, []
    for n, receipt in enumerate([None, *come]):
        if receipt is not None:
            source = draw.choice(["tickets", "tickets", "usage", "purchases"])
            if source == "tickets":
                ticket = f"P{draw.randrange(2)}"
                revision, row = posted.get(ticket, (-1, {"ticket_id": ticket, "opened_at": some_time()}))
                if revision >= 0:
                    later = draw.choice(["first_response_at", "resolved_at"])
                    row = row | {later: row.get(later) or some_time()}
                posted[ticket] = (revision + 1, row)
                log.add("tickets", ticket, receipt, revision + 1, **row)
            elif source == "usage":
                log.add("usage", f"e{n}", receipt, used_at=some_time(), count=draw.randrange(9))
            else:
                log.add("purchases", f"e{n}", receipt, purchased_at=some_time(), amount=f"{draw.randrange(99)}.5000")
        with company.open() as history:
            seen.append(snapshots.build(history, as_ofs).set_index(["as_of", "account_id"]))
    moved = 0
    for before, after, receipt in zip(seen[:-1], seen[1:], come, strict=True):
        past = [a for a in as_ofs if to_micros(a) < at(receipt)]
        mine = [c for c in before if not c.startswith("rank_")]
        assert before.loc[past, mine].equals(after.loc[past, mine])
        moved += not before[mine].equals(after[mine])
    assert moved >= 3


def test_touches_that_people_record_are_rows_and_one_that_the_table_has_too_counts_once(company, log):
    company.table("touches", "account_id,touched_at,kind", "A,2024-01-02,call", "A,2024-01-02,visit")
    log.add("touches", "k1", "2024-01-09", touched_at="2024-01-08", kind="visit")
    log.add("touches", "k2", "2024-01-01T12:00", touched_at="2024-01-02", kind="Call")
    rows = company.read("touches", "account_id, touched_at, kind, known_at")
    assert rows == [
        ("A", at("2024-01-02"), "call", at("2024-01-01T12:00")),
        ("A", at("2024-01-02"), "visit", at("2024-01-02")),
        ("A", at("2024-01-08"), "visit", at("2024-01-09")),
    ]
    with company.open() as history:
        now = datetime(2024, 1, 10, tzinfo=UTC)
        frame = snapshots.build(history, [now]).set_index("account_id")
    assert (frame.loc["A", "touches_30d"], frame.loc["A", "days_since_touch"]) == (3, 2)
