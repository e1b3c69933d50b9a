"""The canonical tables are made once and read by every command, until a source or what is made of it changes."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from features.core.errors import QualityError
from features.sources import source_views, table_cache, validation

HOURS = 2 * 3600


@pytest.fixture
def made(monkeypatch):
    """The tables that were made from sources, since it was last emptied."""
    seen, check = [], validation.validate_table

    def counted(connection, settings, table, gone):
        seen.append(table)
        return check(connection, settings, table, gone)

    monkeypatch.setattr(validation, "validate_table", counted)
    return seen


def folder(company):
    return company.folder / "var" / "harbour" / "history"


def names(company):
    return sorted(f.name for f in folder(company).iterdir())


def amounts(company):
    return [row[0] for row in company.read("purchases", "account_id || ' ' || amount::INTEGER")]


def test_a_second_open_reads_the_kept_file_and_no_source(company, made, monkeypatch):
    first = amounts(company)
    with company.open() as history:
        checked = history.checked
    assert made == ["accounts", "purchases"]
    (name,) = names(company)
    monkeypatch.setattr(source_views, "attach_sources", lambda *_: pytest.fail("a source was read"))
    assert amounts(company) == first == ["A 10", "B 20"]
    with company.open() as history:
        assert history.checked == checked
    assert (len(made), names(company)) == (2, [name])


def test_a_folder_that_was_moved_is_not_read_anew(company, made, tmp_path_factory):
    company.table("purchases", "account_id,purchased_at,amount", "A,2024-01-05,10", *["B,2024-01-06,20"] * 9, "B,,3")
    company.toml["quality"] = {"max_quarantine": 0.5}
    company.open().close()
    company.folder = shutil.move(company.folder, tmp_path_factory.mktemp("elsewhere") / "company")
    company.file = company.folder / company.file.name
    company.toml["paths"]["var"] = str(company.folder / "var")
    with company.open() as history:
        (table,) = (c for c in history.checked if c.table == "purchases")
    assert made == ["accounts", "purchases"]
    assert pq.read_metadata(table.quarantine).num_rows == 1


def test_other_code_makes_the_tables_anew(company, made, monkeypatch):
    company.open().close()
    made.clear()
    monkeypatch.setattr(table_cache, "fingerprint_packages", lambda *names: " ".join(names))
    company.open().close()
    assert made


def test_a_source_of_other_size_or_time_is_read_anew(company, made):
    file = company.folder / "purchases.csv"
    amounts(company)
    was = file.stat()
    file.write_text(file.read_text().replace(",20\n", ",99\n"))
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns + 1))
    assert file.stat().st_size == was.st_size
    assert amounts(company) == ["A 10", "B 99"]
    file.write_text(file.read_text() + "A,2024-01-07,5\n")
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns + 1))
    assert amounts(company) == ["A 10", "A 5", "B 99"]
    assert len(made) == 6


def test_a_file_that_comes_to_a_folder_of_them_is_read(company):
    (company.folder / "bought").mkdir()
    (company.folder / "purchases.csv").rename(company.folder / "bought" / "1.csv")
    company.toml["sources"]["purchases"]["path"] = "bought/*.csv"
    assert amounts(company) == ["A 10", "B 20"]
    (company.folder / "bought" / "2.csv").write_text("account_id,purchased_at,amount\nA,2024-01-07,5\n")
    assert amounts(company) == ["A 10", "A 5", "B 20"]


@pytest.mark.parametrize(
    ("where", "key", "value"),
    [
        (("company",), "timezone", "Europe/Berlin"),
        (("quality",), "max_quarantine", 0.5),
        (("tables", "purchases"), "lag", "1d"),
        (("tables", "purchases", "columns"), "quantity", "amount"),
    ],
)
def test_other_settings_of_the_tables_or_their_quality_make_it_anew(company, made, where, key, value):
    company.toml["quality"] = {}
    amounts(company)
    made.clear()
    changed = company.toml
    for part in where:
        changed = changed[part]
    changed[key] = value
    amounts(company)
    assert made == ["accounts", "purchases"]


def test_settings_that_no_table_is_made_of_do_not(company, made):
    amounts(company)
    made.clear()
    company.toml["churn"]["horizons"] = [30]
    company.toml["training"] = {"every": "week"}
    amounts(company)
    assert made == []


def test_a_making_that_fails_leaves_no_file(company, monkeypatch):
    company.table("purchases", "account_id,purchased_at,amount", "A,2024-01-05,10", "A,soon,10")
    with pytest.raises(QualityError):
        amounts(company)
    company.toml["quality"] = {"max_quarantine": 0.5}
    with monkeypatch.context() as patch:
        patch.setattr(source_views, "attach_sources", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            amounts(company)
    assert len(names(company)) == 1  # of the tables that were refused
    assert amounts(company) == ["A 10"]


def test_tables_that_are_refused_are_read_once_and_refused_again(company, made):
    company.table("purchases", "account_id,purchased_at,amount", "A,2024-01-05,10", "A,soon,10")
    for _ in range(2):
        with pytest.raises(QualityError, match="1 of 2 rows of purchases are bad"):
            amounts(company)
    assert made == ["accounts", "purchases"]


KILLED = """
import os, signal, sys
from pathlib import Path
from features.settings.load import load_settings
from features.sources import validation
from features.sources.history import History
validate_table = validation.validate_table
def killed(backend, settings, table, gone):
    validate_table(backend, settings, table, gone)
    os.kill(os.getpid(), signal.SIGKILL)
validation.validate_table = killed
History.open(load_settings(Path(sys.argv[1])))
"""


def test_a_making_that_is_killed_is_in_nobodys_way(company):
    done = subprocess.run([sys.executable, "-c", KILLED, str(company.write())], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    left = names(company)
    assert left
    assert not any(name.endswith(".duckdb") for name in left)
    # As a process of the same number would meet it, such as in a container.
    for name in left:
        number = name.split(".duckdb.")[1].split(".")[0]
        (folder(company) / name).rename(folder(company) / name.replace(number, str(os.getpid())))
    assert amounts(company) == ["A 10", "B 20"]
    assert len(names(company)) == 1


def test_files_that_nobody_used_of_late_are_tidied_away(company):
    amounts(company)
    (first,) = names(company)
    (folder(company) / "abc.duckdb.7.part.tmp").mkdir()
    (folder(company) / "abc.duckdb.7.part.tmp" / "spilled").write_text("x")
    company.table("purchases", "account_id,purchased_at,amount", "A,2024-01-05,30")
    amounts(company)
    assert len(names(company)) == 3  # another process may have opened the first just now
    for file in folder(company).iterdir():
        os.utime(file, (time.time() - HOURS,) * 2)
    amounts(company)  # used again
    company.table("purchases", "account_id,purchased_at,amount", "A,2024-01-05,40")
    amounts(company)
    assert len(names(company)) == 2
    assert first not in names(company)


def test_only_the_user_who_runs_it_may_read_the_file(company):
    amounts(company)
    (file,) = folder(company).iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder(company).stat().st_mode) == 0o700


BOTH = """
import sys
from pathlib import Path
from features.settings.load import load_settings
from features.sources.history import History
settings = load_settings(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
with History.open(settings) as history:
    print(len(history.query("SELECT * FROM purchases")))
"""


def test_two_processes_at_once_both_get_it(company):
    rows = (f"{'AB'[n % 2]},2024-01-05,{n}" for n in range(20_000))
    company.table("purchases", "account_id,purchased_at,amount", *rows)
    words = [sys.executable, "-c", BOTH, str(company.write())]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(words, **pipes) for _ in range(2)]
    assert [p.stdout.readline() for p in both] == ["ready\n"] * 2
    for p in both:
        p.stdin.write("\n")
        p.stdin.flush()
    assert [p.communicate(timeout=120) for p in both] == [("20000\n", "")] * 2
    assert len(names(company)) == 1
