from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.engine import snapshot_cache, snapshots
from features.settings.load import load_settings
from features.sources.history import History
from features.state import database
from features.state.tables import RUN_DECISIONS, SCORES
from serving.batch import run
from serving.gate import verdict_store
from serving.scoring import score_table, snapshot_store
from serving.scoring.score_table import Explain, ScoreTable
from serving.scoring.snapshot_store import StoredSnapshot
from training.decisions.levels import find_churn_levels

COLUMNS = [
    "account_id",
    "as_of",
    "churn_30d",
    "churn_30d_low",
    "churn_30d_high",
    "churn_30d_trend",
    "churn_90d",
    "churn_90d_low",
    "churn_90d_high",
    "churn_90d_trend",
    "upsell_90d",
    "upsell_90d_low",
    "upsell_90d_high",
    "upsell_90d_trend",
    "value",
    "value_at_risk",
    "upsell_value",
    "tier",
    "recommendation",
    "why",
    "next_sale_days",
    "drivers",
    "sources",
    "model",
    "in_cohort",
]

# Dies by kill -9 inside the transaction, after so many statements of it.
KILLED = """
import os, signal, sys
from features.state import database
real, after = database._chunks, int(sys.argv[1])
def chunks(rows):
    for i, chunk in enumerate(real(rows)):
        if i == after:
            os.kill(os.getpid(), signal.SIGKILL)
        yield chunk
database._chunks, database.CHUNK = chunks, 50
from features.settings.load import load_settings
from serving.batch import run
from serving.gate import verdict_store
run.score_accounts(load_settings(sys.argv[2]), sys.argv[3])
"""


def stored(settings: Any) -> list[tuple[Any, ...]]:
    """All scores but for when they were made."""
    columns = [c for c in SCORES.columns if c.name != "scored_at"]
    with database.open(settings) as opened, opened.reading() as connection:
        return [tuple(row) for row in connection.execute(sa.select(*columns).order_by(*columns[:4]))]


def test_every_account_is_scored_into_the_store_and_the_file(harbour: Any, now: datetime, tmp_path: Path) -> None:
    scored = run.score_accounts(harbour.settings, f"{tmp_path}/s.parquet", as_of=now, even_if_held=True)
    frame = pd.read_parquet(tmp_path / "s.parquet")
    assert list(frame) == COLUMNS
    assert frame["account_id"].tolist() == sorted(a["account_id"] for a in harbour.rows["accounts"])
    assert set(frame["model"]) == {"churn-1,upsell-1"}
    assert set(frame["sources"]) == {"tickets,usage,purchases"}
    assert 0 < frame["in_cohort"].sum() <= len(frame)
    with database.open(harbour.settings) as opened:
        kept = opened.latest_scores(now, "churn", 90)
    assert [r["score"] for r in kept] == frame["churn_90d"].tolist()
    assert ["; ".join(d["text"] for d in r["drivers"]) for r in kept] == frame["drivers"].tolist()
    # What the words were made of is kept, so that letters can say them in another language.
    assert all({"value", "typical"} <= d.keys() for r in kept for d in r["drivers"])
    assert [r["in_cohort"] for r in kept] == frame["in_cohort"].tolist()
    assert scored.summary()["targets"].keys() == {"churn_30d", "churn_90d", "upsell_90d"}


def test_by_default_all_scores_are_explained(own_harbour: Any, now: datetime) -> None:
    settings = own_harbour.settings
    for chosen, expected in (({}, True), ({"explain": Explain.ABOVE}, None), ({"explain": Explain.NONE}, False)):
        scored = run.score_accounts(settings, None, as_of=now, **chosen)
        for name, (target, horizon) in scored.scores.score_names.items():
            table = scored.scores.table
            above = table[name].to_numpy() > scored.scorer.models[target].base_rates[horizon]
            has = table[f"{name}_drivers"].is_valid().to_pylist()
            assert has == (above.tolist() if expected is None else [expected] * len(has))


def test_each_account_is_told_what_to_do_and_what_is_at_stake(harbour: Any, now: datetime, tmp_path: Path) -> None:
    scored = run.score_accounts(harbour.settings, f"{tmp_path}/s.parquet", as_of=now, even_if_held=True)
    frame, table = pd.read_parquet(tmp_path / "s.parquet"), scored.scores.table.to_pandas()
    known = frame["value"].notna()
    assert known.any()
    year = frame["churn_90d"] * frame["value"]
    assert frame.loc[known, "value_at_risk"].tolist() == pytest.approx(year[known].tolist())
    assert set(frame["recommendation"].dropna()) <= {"act", "sell", "leave_alone"}
    risky = find_churn_levels(harbour.settings, scored.scorer.models["churn"].base_rates[90]).enter
    assert ((frame["recommendation"] == "act") == (frame["churn_90d"].ge(risky) & frame["in_cohort"])).all()
    assert frame["why"].str.len().gt(0).all()
    assert set(frame["tier"]) == set("ABCDE")
    assert table["leaves_in_days"].dropna().between(0, 90).all()


def test_the_trend_is_the_change_since_the_last_run_before(own_harbour: Any, tmp_path: Path) -> None:
    days = [datetime(2023, 11, 1, tzinfo=UTC), datetime(2023, 12, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)]
    frames = []
    # Whatever order they are run in: the one before is the one that looks from before.
    for day in (days[0], days[2], days[1], days[2]):
        to = f"{tmp_path}/{day:%m}.parquet"
        run.score_accounts(own_harbour.settings, to, as_of=day, explain=Explain.NONE, even_if_held=True)
        frames.append(pd.read_parquet(to).set_index("account_id"))
    first, _, second, third = frames
    assert first["churn_90d_trend"].isna().all()
    for before, after in ((first, second), (second, third)):
        change = (after["churn_90d"] - before["churn_90d"]).reindex(after.index)
        pd.testing.assert_series_equal(after["churn_90d_trend"], change, check_names=False)
    assert third["churn_90d_trend"].abs().max() > 0


def test_parts_score_as_the_whole_does(own_harbour: Any, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run.score_accounts(own_harbour.settings, None, as_of=now).scores
    kept = StoredSnapshot.load_newest(own_harbour.settings)
    monkeypatch.setattr("features.engine.snapshots._ACCOUNTS", 7)
    parts = run.score_accounts(own_harbour.settings, None, as_of=now).scores
    again = StoredSnapshot.load_newest(own_harbour.settings)
    assert parts.table.drop_columns(sorted(c for c in parts.table.column_names if c.endswith("_before"))).equals(
        whole.table.drop_columns(sorted(c for c in whole.table.column_names if c.endswith("_before")))
    )
    assert kept is not None
    assert again is not None
    pd.testing.assert_frame_equal(kept.frame, again.frame)


def test_snapshots_that_are_built_already_are_scored_and_stored_to_the_last_bit(
    own_harbour: Any, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = own_harbour.settings
    first = run.score_accounts(settings, None, as_of=now, explain=Explain.ALL).scores
    file = score_table.file_at(snapshot_store.snapshots_folder(settings), now)
    stored = StoredSnapshot.read(file)
    with History.open(settings) as history:
        snapshot_cache.build_files(settings, history, [now])
    monkeypatch.setattr(snapshots, "build_parts", None)
    monkeypatch.setattr(snapshot_cache, "_PART", 30)
    second = run.score_accounts(settings, None, as_of=now, explain=Explain.ALL).scores
    assert second.table.combine_chunks().equals(first.table.combine_chunks())
    pd.testing.assert_frame_equal(StoredSnapshot.read(file).frame, stored.frame)


def test_the_default_instant_ends_the_last_day_with_an_event(own_harbour: Any) -> None:
    scored = run.score_accounts(own_harbour.settings, None, explain=Explain.NONE)
    rows = own_harbour.rows
    last = max([r["used_at"] for r in rows["usage"]] + [r["opened_at"] for r in rows["tickets"]])
    as_of = scored.scores.as_of
    assert as_of.isoformat() > last > (as_of - pd.Timedelta(days=1)).isoformat()


def test_the_default_instant_is_that_until_which_the_settings_say_the_data_are_complete(own_harbour: Any) -> None:
    settings, until = own_harbour.settings, datetime(2023, 12, 1, tzinfo=UTC)
    company = settings.company.model_copy(update={"data_until": until})
    settings = settings.model_copy(update={"company": company})
    assert run.score_accounts(settings, None, explain=Explain.NONE).scores.as_of == until


@pytest.mark.parametrize("kind", ["csv", "sqlite", "postgresql"])
def test_a_second_run_changes_nothing(
    kind: str, own_harbour: Any, now: datetime, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    to = {
        "csv": lambda: f"{tmp_path}/s.csv",
        "sqlite": lambda: f"sqlite:///{tmp_path}/crm.db",
        "postgresql": lambda: str(request.getfixturevalue("postgres_url")),
    }[kind]()

    def delivered() -> Any:
        if kind == "csv":
            return (tmp_path / "s.csv").read_bytes()
        engine = database.connect(to)
        with engine.connect() as connection:
            rows = connection.execute(sa.text("SELECT * FROM garrison_scores ORDER BY account_id")).all()
        engine.dispose()
        return rows

    seen = []
    for _ in range(2):
        run.score_accounts(own_harbour.settings, to, as_of=now, explain=Explain.NONE, even_if_held=True)
        seen.append((stored(own_harbour.settings), delivered()))
    assert seen[0] == seen[1]
    assert len(seen[0][0]) == 3 * len(own_harbour.rows["accounts"])


def test_a_run_that_was_killed_is_mended_by_running_it_again(own_harbour: Any, tmp_path: Path) -> None:
    line = [sys.executable, "-c", KILLED, "3", str(own_harbour.config), str(tmp_path / "s.csv")]
    assert subprocess.run(line, timeout=120, check=False).returncode == -signal.SIGKILL
    assert stored(own_harbour.settings) == []  # 150 rows had been written, none is there
    assert not (tmp_path / "s.csv").exists()
    run.score_accounts(own_harbour.settings, str(tmp_path / "s.csv"), even_if_held=True)
    mended = stored(own_harbour.settings)
    run.score_accounts(own_harbour.settings, str(tmp_path / "again.csv"), even_if_held=True)
    assert len(mended) == 3 * len(own_harbour.rows["accounts"])
    assert stored(own_harbour.settings) == mended
    assert (tmp_path / "s.csv").read_bytes() == (tmp_path / "again.csv").read_bytes()
    assert not list(tmp_path.rglob("*.part"))


def test_the_snapshot_is_kept_as_it_was_scored(own_harbour: Any, now: datetime) -> None:
    run.score_accounts(own_harbour.settings, None, as_of=datetime(2023, 12, 1, tzinfo=UTC), explain=Explain.NONE)
    scored = run.score_accounts(own_harbour.settings, None, as_of=now, explain=Explain.NONE)
    newest = StoredSnapshot.load_newest(own_harbour.settings)
    assert newest is not None
    assert (newest.as_of, newest.sources) == (now, ("tickets", "usage", "purchases"))
    again, table = scored.scorer.score(newest.prepare(scored.scorer)), scored.scores.table
    for name, (target, horizon) in scored.scores.score_names.items():
        h = scored.scorer.models[target].horizons.index(horizon)
        assert again[target][:, h].tolist() == table[name].to_pylist()
    assert newest.in_cohort["churn"].tolist() == table["in_cohort_churn"].to_pylist()


def test_a_file_that_is_no_snapshot_is_named(own_harbour: Any, tmp_path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "2024.parquet")
    with pytest.raises(GarrisonError, match=r"2024\.parquet is not a stored snapshot"):
        StoredSnapshot.read(tmp_path / "2024.parquet")
    with pytest.raises(GarrisonError, match=r"2024\.parquet holds no scores"):
        ScoreTable.read(tmp_path / "2024.parquet")
    shutil.rmtree(score_table.scores_folder(own_harbour.settings), ignore_errors=True)
    assert StoredSnapshot.load_newest(own_harbour.settings) is None


def test_without_a_champion_there_is_nothing_to_score_with(own_harbour: Any, now: datetime) -> None:
    (own_harbour.settings.paths.mlruns / "small-harbour-promotions.jsonl").unlink()
    with pytest.raises(GarrisonError, match=r"no model of Small Harbour is champion.*training promote"):
        run.score_accounts(own_harbour.settings, None, as_of=now)


def test_before_the_first_account_there_is_nobody_to_score(harbour: Any) -> None:
    with pytest.raises(GarrisonError, match="nobody to score at 2020-01-01"):
        run.score_accounts(harbour.settings, None, as_of=datetime(2020, 1, 1, tzinfo=UTC))


def test_an_unknown_destination_is_refused_before_the_work(harbour: Any) -> None:
    with pytest.raises(GarrisonError, match="is no destination"):
        run.score_accounts(harbour.settings, "scores.doc", as_of=datetime(2020, 1, 1, tzinfo=UTC))


def test_the_command_prints_what_it_did_and_writes_it_for_machines(
    own_harbour: Any, serving: Any, tmp_path: Path
) -> None:
    words = ["--config", own_harbour.config, "--as-of", "2024-01-01", "--drivers", "none"]
    done = serving("score", *words, "--to", tmp_path / "s.csv", "--even-if-held", "--json", tmp_path / "s.json")
    assert done.returncode == 0, done.stderr
    assert "churn_90d" in done.stdout
    assert "s.csv" in done.stdout
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["accounts"] == len(own_harbour.rows["accounts"])
    wrong = serving("score", *words, "--to", "scores.doc")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr.startswith("error: --to scores.doc is no destination")
    assert wrong.stderr.count("\n") == 1


def test_a_held_run_is_stored_and_not_delivered(own_harbour: Any, serving: Any, tmp_path: Path) -> None:
    # Nobody has bought at Small Harbour for months.
    words = ["--config", own_harbour.config, "--as-of", "2024-01-01", "--drivers", "none"]
    alone = serving("score", *words)
    assert alone.returncode == 0, alone.stderr
    held = serving("score", *words, "--to", tmp_path / "s.csv", "--json", tmp_path / "s.json")
    assert held.returncode == 1
    assert "Verdict on run" in held.stdout
    assert "hold: purchases: " in held.stdout
    assert held.stderr.startswith(f"error: nothing was delivered to {tmp_path / 's.csv'}. found: run ")
    assert " is held: purchases: " in held.stderr
    assert "monitoring release" in held.stderr
    assert not (tmp_path / "s.csv").exists()
    assert stored(own_harbour.settings)
    written = json.loads((tmp_path / "s.json").read_text())
    assert (written["verdict"]["state"], written["verdict"]["accepted"], written["delivery"]) == ("hold", False, None)
    looked = serving("score", *words, "--to", tmp_path / "s.csv", "--dry-run")
    assert (looked.returncode, (tmp_path / "s.csv").exists()) == (0, False)
    with database.open(own_harbour.settings) as state:
        assert [judged.decision for judged in verdict_store.read_history(state)] == [None] * 3


def test_a_delivery_although_held_is_logged(own_harbour: Any, now: datetime, tmp_path: Path) -> None:
    batch = run.score_accounts(own_harbour.settings, f"{tmp_path}/s.csv", as_of=now, even_if_held=True)
    assert batch.judged.verdict.state == "hold"
    assert (tmp_path / "s.csv").exists()
    with database.open(own_harbour.settings) as state, state.reading() as connection:
        (row,) = connection.execute(sa.select(RUN_DECISIONS)).all()
    assert (row.run, row.decision) == (batch.scores.run, "delivered")
    assert row.reason == f"delivered to {tmp_path}/s.csv although held"
    assert row.decided_by


def test_a_release_lets_the_same_instant_through_until_something_else_is_wrong(
    own_harbour: Any, now: datetime, tmp_path: Path
) -> None:
    settings, to = own_harbour.settings, f"{tmp_path}/s.csv"
    verdict = run.score_accounts(settings, to, as_of=now, explain=Explain.NONE).judged.verdict
    with database.open(settings) as state:
        verdict_store.write_decision(state, verdict, "released", reason="a test")
    again = run.score_accounts(settings, to, as_of=now, explain=Explain.NONE)
    assert again.judged.verdict.state == "hold"
    assert again.judged.decision is not None
    assert again.judged.decision.run == verdict.run
    assert Path(to).exists()
    Path(to).unlink()
    usage = [row for row in own_harbour.rows["usage"] if row["used_at"] < "2023-10-01"]
    pd.DataFrame(usage).to_csv(own_harbour.config.parent / "usage.csv", index=False)
    worse = run.score_accounts(settings, to, as_of=now, explain=Explain.NONE)
    assert "usage" in {reason.subject for reason in worse.judged.verdict.reasons}
    assert (worse.judged.is_accepted, worse.delivery, Path(to).exists()) == (False, None, False)


def test_the_command_recommends_nothing_for_accounts_that_have_left(
    own_harbour: Any, serving: Any, tmp_path: Path
) -> None:
    # Terms of a year have ended for some accounts by then, and for others not yet.
    words = ["--config", own_harbour.config, "--as-of", "2024-04-15", "--drivers", "none"]
    done = serving("score", *words, "--to", tmp_path / "s.csv", "--even-if-held")
    assert done.returncode == 0, done.stderr
    frame = pd.read_csv(tmp_path / "s.csv")
    gone, customers = frame[~frame["in_cohort"]], frame[frame["in_cohort"]]
    risky = customers.loc[customers["recommendation"] == "act", "churn_90d"].min()
    assert (gone["churn_90d"] >= risky).any()  # their scores alone would ask for an act
    assert gone["recommendation"].isna().all()
    assert set(gone["why"]) == {"not in the cohort: it is no customer at this date"}
    assert set(customers["recommendation"]) <= {"act", "sell", "leave_alone"}
    assert not customers["why"].str.contains("not in the cohort").any()


# Nothing but CSAT stands against a sale.
LENIENT = "risk = 1e9\nopen_urgent = 99\nescalations = 99\nunpaid = 1.0\n[episodes]\nat_risk = 1e9\n"


def test_a_sale_is_withheld_from_the_dissatisfied_as_the_toml_says(own_harbour: Any, now: datetime) -> None:
    text, file = own_harbour.config.read_text(encoding="utf-8"), own_harbour.config.parent / "scores.csv"
    offers = []
    for least in (0.0, 99.0):
        limits = f"\n[upsell.satisfied]\nleast_csat = {least}\n{LENIENT}"
        own_harbour.config.write_text(text + limits, encoding="utf-8")
        run.score_accounts(load_settings(own_harbour.config), str(file), as_of=now, even_if_held=True)
        offers.append(pd.read_csv(file).set_index("account_id"))
    calm, strict = offers
    rated = strict["why"].str.contains("CSAT of 90 days is .*, below 99", regex=True, na=False)
    assert rated.any()
    assert not (strict.loc[rated, "recommendation"] == "sell").any()
    assert (calm["recommendation"] == "sell").any()
    assert not calm["why"].str.contains("CSAT", na=False).any()
    # Whose rating is not known is not held back by it.
    assert ((strict["recommendation"] == "sell") == ((calm["recommendation"] == "sell") & ~rated)).all()
