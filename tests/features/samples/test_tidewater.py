import hashlib
import os
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.core.contract import TABLES
from features.core.errors import GarrisonError
from features.core.timestamps import DAY
from features.samples import tidewater

EVENTS = {"tickets": "opened_at", "usage": "used_at", "purchases": "purchased_at"}
START, END = pd.Timestamp("2025-05-01", tz="UTC"), pd.Timestamp("2026-01-01", tz="UTC")


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """360 accounts over eight months, in chunks of 120."""
    out = tmp_path_factory.mktemp("samples") / "tidewater"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tidewater, "CHUNK", 120)
        tidewater.write_sample(out, accounts=360, months=8, seed=7)
    return out


@pytest.fixture(scope="module")
def frames(sample):
    return {name: pq.read_table(sample / name).to_pandas() for name in (*tidewater.TABLES, "truth")}


def digest(folder):
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*.parquet"))
    }


def test_tables_have_the_contracts_columns_and_types(sample):
    fits = {
        "text": pa.types.is_string,
        "time": lambda kind: kind == pa.timestamp("us", "UTC"),
        "decimal": lambda kind: pa.types.is_decimal(kind) or pa.types.is_integer(kind),
        "whole": pa.types.is_integer,
        "flag": pa.types.is_boolean,
    }
    for name in (*tidewater.TABLES, *tidewater.SERVICE_TABLES):
        schema = pq.read_table(sample / name).schema
        table = TABLES[name]
        assert {column for column, what in table.columns.items() if what.needed} <= set(schema.names)
        for field in schema:
            assert fits[table.columns[field.name].kind](field.type), (name, field)


def test_values_are_those_the_contract_allows(frames):
    for name in tidewater.TABLES:
        for column, what in TABLES[name].columns.items():
            if what.among and column in frames[name]:
                assert set(frames[name][column].dropna()) == {*what.among} - {"refund"}
            if what.needed:
                assert frames[name][column].notna().all()
            if what.least is not None and column in frames[name]:
                assert frames[name][column].min() >= what.least


def test_ids_are_unique_over_chunks(frames, sample):
    assert len(list((sample / "accounts").iterdir())) == 3
    assert len(frames["accounts"]) == 360
    for name, key in (("accounts", "account_id"), ("tickets", "ticket_id"), ("purchases", "order_id")):
        assert frames[name][key].is_unique
    for name in EVENTS:
        assert set(frames[name]["account_id"]) <= set(frames["accounts"]["account_id"])


def test_truth_is_nowhere_but_in_its_own_folder(sample):
    tables = (*tidewater.TABLES, *tidewater.SERVICE_TABLES)
    hidden = {"truth", *tidewater.SERVICE_TRUTH}
    assert {path.name for path in sample.iterdir()} == {*tables, *hidden, "sample.json"}
    allowed = {column for name in tables for column in TABLES[name].columns}
    for name in tables:
        assert set(pq.read_table(sample / name).column_names) <= allowed


def test_events_lie_within_the_accounts_life_and_the_data(frames):
    created = frames["accounts"].set_index("account_id")["created_at"]
    leaves = frames["purchases"].groupby("account_id")["term_ends_at"].max()
    for name, at in EVENTS.items():
        times = frames[name][at]
        assert (times >= frames[name]["account_id"].map(created)).all()
        assert (times < frames[name]["account_id"].map(leaves)).all()
        assert times.max() < END
        if name != "purchases":
            assert times.min() >= START


def test_answers_come_after_tickets_and_never_after_the_data(frames):
    tickets = frames["tickets"]
    resolved, answered = tickets["resolved_at"], tickets["first_response_at"]
    assert (answered.dropna() > tickets.loc[answered.notna(), "opened_at"]).all()
    both = resolved.notna()
    assert (resolved[both] > answered[both]).all()
    assert max(resolved.max(), answered.max()) < END
    assert resolved.isna().any()
    assert tickets.loc[resolved.isna(), "csat"].isna().all()
    assert set(tickets["csat"].dropna()) == {1, 2, 3, 4, 5}


def test_terms_follow_one_another_until_the_account_leaves(frames):
    purchases = frames["purchases"]
    starts = purchases[purchases["kind"].isin(["new", "renewal"])].drop_duplicates(["account_id", "term_starts_at"])
    assert (starts["purchased_at"] == starts["term_starts_at"]).all()
    starts = starts.sort_values(["account_id", "term_starts_at"])
    before = starts.groupby("account_id")["term_ends_at"].shift()
    assert (starts["term_starts_at"] == before)[before.notna()].all()
    assert (starts["kind"] == "renewal")[before.notna()].all()
    others = purchases[purchases["kind"].isna()]
    assert (others["purchased_at"] > others["term_starts_at"]).all()
    assert (others["purchased_at"] < others["term_ends_at"]).all()


def test_seats_added_cost_more_and_seats_returned_less(frames):
    purchases = frames["purchases"]
    for kind, sign in (("expansion", 1), ("contraction", -1)):
        changed = purchases[purchases["kind"] == kind]
        assert len(changed) > 10
        assert (changed["quantity"] * sign > 0).all()
        assert (changed["amount"].astype(float) * sign > 0).all()


def test_truth_agrees_with_the_tables(frames):
    truth, purchases = frames["truth"], frames["purchases"]
    ends = purchases.groupby("account_id")["term_ends_at"].max()
    lapse = truth["account_id"].map(ends)
    horizon_end = truth["as_of"] + pd.Timedelta(days=90)
    known = truth["churned_90d"].notna()
    assert known.equals(horizon_end <= END)
    assert (truth["churned_90d"].astype(bool) == ((lapse >= truth["as_of"]) & (lapse < horizon_end)))[known].all()
    bought = purchases[purchases["kind"] == "expansion"][["account_id", "purchased_at"]]
    pairs = truth[["account_id", "as_of"]].reset_index().merge(bought, on="account_id")
    within = (pairs["purchased_at"] >= pairs["as_of"]) & (
        pairs["purchased_at"] < pairs["as_of"] + pd.Timedelta(days=90)
    )
    assert (truth["expanded_90d"].astype(bool) == truth.index.isin(pairs[within]["index"]))[known].all()


def test_truth_has_every_account_in_force(frames):
    truth, purchases = frames["truth"], frames["purchases"]
    assert sorted(truth["as_of"].unique()) == list(pd.date_range("2025-07-01", "2026-01-01", freq="MS", tz="UTC"))
    for as_of, rows in truth.groupby("as_of"):
        covered = purchases[(purchases["purchased_at"] < as_of) & (purchases["term_ends_at"] >= as_of)]
        assert set(rows["account_id"]) == set(covered["account_id"])
        assert rows["account_id"].is_unique


def test_owners_hold_a_fair_number_of_accounts(frames):
    owned = frames["accounts"].groupby("owner_email").size()
    assert owned.between(25, 60).all()
    assert owned.index.str.endswith("@tidewater.example").all()
    pairs = frames["accounts"][["owner_email", "owner_timezone"]].drop_duplicates()
    assert len(pairs) == len(owned)


def test_the_seed_alone_decides(tmp_path):
    for name, seed in (("first", 7), ("second", 7), ("other", 8)):
        tidewater.write_sample(tmp_path / name, accounts=100, months=3, seed=seed)
    first, second, other = (digest(tmp_path / name) for name in ("first", "second", "other"))
    assert first == second
    same = {part for part in first if first[part] == other[part]}
    assert same == {"staff/part-00000.parquet"}  # nothing about them is drawn


def test_a_chunk_does_not_depend_on_those_after_it(sample, tmp_path, monkeypatch):
    monkeypatch.setattr(tidewater, "CHUNK", 120)
    tidewater.write_sample(tmp_path / "fewer", accounts=120, months=8, seed=7)
    larger, sums = digest(sample), ("truth_problems/part-00000.parquet", "truth_actions/part-00000.parquet")
    assert all(larger[part] == value for part, value in digest(tmp_path / "fewer").items() if part not in sums)


def test_a_shorter_run_is_the_start_of_a_longer_one(company):
    long, short = company(200, 6, seed=2), company(200, 6, seed=2, short_of=40)
    for name in ("usage", "tickets", "purchases"):
        whole, start = getattr(long.history, name), getattr(short.history, name)
        before = whole["at"] < short.until * DAY
        assert 0 < before.sum() < len(before)
        for column in whole:
            np.testing.assert_array_equal(whole[column][before], start[column])


def test_events_do_not_move_the_chain(company, monkeypatch):
    loud = company(200, 6, seed=2)
    monkeypatch.setattr("features.samples.usage._ROWS", np.full(10, 3.0))
    monkeypatch.setattr("features.samples.tickets._OPENED", np.full(10, 3.0))
    louder = company(200, 6, seed=2)
    assert len(louder.history.usage["at"]) > 1.5 * len(loud.history.usage["at"])
    pd.testing.assert_frame_equal(loud.truth(), louder.truth())


def test_a_second_run_touches_nothing_and_other_parameters_replace(tmp_path):
    out = tmp_path / "tidewater"
    summary = tidewater.write_sample(out, accounts=100, months=3)
    before = {file: file.stat().st_mtime_ns for file in out.rglob("*")}
    assert tidewater.write_sample(out, accounts=100, months=3) == summary
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*")} == before
    assert tidewater.write_sample(out, accounts=110, months=3).accounts == 110
    assert [path.name for path in tmp_path.iterdir()] == ["tidewater"]


def test_the_summary_counts_what_is_there(tmp_path):
    steps = []
    summary = tidewater.write_sample(tmp_path / "t", accounts=100, months=6, progress=lambda *step: steps.append(step))
    for name in (*tidewater.TABLES, "truth"):
        assert getattr(summary, name) == pq.read_table(tmp_path / "t" / name).num_rows > 0
    assert 0 < summary.churn_90d < 0.3
    assert steps == [("accounts", 100, 100)]


def test_a_history_too_short_for_the_horizon_has_no_rates(tmp_path):
    summary = tidewater.write_sample(tmp_path / "t", accounts=100, months=3, end=date(2025, 6, 17))
    assert summary.churn_90d is None
    assert pq.read_table(tmp_path / "t" / "usage")["used_at"].to_pandas().min() >= pd.Timestamp("2025-03-17", tz="UTC")


def test_a_killed_run_leaves_no_half_sample(tmp_path):
    out = tmp_path / "tidewater"
    write = f"tidewater.write_sample(Path({str(out)!r}))"
    code = f"from pathlib import Path; from features.samples import tidewater; {write}"
    run = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[3])
    partial = tmp_path / ".tidewater.partial"
    deadline = time.monotonic() + 30
    while not partial.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    assert partial.exists()
    assert not out.exists()
    tidewater.write_sample(out, accounts=100, months=3)
    assert [path.name for path in tmp_path.iterdir()] == ["tidewater"]


def test_a_failed_run_keeps_the_sample_that_was_there(tmp_path, monkeypatch):
    out = tmp_path / "tidewater"
    tidewater.write_sample(out, accounts=100, months=3)
    before = digest(out)
    monkeypatch.setattr(tidewater, "_summary", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tidewater.write_sample(out, accounts=120, months=3)
    assert digest(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["tidewater"]


def test_another_folders_content_is_never_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(GarrisonError, match="not a folder that a sample was written to"):
        tidewater.write_sample(tmp_path, accounts=100, months=3)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("wrong", [{"accounts": 99}, {"accounts": 1_000_001}, {"months": 2}, {"seed": -1}])
def test_parameters_out_of_bounds_are_named(tmp_path, wrong):
    (name,) = wrong
    with pytest.raises(GarrisonError, match=name):
        tidewater.write_sample(tmp_path / "t", **wrong)
