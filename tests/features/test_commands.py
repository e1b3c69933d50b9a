"""`python -m features`, as a script calls it: exit status, what it says where, and what it leaves behind."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from features.catalog import BUILT_IN, FEATURES
from tests.support.commands import run_command

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(company):
    """Run the command in the company's folder; gives (exit status, standard output, standard error)."""

    def features(*words):
        done = run_command("features", *words, cwd=company.folder)
        return done.returncode, done.stdout, done.stderr

    return features


def one_line(error):
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


def test_check_reports_every_table_for_people_and_machines(company, run):
    company.only("purchases", "account_id,purchased_at,amount", "A,2024-01-05,10", "A,soon,10", "Z,2024-01-05,1")
    company.write()
    status, out, err = run("check", "--json", "report/check.json")
    # One purchase is nothing to learn from, and no fault.
    assert (status, err) == (0, "")
    assert out.startswith("Can you train? Not yet:")
    quarantine = company.folder / "var" / "harbour" / "quarantine" / "purchases.parquet"
    assert "purchased_at is not a time (1)" in out
    assert f"The bad rows of purchases, as they came: {quarantine}" in out
    assert "Missing: tickets, usage." in out
    report = json.loads((company.folder / "report" / "check.json").read_text())
    assert report["absent"] == ["tickets", "usage"]
    assert report["tables"]["accounts"]["rows"] == report["tables"]["accounts"]["kept"] == 2
    purchases = report["tables"]["purchases"]
    assert (purchases["rows"], purchases["kept"], purchases["first"]) == (3, 1, "2024-01-05T00:00:00+00:00")
    assert purchases["reasons"] == {"account_id is not in accounts": 1, "purchased_at is not a time": 1}
    assert Path(purchases["quarantine"]).exists()


def test_check_refuses_wrong_settings_in_one_line_and_leaves_nothing(company, run):
    company.toml["company"]["timezone"] = "Mars"
    company.toml["qualty"] = {}
    company.write()
    status, out, err = run("check", "--json", "check.json")
    assert (status, out) == (1, "")
    assert "company.timezone" in one_line(err)
    assert "qualty" in err
    assert not (company.folder / "check.json").exists()
    assert not (company.folder / "var").exists()


def test_check_fails_in_one_line_when_too_many_rows_are_bad(company, run):
    company.table("purchases", "account_id,purchased_at,amount", "A,2024-01-05,10", "A,soon,10")
    company.write()
    status, _, err = run("check")
    assert status == 1
    assert "1 of 2 rows of purchases are bad" in one_line(err)


def test_a_missing_settings_file_is_one_line(run):
    status, out, err = run("check", "--config", "other.toml")
    assert (status, out) == (1, "")
    assert "there is no settings file other.toml" in one_line(err)


def test_build_writes_a_whole_file_the_same_on_every_run(company, run):
    company.write()
    words = ("build", "--as-of", "2024-02-01", "--as-of", "2024-01-06T12:00:00+01:00", "--out", "new/s.parquet")
    status, out, err = run(*words)
    assert (status, err) == (0, "")
    file = company.folder / "new" / "s.parquet"
    frame = pd.read_parquet(file)
    said = f"4 snapshots of {frame.shape[1] - 2} features in new/s.parquet"
    assert out.splitlines() == [said, "2 instants: 0 from the cache, 2 built"]
    assert frame["account_id"].tolist() == ["A", "B"] * 2
    assert frame["as_of"].astype(str).tolist() == ["2024-01-06 11:00:00+00:00"] * 2 + ["2024-02-01 00:00:00+00:00"] * 2
    assert frame["orders_in_all"].tolist() == [1, 1, 1, 1]
    first = file.read_bytes()
    # That of noon is built each time.
    assert run(*words)[1].splitlines() == [said, "2 instants: 1 from the cache, 1 built"]
    assert file.read_bytes() == first
    assert [f.name for f in file.parent.iterdir()] == ["s.parquet"]


def test_a_build_that_fails_leaves_the_file_of_the_one_before(company, run):
    company.toml["sources"]["purchases"]["path"] = "gone.csv"
    company.write()
    file = company.folder / "s.parquet"
    file.write_bytes(b"of before")
    status, _, err = run("build", "--as-of", "2024-02-01", "--out", file)
    assert status == 1
    assert "sources.purchases.path names no file" in one_line(err)
    assert file.read_bytes() == b"of before"


def test_an_output_that_cannot_be_written_is_one_line(company, run):
    company.write()
    (company.folder / "file").write_text("")
    status, _, err = run("build", "--as-of", "2024-02-01", "--out", "file/s.parquet")
    assert status == 1
    assert "file" in one_line(err)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("build", "--as-of", "2024-02-01T10:00:00", "--out", "s.parquet"), "has no time zone"),
        (("build", "--out", "s.parquet"), "--as-of"),
    ],
)
def test_wrong_usage_exits_with_2_and_names_what_is_wrong(company, run, words, said):
    company.write()
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


def test_the_catalog_needs_no_company_and_lists_every_feature(company, run):
    status, out, err = run("catalog", "--json", "catalog.json")
    assert (status, err) == (0, "")
    assert BUILT_IN.version in out
    assert all(name in out for name in FEATURES)
    listed = json.loads((company.folder / "catalog.json").read_text())
    assert listed["version"] == BUILT_IN.version
    assert [f["name"] for f in listed["features"]] == list(FEATURES)


def test_a_piped_catalog_cuts_no_name_and_no_sentence(run):
    _, out, _ = run("catalog")
    lines = out.splitlines()
    for feature in FEATURES.values():
        (line,) = (line for line in lines if line.startswith(f"{feature.name} "))
        assert feature.sentence in line


def test_help_imports_neither_ibis_nor_pandas_nor_duckdb():
    line = [sys.executable, "-X", "importtime", "-m", "features", "--help"]
    done = subprocess.run(line, cwd=ROOT, text=True, capture_output=True, timeout=60, check=True)
    assert "build" in done.stdout
    imported = {entry.rsplit("|", 1)[-1].strip() for entry in done.stderr.splitlines()}
    assert "features.settings.cli" in imported
    assert not imported & {"ibis", "pandas", "duckdb", "pyarrow"}


@pytest.mark.parametrize("command", ["check", "catalog"])
def test_a_feature_with_an_unknown_play_is_refused_in_one_line(company, run, command):
    (company.folder / "own.py").write_text(
        "from features.definitions.feature import feature\n"
        "from features.definitions.streams import USAGE\n"
        "@feature(unit='u', family='f', says='{value}', play='train_user')\n"
        "def ours(at):\n    'Uses.'\n    return at(USAGE.count())\n"
        "FEATURES = ours\n"
    )
    company.toml["catalog"] = {"features": "own.py"}
    company.write()
    status, out, err = run(command, "--config", "garrison.toml")
    assert (status, out) == (1, "")
    assert "ours can't be used: there is no play 'train_user'. Did you mean train_users?" in one_line(err)
