"""`make bench-harms [COMPANY=FOLDER]`: the demo's company with one source harmed at a time, and what the gate says.

COMPANY is a folder that an earlier run left in var/bench/harms: its champion is used again.
"""

import contextlib
import re
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import measure

from features.core.errors import GarrisonError
from features.settings.load import load_settings
from features.sources.history import History
from features.state import database
from monitoring.alerts.run_alerts import run_alerts
from serving.batch import run
from serving.scoring.score_table import Explain
from tests.support.commands import run_command
from tests.support.harms import HARMS
from training.registry import promotion_log

EXAMPLE = Path("docs/examples/tidewater.toml").absolute()
FOLDER = Path("var/bench/harms")
BEFORE, NOW = datetime(2025, 12, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
SAMPLE = ("sample", "tidewater", "--out", "tidewater", "--accounts", "3000", "--months", "24")


def prepare(folder):
    """Make the demo's company, train and promote its champions."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    toml = re.sub(r"(?m)^(\w+ += \{ path = )\".*/tidewater/(\w+)\"", r'\1"tidewater/\2"', EXAMPLE.read_text())
    (folder / "tidewater.toml").write_text(toml)
    of = ("--config", "tidewater.toml")
    promote = ("training", "promote", "latest", "--reason", "a benchmark", *of)
    for words in (("features", *SAMPLE), ("training", "fit", *of), promote):
        done = run_command(*words, cwd=folder)
        if done.returncode:
            sys.exit(done.stderr)


def score(as_of):
    """Score in the working folder, to the store alone."""
    return run.score_accounts(load_settings(Path("tidewater.toml")), None, as_of=as_of, explain=Explain.NONE)


def count_episodes():
    """Count the episodes that would open on the newest scores if nobody judged them."""
    settings = load_settings(Path("tidewater.toml"))
    champions = promotion_log.load_champions(settings)
    with database.open(settings) as state, History.open(settings) as history:
        return len(run_alerts(settings, state, history, champions, as_of=NOW, dry_run=True).opened)


def measure_harm(name, company, work):
    """Harm a copy of the company, score it, and return one row of the table."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(company, work)
    if name in HARMS:
        HARMS[name].apply(work / "tidewater")
    with contextlib.chdir(work):
        try:
            batch = score(NOW)
        except GarrisonError as error:
            return {"verdict": "error", "named": str(error)}
        verdict, mean = batch.judged.verdict, batch.summary()["targets"]["churn_90d"]["mean"]
        named = "; ".join(str(reason) for reason in verdict.reasons)
        psi = verdict.figures["psi churn_90d"]
        return {"mean": mean, "psi": psi, "opened": count_episodes(), "verdict": verdict.state, "named": named}


def main():
    """Measure every harm, print the table and write it for machines."""
    company = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER / "company"
    if len(sys.argv) <= 1:
        prepare(company)
    with contextlib.chdir(company):
        score(BEFORE)
    rows = {}
    for name in ("none", *HARMS):
        rows[name] = row = measure_harm(name, company, FOLDER / "work")
        mean, psi = (f"{row[key]:.3f}" if key in row else "" for key in ("mean", "psi"))
        print(
            f"{name:<24} {mean:>6} {psi:>7} {row.get('opened', ''):>6} {row['verdict']:<6} {row['named']}", flush=True
        )
    shutil.rmtree(FOLDER / "work")
    caught = sum(row["verdict"] in {"hold", "error"} for name, row in rows.items() if name != "none")
    measure.write("harms", {"held": caught, "harms": len(HARMS), "rows": rows}, ("lightgbm", "duckdb"))


main()
