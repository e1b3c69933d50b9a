"""The commands as a script calls them: exit status, one line on standard error, results for machines."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sqlite3
from datetime import datetime

import pandas as pd
import pytest

from tests.support.commands import run_command
from training.evaluation import plots
from training.registry import mlflow_registry, mlflow_runs, promotion_log


def run(*arguments, cwd=None):
    return run_command("training", *arguments, cwd=cwd)


@pytest.fixture(scope="module")
def trained(company, sound, tmp_path_factory):
    """(company, what fit printed, what it wrote for machines), with a second run logged after it."""
    elsewhere = company.vary(tmp_path_factory.mktemp("trained"))
    file = elsewhere.folder / "out" / "fit.json"
    done = run("fit", "--config", elsewhere.file, "--json", file)
    assert done.returncode == 0, done.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "draw_plots", lambda *_: ())
        mlflow_runs.log_run(elsewhere.settings, sound, fingerprint="0")
    return elsewhere, done, json.loads(file.read_text())


@pytest.fixture
def own(trained, tmp_path):
    """The trained company's settings, with a registry of the test's own."""
    shutil.copytree(trained[0].settings.paths.mlruns, tmp_path / "mlruns")
    return trained[0].vary(tmp_path).settings


def test_fit_writes_the_contracts_figures_for_each_target_and_horizon(trained, fitted):
    _, _, written = trained
    assert written["targets"].keys() == {"churn_30d", "churn_60d", "upsell_30d"}
    for figures in written["targets"].values():
        assert figures.keys() >= {
            *("rows", "base_rate", "auc", "auc_low", "auc_high", "ap", "brier", "ece", "lift_10"),
            *("baselines", "verdict", "reasons"),
        }
        assert figures["baselines"].keys() == {"base_rate", "recency", "tenure", "rfm_logistic", "bg_nbd"}
        assert {"auc", "brier_skill", "capture_20", "value_captured_10", "profit"} <= set(figures["intervals"])
        assert {p["by"] for p in figures["by_segment"]} == {"plan", "tier"}
        assert sum(p["rows"] for p in figures["by_cutoff"]) == figures["rows"]
        assert figures["verdict"] == "signal"
    # The same as in this process: training does not depend on where it runs.
    expected = fitted["churn"].results[60].evaluation.as_dict()
    assert written["targets"]["churn_60d"] == json.loads(json.dumps(expected))


def test_fit_prints_the_evaluation_beside_the_baselines_and_how_to_promote(trained):
    _, done, written = trained
    for word in ("baselines' AUC", "95 %", "recency", "rfm_logistic", "churn: registered as churn-1, verdict signal"):
        assert word in done.stdout
    assert f"python -m training promote {written['run_id']}" in done.stdout
    table = done.stdout.split("churn_30d: ")[0]
    assert max(len(line) for line in table.splitlines()) <= 80
    assert "churn_60d: Of the riskiest tenth, " in done.stdout
    lines = done.stderr.splitlines()
    assert all(re.match(r" *\d+ s  ", line) for line in lines)  # since when a step runs
    steps = [line.split(" s  ", 1)[1] for line in lines]
    assert steps[0] == "reading the tables"
    for beginning in (
        "snapshots at ",
        "churn, 30 days: train ",
        "churn: looking for leaks",
        "upsell: looking for leaks",
    ):
        assert any(step.startswith(beginning) for step in steps)
    assert "Traceback" not in done.stderr


def test_fit_keeps_the_test_rows_with_label_and_score(trained):
    company, _, written = trained
    rows = pd.read_parquet(company.settings.var / "evaluation" / "churn_60d.parquet")
    assert list(rows) == ["account_id", "as_of", "label", "score"]
    assert len(rows) == written["targets"]["churn_60d"]["rows"]
    assert rows["label"].mean() == pytest.approx(written["targets"]["churn_60d"]["base_rate"])


def test_the_latest_runs_models_are_promoted_and_listed(trained, own):
    done = run("promote", "latest", "--config", own.file, "--reason", "the first")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.split(", since")[0] for line in lines if not line.startswith(" ")] == [
        "churn: champion is churn-2",
        "upsell: champion is upsell-2",
    ]
    assert "  champion: passed: there is no champion yet" in lines
    run_id = promotion_log.load_champions(own)["churn"].run_id
    assert run_id != trained[2]["run_id"]
    listed = run("champions", "--config", own.file)
    assert (listed.returncode, listed.stderr) == (0, "")
    first = listed.stdout.splitlines()[0]
    assert first.startswith("churn: churn-2 since ")
    assert first.endswith(f"(promote: the first), run {run_id}")
    assert datetime.fromisoformat(first.split()[3]).tzinfo is not None


def test_promoting_only_models_that_stay_challengers_fails_and_says_why(trained, own):
    mlflow_registry.promote(own, trained[2]["run_id"], reason="the first", force=True)
    done = run("promote", "latest", "--config", own.file)
    line = refused(done)
    assert done.stdout == ""
    assert line.startswith("error: nothing was promoted: ")
    for target in ("churn", "upsell"):
        assert (
            f"{target}: {target}-2 stays a challenger: champion: mean AUC within a cutoff +0.0000 against {target}-1"
            in line
        )
    assert promotion_log.read_current(own)["churn"].version == "churn-1"


def test_a_challenger_beside_a_promoted_model_is_no_failure(trained, own):
    mlflow_registry.promote(own, trained[2]["run_id"], reason="the first", force=True)
    lines = promotion_log.locate_log(own).read_text().splitlines(keepends=True)
    promotion_log.locate_log(own).write_text("".join(line for line in lines if '"churn"' not in line))
    done = run("promote", "latest", "--config", own.file)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("churn: champion is churn-2, since ")
    assert "\nupsell: upsell-2 stays a challenger: champion: " in done.stdout


def test_without_a_champion_the_list_says_so(company):
    done = run("champions", "--config", company.file)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("No model is champion yet. Promote one: python -m training promote latest")


def test_the_card_of_a_model_is_written_where_it_is_asked_for(trained, own):
    mlflow_registry.promote(own, trained[2]["run_id"], reason="the first", force=True)
    done = run("card", "--config", own.file)
    assert (done.returncode, done.stderr) == (0, "")
    for target, line in zip(("churn", "upsell"), done.stdout.splitlines(), strict=True):
        file = own.var / "cards" / f"{target}-1.html"
        assert line == f"{target}: {file}"
        assert f"Small Quay: who is about to {'leave' if target == 'churn' else 'buy more'}?" in file.read_text()
    page = own.folder / "here.html"
    assert run("card", "churn", "--config", own.file, "--run", "latest", "--out", page).returncode == 0
    assert promotion_log.read_current(own)["churn"].run_id not in page.read_text()
    assert "there is no target chrun" in refused(run("card", "chrun", "--config", own.file))
    assert run("card", "--config", own.file, "--out", page).returncode == 2


def test_a_rollback_puts_the_earlier_champion_back(trained, own):
    for run_id in (trained[2]["run_id"], "latest"):
        mlflow_registry.promote(own, run_id, reason="better", force=True)
    assert promotion_log.read_current(own)["churn"].version == "churn-2"
    done = run("rollback", "churn", "--config", own.file, "--reason", "worse")
    assert (done.returncode, done.stdout, done.stderr) == (0, "churn: champion is churn-1 again\n", "")
    assert promotion_log.read_current(own)["churn"].reason == "worse"


def refused(done):
    """The one line on standard error of a command that failed."""
    assert done.returncode == 1
    *steps, line = done.stderr.splitlines()
    assert [s.split(" s  ", 1)[1] for s in steps] in (
        [],
        ["reading the tables"],
    )  # the step of fit before it knows more
    assert line.startswith("error: ")
    return line


def test_a_rollback_without_an_earlier_champion_is_one_clear_line(company):
    line = refused(run("rollback", "churn", "--config", company.file))
    assert "there is no earlier champion of churn to go back to" in line


def test_too_short_a_history_is_one_clear_line_and_logs_no_run(company, tmp_path):
    short = company.vary(tmp_path, ("horizons = [30, 60]", "horizons = [300]"))
    line = refused(run("fit", "--config", short.file, "--json", tmp_path / "out.json"))
    assert "the history is too short for labels that look 300 days ahead" in line
    assert not (tmp_path / "out.json").exists()
    with contextlib.closing(sqlite3.connect(tmp_path / "mlruns" / "mlflow.db")) as database:
        assert database.execute("SELECT count(*) FROM runs").fetchone() == (0,)


def test_a_locked_database_is_one_clear_line(own):
    with contextlib.closing(sqlite3.connect(own.paths.mlruns / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        line = refused(run("promote", "latest", "--config", own.file))
    assert "database is locked" in line
    assert promotion_log.read_promotions(own) == []


def test_a_day_that_is_no_date_is_wrong_usage():
    done = run("fit", "--as-of", "yesterday")
    assert done.returncode == 2
    assert "yesterday" in done.stderr


def test_a_backtest_prints_a_row_for_each_origin_and_writes_figures_and_plots(company, tmp_path):
    elsewhere, file = company.vary(tmp_path), tmp_path / "out" / "backtest.json"
    done = run("backtest", "--config", elsewhere.file, "--origins", "2", "--embargo", "1", "--json", file)
    assert done.returncode == 0, done.stderr
    for word in ("2024-02-01", "2024-03-01", "pooled", "bg_nbd", "backtest_churn_30d_ranking.svg"):
        assert word in done.stdout
    found = json.loads(file.read_text())["targets"]
    assert found.keys() == {"churn_30d", "churn_60d", "upsell_30d"}
    for name, figures in found.items():
        assert len(figures["by_origin"]) == 2
        assert figures["rows"] == sum(o["rows"] for o in figures["by_origin"])
        picture = elsewhere.settings.var / "evaluation" / f"backtest_{name}_rates.svg"
        assert picture.read_bytes().startswith(b"<svg")


def test_a_comparison_prints_and_writes_the_differences(trained, own, tmp_path):
    first = trained[2]["run_id"]
    done = run("compare", first, "latest", "--config", own.file, "--json", tmp_path / "out.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "difference (95 %)" in done.stdout
    found = json.loads((tmp_path / "out.json").read_text())
    assert (found["a"], found["b"]) == (first, "latest")
    assert found["targets"].keys() == trained[2]["targets"].keys()
    # Both were trained alike.
    assert all(d["better"] == "" for t in found["targets"].values() for d in t["differences"].values())


def test_a_comparison_with_a_champion_that_is_not_there_is_one_clear_line(own):
    line = refused(run("compare", "champion", "latest", "--config", own.file))
    assert "there is no run champion with models of" in line
