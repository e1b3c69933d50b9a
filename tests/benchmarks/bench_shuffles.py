"""`make bench-shuffles`: on labels shuffled among the accounts, training must find no signal, each time.

Every account of a cutoff gets the label of another one: the base rate of each month stays, and an account's labels
stay those of one account. Nothing else is changed: fitted, evaluated and judged as `training fit` does, one horizon of
churn. SHUFFLES of each company (100), of ACCOUNTS at most (all).
"""

import os
import sys
import time
from collections import Counter
from pathlib import Path
from unittest import mock

import measure
import numpy as np

from features.samples import tidewater
from features.settings.load import load_settings
from features.sources.history import History
from training.fitting import fit, training_rows
from training.models.dataset import find_data_until, list_cutoffs, load_dataset
from training.targets import labels as true_labels

FOLDER = Path("var/bench/shuffles")
SHARED = Path(os.environ.get("GARRISON_DATA", "../shared/data")).absolute()
SHUFFLES = int(os.environ.get("SHUFFLES", "100"))
ACCOUNTS = int(os.environ.get("ACCOUNTS", "0"))
COMPANIES = {"tidewater": (FOLDER / "samples", 90), "online_retail": (SHARED, 90)}


def shuffle(frame, labels, seed):
    """Give the labels of each cutoff to its accounts in an order of their own, much the same at all cutoffs."""
    random = np.random.default_rng(seed)
    ids = np.unique(frame["account_id"])
    givers, takers = (dict(zip(ids, random.random(len(ids)), strict=True)) for _ in range(2))
    shuffled = np.full(len(labels), np.nan)
    giver, taker = (frame["account_id"].map(order).to_numpy() for order in (givers, takers))
    for rows in frame.groupby("as_of").indices.values():
        shuffled[rows[np.argsort(taker[rows])]] = labels[rows[np.argsort(giver[rows])]]
    return shuffled


def judge(company, plans, horizon, seed):
    """Return the verdict on one shuffle, with its AUC and reasons."""
    history, settings, data = company
    answers = true_labels.compute_labels(history, settings.churn, horizon, data.frame, data_until=data.data_until)
    keys = data.frame[["account_id", "as_of"]]
    shuffled = keys.assign(label=shuffle(keys, answers.to_numpy(), seed)).set_index(["account_id", "as_of"])["label"]

    def compute_labels(_, __, ___, rows, **____):
        return shuffled.reindex(list(zip(rows["account_id"], rows["as_of"], strict=True))).set_axis(rows.index)

    with (
        mock.patch.object(fit, "compute_labels", compute_labels),
        mock.patch.object(training_rows, "compute_labels", compute_labels),
    ):
        fitted = fit.fit_target(history, settings, "churn", data, plans, progress=lambda _: None)
    evaluation = fitted.results[horizon].evaluation
    return {"seed": seed, "verdict": evaluation.verdict, "auc": evaluation.auc, "reasons": list(evaluation.reasons)}


def run(name, folder, horizon):
    """Shuffle one company's labels many times; count the verdicts."""
    os.environ["GARRISON_DATA"] = str(folder.absolute())
    settings = load_settings(f"docs/examples/{name}.toml")
    paths = settings.paths.model_copy(update={"var": FOLDER / "var", "mlruns": FOLDER / "mlruns"})
    churn = settings.churn.model_copy(update={"horizons": (horizon,)})
    settings = settings.model_copy(update={"paths": paths, "churn": churn, "upsell": None})
    began, found = time.perf_counter(), []
    with History.open(settings) as history:
        until = find_data_until(history, settings)
        cutoffs = list_cutoffs(history, settings, until)
        data = load_dataset(history, settings, "churn", cutoffs, until)
        if ACCOUNTS:
            ids = np.unique(data.frame["account_id"])
            some = np.random.default_rng(7).permutation(ids)[:ACCOUNTS]
            data = type(data)(data.frame[data.frame["account_id"].isin(some)].reset_index(drop=True), cutoffs, until)
        plans = fit.build_plans(settings, settings.churn, cutoffs, until)
        for seed in range(SHUFFLES):
            found.append(judge((history, settings, data), plans, horizon, seed))
            if found[-1]["verdict"] == "signal":
                print(f"  {name}, shuffle {seed}: {found[-1]}", flush=True)
            if seed % 10 == 9:
                print(f"  {name}: {Counter(f['verdict'] for f in found)}", flush=True)
    aucs = [f["auc"] for f in found]
    return {
        "rows": len(data.frame),
        "shuffles": len(found),
        "verdicts": dict(Counter(f["verdict"] for f in found)),
        "signals": [f for f in found if f["verdict"] == "signal"],
        "auc_least": min(aucs),
        "auc_most": max(aucs),
        "seconds": time.perf_counter() - began,
    }


def main():
    wanted = sys.argv[1:] or [*COMPANIES]
    tidewater.write_sample(FOLDER / "samples" / "tidewater")
    figures = {}
    for name in wanted:
        folder, horizon = COMPANIES[name]
        if not (folder / name).is_dir():
            print(f"{name}: there is no {folder / name}: set GARRISON_DATA")
            continue
        figures[name] = run(name, folder, horizon)
        print(f"{name}: {figures[name]}", flush=True)
    measure.write("shuffles", figures, ["lightgbm", "numpy"])


if __name__ == "__main__":
    main()
