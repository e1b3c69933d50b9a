"""`make bench-loop-product`: five rounds of alert, save, retrain through the product's own parts.

As `bench_loop.py`, but scored, alerted, sent and trained as companies are. The company begins without alerts, trains,
and lives on: every two months it scores, alerts and sends; its owners act or don't, and some accounts are saved. Each
round's model scores the same rows of another company of the same kind that nobody ever alerted on, held against its
true chances: no luck of labels is in the figures but for the training's own.

Beside the arms stands `nobody`: the same company trains on the same days and nobody is ever told of anything. What is
off there too is not the saves' doing.

    bench_loop_product.py [ACCOUNTS] [own|able] [ARM,…]

The sample's own owners save few; with `able` they are abler than any, see `able_owners`. Figures are written after each
round, and a run that was stopped goes on where it was; remove its folder to begin anew.
"""

import json
import os
import re
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

from features.core.atomic_write import write_atomically
from features.core.auc import auc
from features.engine import snapshots
from features.samples import parts, tidewater
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
ARMS = {"nobody": "keep", "kept": "keep", "column": "column"}
MONTHS_A_LOOK = 2
BINS = 10


def write_toml(folder, treated):
    """Write tidewater's settings with churn over 90 days alone, letters in a folder, and one of the ways to train."""
    toml = re.sub(r"(?m)^(\w+ += \{ path = )\".*/tidewater/(\w+)\"", r'\1"tidewater/\2"', EXAMPLE.read_text())
    toml = toml[: toml.index("# Who else hears")].replace("horizons = [30, 90]", "horizons = [90]", 1)
    toml = toml[: toml.index("[upsell]")] + toml[toml.index("# An owner has time") :]
    toml = re.sub(r"email = \{ host.*\n", 'folder = "letters"\n', toml)
    # All at risk are told of, and none held out by lot: with time for twenty letters an owner at each look.
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


def run_arm(arm, owners, accounts, control):
    """Run the rounds of one arm that are not done yet, and write the figures of each."""
    if owners == "able":
        strengthen_owners()
    folder = FOLDER / f"{owners}_{accounts}" / arm
    folder.mkdir(parents=True, exist_ok=True)
    settings, sample = write_toml(folder, ARMS[arm]), folder / "tidewater"
    if not (sample / parts.NOTE).exists():
        make_company(sample, accounts, ROUNDS[0])
    rounds = read_rounds(folder)
    for number, day in enumerate(ROUNDS, 1):
        if number > len(rounds):
            began = time.process_time()
            fitted = train(settings, day)
            evaluation = fitted.results[90].evaluation
            result = judge(fitted.model, control) | {"own_auc": evaluation.auc, "own_ece": evaluation.ece}
            rounds.append(result | count_calls(sample) | {"cpu_seconds": time.process_time() - began})
            with write_atomically(folder / "rounds.json") as part:
                part.write_text(json.dumps(rounds, indent=2))
            print(f"{arm} round {number} {day}: {rounds[-1]}", flush=True)
            write_figures(owners, accounts, control)
        for first, until in list_looks(day, ROUNDS[number]) if number < len(ROUNDS) else ():
            if until <= read_last_day(sample):
                continue
            if arm == "nobody":
                make_company(sample, accounts, until)
            else:
                print(f"  {arm} {first}: {live_until_next_look(settings, first, until)}", flush=True)


def make_company(sample, accounts, until):
    """Make the company up to a day, as it is when nobody acts."""
    tidewater.write_sample(sample, accounts=accounts, months=MONTHS, end=END, until=until)


def read_last_day(sample):
    """Return the first day that a sample has no data of yet."""
    return date.fromisoformat(json.loads((sample / parts.NOTE).read_text())["parameters"]["until"])


def count_calls(sample):
    """Count the calls so far, and which share saved or harmed."""
    effects = pd.read_parquet(sample / "truth_contacts")["effect"]
    shares = {name: float((effects == name).mean()) if len(effects) else 0.0 for name in ("saved", "harmed")}
    return {"calls": len(effects)} | shares


def read_rounds(folder):
    """Return the figures of an arm's rounds so far."""
    file = folder / "rounds.json"
    return json.loads(file.read_text()) if file.exists() else []


def write_figures(owners, accounts, control):
    """Print the table of all arms' rounds so far, and write it for machines."""
    chance = control["p_churn_90d"].to_numpy()
    labels, weights = np.repeat([1.0, 0.0], len(chance)), np.concatenate([chance, 1 - chance])
    figures = {"accounts": accounts, "control_rows": len(control), "mean_chance": float(chance.mean())}
    figures["oracle_auc"] = float(auc(labels, np.concatenate([chance, chance]), weights))
    arms = {arm: read_rounds(FOLDER / f"{owners}_{accounts}" / arm) for arm in ARMS}
    for arm, rounds in arms.items():
        for figure in ("auc", "ece", "mean_score", "saved"):
            figures |= {f"{arm}_{figure}_{n}": r[figure] for n, r in enumerate(rounds, 1)}
        if rounds:
            figures[f"{arm}_auc_falls"] = rounds[0]["auc"] - rounds[-1]["auc"]
            figures["ece_noise"] = rounds[-1]["ece_noise"]
    measure.write(f"loop_product_{owners}", figures | {"by_round": arms}, ("lightgbm", "duckdb"))


def main():
    """Run the arms side by side."""
    accounts = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    owners = sys.argv[2] if len(sys.argv) > 2 else "own"
    arms = sys.argv[3].split(",") if len(sys.argv) > 3 else list(ARMS)
    control = make_control(FOLDER / f"control_{accounts}", accounts)
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        for done in [pool.submit(run_arm, arm, owners, accounts, control) for arm in arms]:
            done.result()


if __name__ == "__main__":
    main()
