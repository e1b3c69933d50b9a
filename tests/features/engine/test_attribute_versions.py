"""Attributes of accounts by time: a snapshot shows the version that held and was known at its instant."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from features.engine import snapshot_cache, snapshots
from features.engine.sql_engine import build_on_duckdb
from features.settings.load import load_settings
from features.sources.history import History
from tests.support.commands import run_command
from tests.support.small_catalog import build_small_catalog

TOML = """
company.name = "Versions"
paths.var = "{folder}/var"
sources.accounts.path = "accounts.csv"
sources.orders.path = "orders.csv"
tables.accounts = {{ source = "accounts", lag = "1d", columns = {columns} }}
tables.purchases.source = "orders"
tables.purchases.columns = {{ account_id = "id", purchased_at = "at", amount = "amount" }}
churn = {{ cohort = {{ kind = "active" }}, label = {{ kind = "no_purchase" }} }}
"""
COLUMNS = """{ account_id = "id", created_at = "created", valid_from = "since", plan = "plan",
  seats = "seats", paying = { column = "paying", kind = "flag" } }"""


def at(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC)


def write(folder, versions, columns=COLUMNS):
    folder.mkdir(exist_ok=True)
    names = ["id", "created", "since", "plan", "seats", "paying", "known"]
    pd.DataFrame(versions, columns=names[: len(versions[0])]).to_csv(folder / "accounts.csv", index=False)
    orders = pd.DataFrame({"id": "A", "at": ["2024-01-05", "2024-06-01"], "amount": 10})
    orders.to_csv(folder / "orders.csv", index=False)
    (folder / "garrison.toml").write_text(TOML.format(folder=folder, columns=columns.replace("\n", "")))
    return load_settings(folder / "garrison.toml")


VERSIONS = [
    ("A", "2024-01-01", "2024-01-01", "basic", 5, "yes"),
    ("A", "2024-01-01", "2024-03-01", "plus", 9, "no"),
    ("A", "2024-01-01", "2024-05-01", "team", None, "yes"),
    ("B", "2024-01-01", "2024-04-01", "basic", 2, "no"),
    ("C", "2024-01-01", None, "plus", 3, "no"),
]


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return write(tmp_path_factory.mktemp("versions"), VERSIONS)


def shown(frame, account):
    rows = frame[frame["account_id"] == account].sort_values("as_of")
    return [
        (plan if isinstance(plan, str) else None, None if np.isnan(seats) else seats)
        for plan, seats in zip(rows["plan"], rows["seats"], strict=True)
    ]


INSTANTS = [at("2024-02-01"), at("2024-03-01"), at("2024-03-02"), at("2024-04-15"), at("2024-07-01")]


def test_a_snapshot_shows_what_held_and_was_known_then(settings):
    with History.open(settings) as history:
        frame = snapshots.build(history, INSTANTS)
    # A version of the first of March is known a day later, since the table lags.
    assert shown(frame, "A") == [("basic", 5), ("basic", 5), ("plus", 9), ("plus", 9), ("team", None)]
    assert shown(frame, "B") == [(None, None), (None, None), (None, None), ("basic", 2), ("basic", 2)]
    assert shown(frame, "C") == [("plus", 3)] * 5  # without a day it holds from the account's beginning


def test_the_sql_of_other_engines_shows_the_same(settings):
    with History.open(settings) as history:
        history.catalog = build_small_catalog()
        other = build_on_duckdb(history, INSTANTS).to_pandas()
        ours = snapshots.build_table(history, INSTANTS).to_pandas()[list(other)]
        parts = pd.concat(part.to_pandas() for part in snapshots.build_parts(history, INSTANTS[3]))
    pd.testing.assert_frame_equal(ours, other)
    assert shown(parts, "B") == [("basic", 2)]


def test_a_posted_account_is_described_as_at_its_instant(settings):
    with History.open(settings) as history:
        rows = {t: history.read_rows(t, "A", INSTANTS[2]) for t in history.tables}
        with History.from_rows(settings, rows) as posted:
            assert shown(snapshots.build(posted, [INSTANTS[2]]), "A") == [("plus", 9)]
        assert history.read_rows("accounts", "A")[0]["plan"] == "team"
        assert history.read_rows("accounts", "B", INSTANTS[0])[0]["plan"] is None


def test_a_version_that_was_known_late_is_not_for_the_time_before(tmp_path):
    late = [(*row, "2024-06-10") if row[3] == "plus" and row[0] == "A" else (*row, row[2]) for row in VERSIONS]
    settings = write(tmp_path, late, COLUMNS.replace("valid_from", 'known_at = "known", valid_from'))
    with History.open(settings) as history:
        frame = snapshots.build(history, INSTANTS)
    # What came to light in June had been replaced in May.
    assert shown(frame, "A") == [("basic", 5)] * 4 + [("team", None)]


def test_a_new_version_leaves_the_cached_snapshots_before_it(tmp_path):
    settings = write(tmp_path, VERSIONS[:1] + VERSIONS[3:])
    with History.open(settings) as history:
        list(snapshot_cache.load_parts(settings, history, INSTANTS))
    settings = write(tmp_path, VERSIONS)
    with History.open(settings) as history:
        assert snapshot_cache.find_cached(settings, history, INSTANTS) == set(INSTANTS[:2])
        cached = pd.concat(p.to_pandas() for p in snapshot_cache.load_parts(settings, history, INSTANTS))
        assert shown(cached, "A") == shown(snapshots.build(history, INSTANTS), "A")


def test_rows_of_one_account_without_a_date_contradict_each_other_as_before(tmp_path):
    columns = COLUMNS.replace('valid_from = "since", ', "")
    settings = write(tmp_path, VERSIONS, columns)
    with History.open(settings, refuse=False) as history:
        assert history.checked[0].contested["plan"] == 1
    settings = write(tmp_path / "two", [*VERSIONS, ("B", "2024-01-01", "2024-04-01", "team", 2, "no")])
    with History.open(settings, refuse=False) as history:
        assert history.checked[0].contested == {"plan": 1}
        assert shown(snapshots.build(history, [at("2024-07-01")]), "B") == [(None, 2)]


def test_the_check_counts_versions(settings):
    done = run_command("features", "check", "--config", settings.file, "--as-of", "2024-06-02")
    assert "accounts: 5 rows are versions of 3 accounts by their valid_from" in done.stdout


@pytest.mark.parametrize("seed", range(3))
def test_no_later_version_moves_a_snapshot(tmp_path, seed):
    random = np.random.default_rng(seed)
    days = [at("2024-01-02") + timedelta(days=int(d)) for d in random.permutation(150)[:12]]
    rows = [
        (
            f"{random.choice(['A', 'B'])}",
            "2024-01-01",
            day.date(),
            f"p{n}",
            n,
            "no",
            (day + timedelta(days=int(k))).date(),
        )
        for n, (day, k) in enumerate(zip(days, random.integers(0, 40, 12), strict=True))
    ]
    columns, as_of = COLUMNS.replace("valid_from", 'known_at = "known", valid_from'), at("2024-04-01")
    first = [(a, "2024-01-01", "2024-01-01", "first", 0, "no", "2024-01-01") for a in "AB"]
    visible = [row for row in rows if row[2] < as_of.date() and row[6] <= as_of.date()]
    frames = []
    for name, some in (("all", rows), ("then", visible)):
        with History.open(write(tmp_path / name, first + some, columns)) as history:
            frames.append(snapshots.build(history, [as_of]))
    assert shown(frames[0], "A") + shown(frames[0], "B") == shown(frames[1], "A") + shown(frames[1], "B")
