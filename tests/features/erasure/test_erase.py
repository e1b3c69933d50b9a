"""Whoever is erased is in no table, no file and no byte, stays away, and others keep what is theirs."""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
import sqlite3
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from features.core.errors import GarrisonError, SettingsError
from features.erasure import databases
from features.erasure.erase import erase, verify
from features.erasure.export import write_export
from features.erasure.terms import Terms
from features.settings import Settings
from features.settings.load import load_settings
from features.sources.history import History
from features.state import database
from features.state.erasure_tables import ERASURES
from features.state.tables import METADATA
from tests.support.commands import run_command
from tests.support.faults import Fault, run_forked
from tests.support.scored_company import write_company, write_scores

# With a space, Chinese, and what HTML, JSON and URLs escape; another's id holds it.
ONE, OTHER = "甲公司 A&7", "甲公司 A&7-b"
NAME = "Ferry & Sons"
REASON = "asked for it"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A company of two accounts with scores, a cache of its tables, a row of each in every table, and files."""
    accounts = [{"id": ONE, "name": NAME}, {"id": OTHER, "name": "Pier", "parent": ONE}]
    settings = write_company(tmp_path, accounts)
    (tmp_path / "purchases.csv").write_text(f"id,at,amount\n{ONE},2024-01-02,10\n{OTHER},2024-01-03,20\n{ONE},bad,1\n")
    text = settings.file.read_text() + "[quality]\nmax_quarantine = 1.0\n"
    settings.file.write_text(text)
    settings = load_settings(settings.file)
    write_scores(settings, [{"account_id": ONE, "risk": 0.9}, {"account_id": OTHER, "risk": 0.25}])
    with History.open(settings):
        pass
    with database.open(settings) as store, store.writing() as connection:
        fill_tables(connection, ONE, OTHER)
    write_files(settings.var)
    return settings


def fill_tables(connection: sa.Connection, *accounts: str) -> None:
    """Write a row of each account into every table, the id in each column of text."""
    is_sqlite = connection.dialect.name == "sqlite"
    unchecked = "PRAGMA defer_foreign_keys = ON" if is_sqlite else "SET session_replication_role = replica"
    connection.exec_driver_sql(unchecked)
    for n, account in enumerate(accounts):
        for table in METADATA.sorted_tables:
            if table is not ERASURES:
                connection.execute(sa.insert(table), [{c.name: fill(c, account, n) for c in table.c}])


def fill(column: sa.Column[Any], account: str, n: int) -> Any:
    if column.foreign_keys or column.name == "id":
        return f"key {n}"
    if isinstance(column.type, sa.JSON):
        return {"account_id": account, "rows": [{"account": account}, n], "of": n}
    if column.name in {"subject", "body", "html"}:
        return f"On {account}, {NAME}: {n}"
    return account if isinstance(column.type, sa.String) else n


def write_files(var: Path) -> None:
    """Write files of every form, each about both."""
    both = [{"account_id": ONE, "n": 1}, {"account_id": OTHER, "n": 2}]
    folder = var / "audit"
    folder.mkdir(parents=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in both))
    (folder / "asked.jsonl").write_text(json.dumps({"accounts": [ONE, OTHER]}) + "\n")
    (folder / "list.json").write_text(json.dumps({ONE: 1, OTHER: 2, "rows": both}))
    (folder / "page.html").write_text(f"<p>甲公司 A&amp;7 is {NAME}</p><p>甲公司 A&amp;7-b</p>")
    with (folder / "table.csv").open("w", newline="") as opened:
        csv.writer(opened).writerows([["account_id", "n"], [ONE, 1], [OTHER, 2]])
    with gzip.open(folder / "old.jsonl.gz", "wt") as packed:
        packed.write(json.dumps(both[0]) + "\n" + json.dumps(both[1]) + "\n")
    with zipfile.ZipFile(folder / "pages.zip", "w") as archive:
        archive.writestr("one.html", f"<p>{ONE}</p>")
    nested = pa.table({"raw": [{"id": ONE}, {"id": OTHER}], "why": ["bad", "bad"]})
    pq.write_table(nested, folder / "raw.parquet")
    (folder / f"{ONE.replace('&', 'und')}.txt").write_text("")
    (folder / "scores.parquet.harmed").write_bytes(b"PAR1 half")
    aside = var.with_name(f"{var.name}.before-20250101T000000")
    aside.mkdir()
    with contextlib.closing(sqlite3.connect(aside / "garrison.db")) as old, old:
        old.execute("CREATE TABLE notes (account_id TEXT, text TEXT)")
        old.executemany("INSERT INTO notes VALUES (?, ?)", [(ONE, "a"), (OTHER, f"b of {ONE}")])


def list_bytes(settings: Settings) -> Iterator[tuple[Path, bytes]]:
    for folder in (settings.var, settings.var.with_name(f"{settings.var.name}.before-20250101T000000")):
        yield from ((file, file.read_bytes()) for file in folder.rglob("*") if file.is_file())


def test_an_erased_account_is_in_no_byte_and_others_keep_theirs(settings: Settings) -> None:
    assert len(verify(settings, "account", ONE)) > 20
    before = read_state(settings, OTHER)
    done = run_command("features", "erase", "--account", ONE, "--reason", REASON, "--verify", "--config", settings.file)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "The id is nowhere." in done.stdout
    longer = OTHER.encode()
    for file, content in list_bytes(settings):
        assert ONE.encode() not in content.replace(longer, b""), file
        assert NAME.encode() not in content, file
    assert read_state(settings, OTHER) == before
    audit = settings.var / "audit"
    assert [json.loads(line)["n"] for line in (audit / "log.jsonl").read_text().splitlines()] == [2]
    assert json.loads((audit / "asked.jsonl").read_text()) == {"accounts": [OTHER]}
    assert json.loads((audit / "list.json").read_text()) == {OTHER: 2, "rows": [{"account_id": OTHER, "n": 2}]}
    assert (audit / "page.html").read_text() == "<p>[erased] is [erased]</p><p>甲公司 A&amp;7-b</p>"
    assert (audit / "table.csv").read_text().splitlines() == ["account_id,n", f"{OTHER},2"]
    assert gzip.decompress((audit / "old.jsonl.gz").read_bytes()).decode().count("\n") == 1
    assert pq.read_table(audit / "raw.parquet")["raw"].to_pylist() == [{"id": OTHER}]
    # Again: nothing is there, and nothing changes.
    again = erase(settings, "account", ONE, reason=REASON)
    assert again.counts == {}


def read_state(settings: Settings, account: str) -> dict[str, list[Any]]:
    """Read the rows of an account from every table that has accounts."""
    with database.open(settings) as store, store.reading() as connection:
        rows = databases.read_rows(connection, Terms(account))
    for row in rows.get("problem_tickets", ()):
        row.pop("subject")  # it holds the name of both
    return {name: some for name, some in rows.items() if "account_id" in METADATA.tables[name].c}


def test_every_table_with_an_account_is_covered(settings: Settings) -> None:
    # A table that is new is filled, erased and looked through here by itself.
    erase(settings, "account", ONE, reason=REASON)
    with database.open(settings) as store, store.reading() as connection:
        for table in METADATA.sorted_tables:
            for row in connection.execute(sa.select(table)).mappings():
                assert ONE not in str(dict(row)).replace(OTHER, ""), table.name


def test_on_postgresql_rows_go_from_every_table_too(tmp_path: Path, postgres_url: str) -> None:
    settings = write_company(tmp_path, [{"id": ONE, "name": NAME}, {"id": OTHER, "name": "Pier"}])
    settings = settings.model_copy(update={"state_url": postgres_url})
    with database.open(settings) as store:
        with store.writing() as connection:
            fill_tables(connection, ONE, OTHER)
        assert verify(settings, "account", ONE)
        assert erase(settings, "account", ONE, reason=REASON).counts["state/scores"] == 1
        assert verify(settings, "account", ONE) == []
        with store.reading() as connection:
            for table in METADATA.sorted_tables:
                for row in connection.execute(sa.select(table)).mappings():
                    assert ONE not in str(dict(row)).replace(OTHER, ""), table.name
            assert connection.scalar(sa.select(sa.func.count()).select_from(METADATA.tables["scores"])) == 1


def test_it_does_not_come_back_with_the_next_import(settings: Settings) -> None:
    erase(settings, "account", ONE, reason=REASON)
    with History.open(settings) as history:
        accounts = history.query("SELECT account_id, parent_id FROM accounts")
        assert accounts["account_id"].to_list() == [OTHER]
        assert accounts["parent_id"].isna().all()
        assert {c.table: (c.erased, c.bad) for c in history.checked} == {"accounts": (1, 0), "purchases": (2, 0)}
    assert verify(settings, "account", ONE) == []
    with duckdb.connect(next((settings.var / "history").glob("*.duckdb")), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM purchases").fetchall() == [(1,)]


def test_another_key_is_refused_since_it_knows_nobody(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    erase(settings, "account", ONE, reason=REASON)
    assert (settings.var / "privacy.key").stat().st_mode & 0o077 == 0
    monkeypatch.setenv("GARRISON_PRIVACY_KEY", "0" * 32)
    with pytest.raises(SettingsError, match="not the one by which"):
        History.open(settings)
    monkeypatch.setenv("GARRISON_PRIVACY_KEY", "short")
    with pytest.raises(SettingsError, match="too short"):
        History.open(settings)


def test_an_erasure_that_is_killed_again_and_again_is_finished_by_the_next(settings: Settings) -> None:
    def run(at: int) -> None:
        engine = database.connect(settings.state)
        with mock.patch.object(database, "connect", return_value=engine), Fault(engine, at, "kill"):
            erase(settings, "account", ONE, reason=REASON)

    # Among the statements; at the commit and right after it; among the files, each synced and renamed.
    assert [run_forked(partial(run, at)) for at in (40, 125, 245)] == [None] * 3
    erase(settings, "account", ONE, reason=REASON)
    assert verify(settings, "account", ONE) == []
    for file, content in list_bytes(settings):
        assert NAME.encode() not in content, file
    with database.open(settings) as store, store.reading() as connection:
        assert connection.scalar(sa.select(sa.func.count()).where(ERASURES.c.done_at.is_not(None))) == 1


def test_a_reason_that_names_the_id_and_an_empty_id_are_refused(settings: Settings) -> None:
    for one, reason in ((ONE, f"{ONE} asked"), (" ", REASON), (ONE, " ")):
        with pytest.raises(GarrisonError):
            erase(settings, "account", one, reason=reason)


def test_an_export_holds_all_that_is_kept_and_is_private(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "export.json"
    write_export(settings, "account", ONE, file)
    assert file.stat().st_mode & 0o077 == 0
    exported = json.loads(file.read_text())
    with database.open(settings) as store, store.reading() as connection:
        mine = [t.name for t in METADATA.sorted_tables if "account_id" in t.c]
        assert exported["state"].keys() >= {*mine, "episode_events"}
        assert connection.scalar(sa.select(sa.func.count()).select_from(METADATA.tables["scores"])) == 2
    assert exported["tables"]["accounts"][0]["name"] == NAME
    assert len(exported["tables"]["purchases"]) == 1
    assert any(place.startswith("scores/") for place in exported["files"])
    assert "audit/page.html" in exported["named_in"]
    assert OTHER not in {
        row["account_id"] for rows in exported["state"].values() for row in rows if "account_id" in row
    }


def test_a_restored_backup_brings_nobody_back(settings: Settings, tmp_path: Path) -> None:
    backup = tmp_path / "backup.tar.gz"
    assert run_command("monitoring", "backup", backup, "--config", settings.file).returncode == 0
    erased = erase(settings, "account", ONE, reason=REASON)
    assert any(str(backup) in place for place in erased.out_of_reach)
    done = run_command("monitoring", "restore", backup, "--replace", "--config", settings.file)
    assert done.returncode == 0, done.stderr
    assert "1 accounts or people who were erased had come back" in done.stdout
    assert verify(settings, "account", ONE) == []
    with History.open(settings) as history:
        assert history.count_rows() == 1
