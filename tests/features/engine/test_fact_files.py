"""Facts are read from the tables once, and then from arrays beside them, which heal and go with the tables."""

import os
import stat
from datetime import UTC, datetime

import numpy as np
import pytest

from features.core.timestamps import EVER
from features.engine import fact_files, facts, snapshots
from tests.features.sources.test_table_cache import HOURS, folder

FEB, MAR = (datetime(2024, month, 1, tzinfo=UTC) for month in (2, 3))
USED = "account_id,used_at,known_at,user_id,feature,count"
TICKETS = "ticket_id,account_id,opened_at,resolved_at,csat"
BOUGHT = "account_id,purchased_at,amount,term_ends_at"


@pytest.fixture
def harbour(company):
    """A company with late uses, users without a name, an account without facts, and facts that end."""
    company.table("accounts", "account_id,created_at", *(f"{name},2023-01-01" for name in "ABCD"))
    company.table(
        "usage",
        USED,
        "A,2024-01-05T10:00:00Z,2024-01-05T10:00:00Z,ann,charts,3",
        "A,2024-01-05T11:00:00Z,2024-01-09T11:00:00Z,bob,charts,70000",
        "A,2024-01-20,2024-01-20,ann,,1",
        "C,2024-01-02,2024-02-10,bob,tides,2",
        "C,2024-01-02,2024-01-02,,tides,2",
        "D,2024-02-11,2024-02-11,ann,berths,5",
    )
    company.table("tickets", TICKETS, "1,A,2024-01-03,2024-02-03,4", "2,D,2024-01-04,,")
    company.table("purchases", BOUGHT, "B,2024-01-06,20.25,2024-02-06", "B,2023-02-06,99999999.99,", "D,2024-01-07,-3,")
    return company


def build(company):
    with company.open() as history:
        return snapshots.build_table(history, [FEB, MAR])


def find_files(company):
    return sorted(folder(company).glob("*.facts/*"))


def test_facts_from_a_file_are_those_of_the_tables(harbour):
    with harbour.open() as history:
        streams, _ = snapshots._compiled(history.features, history.attributes)
        made, read = (dict(fact_files.load_facts(history, streams, (0, 3), np.array([0, 1]))) for _ in range(2))
        for stream, asks in streams.items():
            expected = facts.read_facts(history, stream, asks, accounts=(0, 3), since=EVER)
            coded = {a.measure.name for a in asks if a.measure.how == "distinct"}
            for found in (made[stream], read[stream]):
                assert_same(found, expected, coded)


def assert_same(found, expected, coded):
    assert found.scale == expected.scale
    found, expected = (
        {"account": f.account, "t": f.t, "known": f.known, "until": f.until, **f.values} for f in (found, expected)
    )
    assert list(found) == list(expected)
    for name, values in expected.items():
        if name not in coded:
            np.testing.assert_array_equal(found[name], values)
            continue
        # Each account's own numbers: as many, and null where there is none.
        for account in np.unique(expected["account"]):
            rows = expected["account"] == account
            pairs = set(zip(values[rows].tolist(), found[name][rows].tolist(), strict=True))
            numbers = sorted(number for _, number in pairs if number >= 0)
            assert numbers == list(range(len({value for value, _ in pairs if value >= 0})))
            assert all((value < 0) == (number < 0) for value, number in pairs)


def test_the_tables_are_asked_once(harbour, monkeypatch):
    first = build(harbour)
    (file,) = find_files(harbour)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with monkeypatch.context() as patch:
        patch.setattr(facts, "read_facts", lambda *_, **__: pytest.fail("the tables were asked again"))
        assert build(harbour).equals(first, check_metadata=True)
    # Other code or another catalog asks anew.
    monkeypatch.setattr(fact_files, "fingerprint_packages", lambda *names: " ".join(names))
    assert build(harbour).equals(first)
    assert len(find_files(harbour)) == 2


def test_one_instant_reads_a_file_but_makes_none(harbour, monkeypatch):
    def build_one():
        with harbour.open() as history:
            return snapshots.build_table(history, [MAR])

    alone = build_one()
    assert find_files(harbour) == []
    assert build(harbour).slice(4).equals(alone)
    monkeypatch.setattr(facts, "read_facts", lambda *_, **__: pytest.fail("the tables were asked again"))
    assert build_one().equals(alone)


def test_parts_of_accounts_have_files_of_their_own(harbour, monkeypatch):
    first = build(harbour)
    monkeypatch.setattr(snapshots, "_ACCOUNTS", 2)
    assert build(harbour).equals(first)
    assert [file.stem.partition("-")[2] for file in find_files(harbour)] == ["0-1", "0-3", "2-3"]


@pytest.mark.parametrize("share", [0, 0.5, 0.9])
def test_a_file_cut_short_is_made_again(harbour, share, caplog):
    first = build(harbour)
    (file,) = find_files(harbour)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    assert build(harbour).equals(first)
    assert [r.getMessage().partition(" was harmed")[0] for r in caplog.records] == [str(file)]
    assert file.stat().st_size == len(whole)


def test_a_spoiled_file_is_made_again(harbour):
    first = build(harbour)
    (file,) = find_files(harbour)
    whole = file.read_bytes()
    for place in range(40, len(whole), len(whole) // 12):
        file.write_bytes(whole[:place] + bytes(b ^ 0xFF for b in whole[place : place + 30]) + whole[place + 30 :])
        assert build(harbour).equals(first)


def test_they_go_with_their_tables(harbour):
    build(harbour)
    (file,) = find_files(harbour)
    for kept in (*folder(harbour).iterdir(), file):
        os.utime(kept, (file.stat().st_mtime - HOURS,) * 2)
    build(harbour)  # used again: it stays, and is not made anew
    assert find_files(harbour) == [file]
    for kept in folder(harbour).iterdir():
        os.utime(kept, (file.stat().st_mtime - HOURS,) * 2)
    harbour.table("purchases", BOUGHT, "B,2024-01-06,20.25,2024-02-06")
    build(harbour)
    assert not file.exists()
    assert len(find_files(harbour)) == 1
