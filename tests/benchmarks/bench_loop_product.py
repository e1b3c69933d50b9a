"""`make bench-loop-product [ACCOUNTS=1000]`: five rounds of alert, save, retrain through the product's own parts.

As `bench_loop.py`, but scored, alerted, sent and trained as companies are. The company begins without alerts, trains,
and lives on: every two months it scores, alerts and sends; its owners act or don't, and some accounts are saved. Each
round's model scores the same rows of another company of the same kind that nobody ever alerted on, held against its
true chances: no luck of labels is in the figures but for the training's own.

The sample's own owners save too few to poison a model, so these are abler than any: see `able_owners`.
"""

import os
import re
import shutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path

import measure
import numpy as np
import pandas as pd
from able_owners import strengthen_owners

from features.core.auc import auc
from features.engine import snapshots
from features.samples import tidewater
from features.settings.load import load_settings
from features.sources.history import History
from features.state import database
from monitoring.alerts.run_alerts import run_alerts
from monitoring.demo.owners_respond import live_on
from monitoring.notifications import outbox
from serving.batch import run
from serving.scoring.score_table import Explain
from training.fitting import fit
from training.models.dataset import find_data_until
from training.models.matrix import Matrix
from training.registry import mlflow_database, mlflow_registry, mlflow_runs, promotion_log
from training.targets import cohorts

EXAMPLE = Path("docs/examples/tidewater.toml").absolute()
FOLDER = Path("var/bench/loop_product")
MONTHS, END = 42, date(2026, 1, 1)
# The rounds begin after a year and a half without alerts, then every half a year.
ROUNDS = [date(2024, 1, 1), date(2024, 7, 1), date(2025, 1, 1), date(2025, 7, 1), date(2026, 1, 1)]
CONTROL_AS_OFS = [date(2025, month, 1) for month in (1, 4, 7, 10)]
CONTROL_SEED = 11
ARMS = {"column": "column", "kept": "keep"}
MONTHS_A_LOOK = 2
BINS = 10


def write_toml(folder, treated):
    """Write tidewater's settings with churn over 90 days alone, letters in a folder, and one of the ways to train."""
    toml = re.sub(r"(?m)^(\w+ += \{ path = )\".*/tidewater/(\w+)\"", r'\1"tidewater/\2"', EXAMPLE.read_text())
    toml = toml[: toml.index("# Who else hears")].replace("horizons = [30, 90]", "horizons = [90]", 1)
    toml = toml[: toml.index("[upsell]")] + toml[toml.index("# An owner has time") :]
    toml = re.sub(r"email = \{ host.*\n", 'folder = "letters"\n', toml)
    # All at risk are told of: no lots, and time for twenty letters an owner at each look.
    toml = toml[: toml.index("# Lots that show")] + toml[toml.index("[alerts]") :]
    toml = toml.replace("hours = 2.5", "hours = 10", 1).replace("per_owner      = 5", "per_owner      = 20", 1)
    paths = f'[paths]\nvar = "{folder.absolute()}/var"\nmlruns = "{folder.absolute()}/mlruns"\n\n[sources]'
    toml = toml.replace("[sources]", paths, 1)
    toml = toml.replace("[training]\n", f'[training]\ntreated = "{treated}"\n', 1)
    (folder / "tidewater.toml").write_text(toml)
    return load_settings(folder / "tidewater.toml")


def make_control(folder, accounts):
    """Make the company that nobody is alerted on; returns its snapshots with their true chances."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = write_toml(folder, "keep")
    tidewater.write_sample(folder / "tidewater", accounts=accounts, months=24, seed=CONTROL_SEED)
    as_ofs = [datetime(d.year, d.month, d.day, tzinfo=UTC) for d in CONTROL_AS_OFS]
    with History.open(settings) as history:
        rows = snapshots.build(history, as_ofs)
        members = cohorts.find_eligible(history, settings.churn.cohort, as_ofs)
    truth = pd.read_parquet(folder / "tidewater/truth", columns=["account_id", "as_of", "p_churn_90d", "churned_90d"])
    return rows.merge(members, on=["account_id", "as_of"]).merge(truth, on=["account_id", "as_of"])


def judge(model, control):
    """Hold a model's scores of the control against the true chances: AUC, and calibration by tenths of the score."""
    chance = control["p_churn_90d"].to_numpy()
    score = score_rows(model, control)
    # Each row leaves with its chance and stays with the rest: the AUC that outcomes give on average.
    labels, weights = np.repeat([1.0, 0.0], len(score)), np.concatenate([chance, 1 - chance])
    order = np.array_split(np.argsort(score), BINS)
    gaps = [abs(score[b].mean() - chance[b].mean()) for b in order]
    noise = [np.sqrt((chance[b] * (1 - chance[b])).sum()) / len(b) * np.sqrt(2 / np.pi) for b in order]
    return {
        "auc": float(auc(labels, np.concatenate([score, score]), weights)),
        "ece": float(np.mean(gaps)),
        "ece_noise": float(np.mean(noise)),
        "mean_score": float(score.mean()),
        "mean_chance": float(chance.mean()),
    }


def score_rows(model, rows):
    """Return the churn scores of snapshots."""
    return Matrix(model.build_columns(rows)).apply(model.probabilities, np.arange(len(rows)))[:, 0]


def train(settings, day):
    """Train as of a day, and let the model serve."""
    mlflow_database.prepare(settings)
    with History.open(settings) as history:
        fitted = fit.fit(history, settings, progress=lambda *_: None)
        print(f"  {settings.company.name} {day}: data until {find_data_until(history, settings):%Y-%m-%d}", flush=True)
        run_id, _ = mlflow_runs.log_run(settings, fitted, fingerprint=history.compute_fingerprint())
    mlflow_registry.promote(settings, run_id, reason="a round", force=True)
    return fitted["churn"]


def list_looks(first, until):
    """List the beginnings and ends of the times between looks, from one day up to another."""
    days = [day.date() for day in pd.date_range(first, until, freq=f"{MONTHS_A_LOOK}MS")]
    return list(pairwise(days))


def live_until_next_look(settings, day, until):
    """Score and alert, send, and let owners act and the time go by."""
    as_of = datetime(day.year, day.month, day.day, tzinfo=UTC)
    run.score_accounts(settings, None, as_of=as_of, explain=Explain.ABOVE)
    with database.open(settings) as store:
        with History.open(settings) as history:
            champions = promotion_log.load_champions(settings)
            done = run_alerts(settings, store, history, champions, as_of=as_of)
        outbox.deliver(settings, store)
        acted = live_on(settings, store, until=until)
    return {"opened": len(done.opened), **acted.acts}


def run_arm(arm, treated, accounts, control):
    """Run the five rounds of one arm; returns the figures of each, and what calls did."""
    strengthen_owners()
    folder = FOLDER / arm
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    settings = write_toml(folder, treated)
    tidewater.write_sample(folder / "tidewater", accounts=accounts, months=MONTHS, end=END, until=ROUNDS[0])
    rounds = []
    for number, day in enumerate(ROUNDS, 1):
        fitted = train(settings, day)
        result = judge(fitted.model, control)
        evaluation = fitted.results[90].evaluation
        result |= {"own_auc": evaluation.auc, "own_ece": evaluation.ece}
        rounds.append(result)
        print(f"{arm} round {number} {day}: {result}", flush=True)
        for first, until in list_looks(day, ROUNDS[number]) if number < len(ROUNDS) else ():
            print(f"  {arm} {first}: {live_until_next_look(settings, first, until)}", flush=True)
    effects = pd.read_parquet(folder / "tidewater/truth_contacts")["effect"]
    acted = {"calls": len(effects)} | {name: float((effects == name).mean()) for name in ("saved", "harmed")}
    return rounds, acted, time.process_time()


def main():
    """Run both arms side by side, print the table and write it for machines."""
    accounts = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    began = time.perf_counter()
    control = make_control(FOLDER / "control", accounts)
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        runs = {arm: pool.submit(run_arm, arm, treated, accounts, control) for arm, treated in ARMS.items()}
        arms = {arm: future.result() for arm, future in runs.items()}
    figures = {"accounts": accounts, "rounds": len(ROUNDS), "control_rows": len(control)}
    chance = control["p_churn_90d"].to_numpy()
    labels, weights = np.repeat([1.0, 0.0], len(chance)), np.concatenate([chance, 1 - chance])
    figures["oracle_auc"] = float(auc(labels, np.concatenate([chance, chance]), weights))
    for arm, (rounds, acted, seconds) in arms.items():
        figures[f"{arm}_auc_falls"] = rounds[0]["auc"] - rounds[-1]["auc"]
        figures |= {f"{arm}_auc_{n}": r["auc"] for n, r in enumerate(rounds, 1)}
        figures |= {f"{arm}_ece_{n}": r["ece"] for n, r in enumerate(rounds, 1)}
        figures |= {f"{arm}_mean_{n}": r["mean_score"] for n, r in enumerate(rounds, 1)}
        figures |= {f"{arm}_{name}": value for name, value in acted.items()} | {f"{arm}_cpu_seconds": seconds}
        figures[f"{arm}_ece_noise"] = rounds[-1]["ece_noise"]
        figures["mean_chance"] = rounds[-1]["mean_chance"]
    figures["seconds"] = time.perf_counter() - began
    measure.write("loop_product", figures | {"by_round": arms}, ("lightgbm", "duckdb"))


if __name__ == "__main__":
    main()
