"""`make bench-training`: training on 5 million snapshots of 150 features, and the memory that it takes.

The snapshots are made up, month by month, and written where the engine would keep them: training reads, judges and
probes them as any others. Beside it stands plain LightGBM on the same rows in one matrix of numpy's.
"""

import argparse
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import lightgbm as lgb
import measure
import numpy as np
import pandas as pd
import pyarrow as pa

from features.core.timestamps import to_micros
from features.engine import snapshot_cache, snapshots
from features.settings.load import load_settings
from features.sources.history import History
from training.evaluation import baselines
from training.fitting import fit
from training.models import dataset, hyperparameters
from training.models.model import Model
from training.models.trainer import Trainer
from training.targets import labels

FOLDER = Path("var/bench/training")
MONTHS = [datetime(2023 + month // 12, month % 12 + 1, 1, tzinfo=UTC) for month in range(25)]
UNTIL = MONTHS[-1]
FEATURES, TEXTS = 150, {"plan": 3, "region": 7, "industry": 40}
CAUSES, EVENTS, STAYING = 12, 20_000, 0.8  # of the accounts, over all months
TOML = """
[company]
name = "Bench"
data_until = 2025-01-01T00:00:00Z

[paths]
var = "{folder}/var"
mlruns = "{folder}/mlruns"

[training]
first = 2023-01-01T00:00:00Z

[churn]
cohort = {{ kind = "lifetime" }}
label = {{ kind = "ended" }}
"""
COLUMNS = {
    "accounts": ("account_id", "created_at", *TEXTS),
    "usage": ("account_id", "used_at", "count"),
    "tickets": ("ticket_id", "account_id", "opened_at", "resolved_at", "priority", "csat"),
    "purchases": ("account_id", "purchased_at", "amount", "kind"),
    "lifetimes": ("account_id", "started_at", "ended_at"),
}


def settings():
    return load_settings(FOLDER / "garrison.toml")


def company(rows):
    """Accounts that leave for a reason, and a few events of each source; gives the monthly risk, (months, accounts)."""
    random = np.random.default_rng(7)
    count = round(rows / len(MONTHS) / STAYING)
    ids = np.array([f"A{n:07d}" for n in range(count)])
    risk, ended = np.empty((len(MONTHS), count), dtype="float32"), np.full(count, np.datetime64("NaT", "us"))
    lasting, state = random.normal(size=count), random.normal(size=count)
    for month, start in enumerate(MONTHS):
        state = 0.8 * state + 0.6 * random.normal(size=count)
        risk[month] = lasting + state
        leaves = (random.random(count) < 1 / (1 + np.exp(4.9 - risk[month]))) & np.isnat(ended) & (start < UNTIL)
        days = random.integers(0, 28 * 86_400, count).astype("timedelta64[s]")
        ended[leaves] = np.datetime64(start.replace(tzinfo=None), "us") + days[leaves]
    start = datetime(2022, 1, 1, tzinfo=UTC)
    tables = {"accounts": pd.DataFrame({"account_id": ids, "created_at": start - timedelta(days=30)})}
    for name, kinds in TEXTS.items():
        tables["accounts"][name] = _texts(name, random.integers(0, kinds, count))
    tables["lifetimes"] = pd.DataFrame(
        {"account_id": ids, "started_at": start, "ended_at": pd.to_datetime(ended, utc=True)}
    )
    some = random.choice(ids, EVENTS)
    # Before anybody leaves: whoever uses on after the end is a finding of the leak probe.
    at = start + pd.to_timedelta(random.integers(0, (MONTHS[0] - start).days * 86_400, EVENTS), unit="s")
    tables["usage"] = pd.DataFrame({"account_id": some, "used_at": at, "count": 1})
    tables["purchases"] = pd.DataFrame({"account_id": some, "purchased_at": at, "amount": 100, "kind": "renewal"})
    tables["tickets"] = pd.DataFrame(
        {"ticket_id": np.arange(EVENTS).astype("str"), "account_id": some, "opened_at": at, "priority": "urgent"}
    ).assign(resolved_at=at + timedelta(hours=3), csat=4.0)
    toml = TOML.format(folder=FOLDER.absolute())
    for name, columns in COLUMNS.items():
        tables[name].to_parquet(FOLDER / f"{name}.parquet", index=False)
        mapped = ", ".join(f'{column} = "{column}"' for column in columns)
        toml += f'\n[sources.{name}]\npath = "{name}.parquet"\n'
        toml += f'[tables.{name}]\nsource = "{name}"\ncolumns = {{ {mapped} }}\n'
    (FOLDER / "garrison.toml").write_text(toml, encoding="utf-8")
    return risk, tables["accounts"]


def make(rows):
    """Write the company and its snapshots, a month at a time: each feature a noisy look at the risk, or at nothing."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    risk, accounts = company(int(rows))
    random, found = np.random.default_rng(8), settings()
    with History.open(found) as history:
        there = {f.name: f for f in history.features}
        names = sorted(there, key=lambda n: (n not in baselines.COLUMNS, n))[: FEATURES - len(TEXTS)]
        files = snapshot_cache._files(found, history, MONTHS)
    causes = random.choice(len(names), CAUSES, replace=False)
    kept = [name for name in there if name in names]
    for month, as_of in enumerate(MONTHS):
        columns = {
            "account_id": pa.array(accounts["account_id"], pa.string()),
            "as_of": _instants(as_of, len(accounts)),
        }
        for place, name in enumerate(kept):
            seen = random.normal(size=len(accounts))
            if place in causes:
                seen += (there[name].direction or 1) * risk[month]
            values = np.round(np.exp(seen), 2)
            values[random.random(len(values)) < 0.05 * (place % 4)] = np.nan
            columns[name] = pa.array(values, from_pandas=True)
        columns |= {name: pa.array(accounts[name], pa.string()) for name in TEXTS}
        snapshots.write_snapshots(pa.table(columns), files[as_of])
    measure.answer(accounts=len(accounts))


def _instants(as_of, count):
    return pa.array(np.full(count, to_micros(as_of)), pa.timestamp("us", "UTC"))


def _texts(name, codes):
    return np.array([f"{name} {code}" for code in range(codes.max() + 1)])[codes]


def train():
    """`python -m training fit` without the registry: read, learn, calibrate, judge, look for leaks."""
    found = settings()

    def run():
        with History.open(found) as history:
            return fit.fit(history, found, progress=lambda said: print(said, file=sys.stderr))["churn"]

    took, fitted = measure.seconds(run)
    [outcome] = fitted.results.values()
    told = outcome.evaluation
    fitted.model.save(FOLDER / "bundle")
    measure.answer(
        seconds=took,
        features=len(fitted.model.features),
        auc=told.auc,
        verdict=told.verdict,
        reasons=[*told.reasons],
        best_baseline=max(b.auc for b in told.baselines.values()),
        train_until=str(outcome.plan.train[-1]),
    )


def plain(until):
    """One booster on the rows of the training, binned from batches of the frame, then from one matrix of numpy's."""
    found = settings()
    with History.open(found) as history:
        data = dataset.load_dataset(history, found, "churn", tuple(MONTHS), UNTIL)
        answers = labels.compute_labels(history, found.churn, 90, data.frame, data_until=UNTIL).to_numpy()
    bundle = Model.load(FOLDER / "bundle")
    rows = np.flatnonzero((data.frame["as_of"] <= pd.Timestamp(until)).to_numpy() & ~np.isnan(answers))
    given = hyperparameters.build_target_hyperparameters(found, found.churn, bundle)
    trainer = Trainer(data.build_matrix(bundle), answers, categorical=bundle.categorical, hyperparameters=given)
    in_batches, booster = measure.seconds(lambda: trainer.train_booster(rows).model_to_string())
    matrix, known, count = trainer.matrix[rows], answers[rows], len(data.frame)

    def run():
        whole = lgb.Dataset(matrix, known, categorical_feature=[*bundle.categorical], params={"verbosity": -1})
        return lgb.train(given.parameters, whole, num_boost_round=given.trees).model_to_string()

    took, text = measure.seconds(run)
    same = text.partition("\nparameters:")[0] == booster.partition("\nparameters:")[0]
    measure.answer(rows=count, learned_rows=len(rows), batches_seconds=in_batches, plain_seconds=took, same=same)


PARTS = {"make": make, "train": train, "plain": plain}


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rows", type=int, default=5_000_000)
    rows = options.parse_args().rows
    made = measure.alone(__file__, "make", rows)
    ours = measure.alone(__file__, "train")
    beside = measure.alone(__file__, "plain", ours.pop("train_until"))
    figures = {
        "rows": beside["rows"],
        "features": ours["features"],
        "accounts": made["accounts"],
        "peak_gib": ours["peak_gib"],
        "matrix_gib": beside["rows"] * ours["features"] * 8 / 2**30,
        "seconds": ours["seconds"],
        "auc": ours["auc"],
        "best_baseline_auc": ours["best_baseline"],
        "verdict": ours["verdict"],
        "learned_rows": beside["learned_rows"],
        "batches_seconds": beside["batches_seconds"],
        "plain_seconds": beside["plain_seconds"],
        "batches_over_plain": beside["batches_seconds"] / beside["plain_seconds"],
        "ratio": ours["seconds"] / beside["plain_seconds"],
        "same_trees": beside["same"],
    }
    measure.write("training", figures, ("lightgbm", "pyarrow", "pandas", "numpy"))
    shutil.rmtree(FOLDER)


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1] in PARTS:
        PARTS[sys.argv[1]](*sys.argv[2:])
    else:
        main()
