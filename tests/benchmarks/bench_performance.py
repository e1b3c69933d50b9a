"""`make bench-performance`: the AUC estimated from scores alone beside the AUC that came true, over rolling backtests.

At each origin a model is trained on what was known then and scores the cohort. The estimate sees these scores and
nothing else. Data are looked for in GARRISON_DATA, as by `make bench-quality`; tasks whose data aren't there are
skipped, and it says so.
"""

import os
import sys
import time
from pathlib import Path

import measure
import numpy as np
import pandas as pd

from features.core.auc import auc
from features.samples import completejourney
from features.settings.load import load_settings
from features.sources.history import History
from monitoring.performance.figures import estimate_auc, estimate_performance
from training.evaluation import bootstrap
from training.fitting.backtest import backtest

FOLDER = Path("var/bench/performance")
SHARED = Path(os.environ.get("GARRISON_DATA", "../shared/data")).absolute()
ORIGINS = 12


def run_backtests(name, data):
    """The test rows of all origins: task, as_of, account_id, score, label."""
    os.environ["GARRISON_DATA"] = str(data)
    settings = load_settings(f"docs/examples/{name}.toml")
    paths = settings.paths.model_copy(update={"var": FOLDER / "var", "mlruns": FOLDER / "mlruns"})
    settings = settings.model_copy(update={"paths": paths})
    with History.open(settings) as history:
        results = backtest(history, settings, origins=ORIGINS)
    return pd.concat([r.pooled.test.assign(task=task) for task, r in results.items()], ignore_index=True)


def read_online_retail():
    return run_backtests("online_retail", SHARED) if (SHARED / "online_retail").is_dir() else None


def read_completejourney():
    completejourney.write_sample(FOLDER / "samples" / "completejourney")
    return run_backtests("completejourney", (FOLDER / "samples").absolute())


def compare_cutoffs(rows):
    """One line for each cutoff: what was estimated, with its interval, and what came true."""
    lines = []
    for (task, as_of), part in rows.groupby(["task", "as_of"]):
        scores, labels = part["score"].to_numpy(), part["label"].to_numpy()
        expected = estimate_performance(scores)
        realised = auc(labels, scores)
        lines.append(
            {
                "task": task,
                "as_of": f"{as_of:%Y-%m-%d}",
                "rows": len(part),
                "positives": int(labels.sum()),
                "expected_positives": expected.positives,
                "estimated": expected.auc,
                "low": expected.auc_low,
                "high": expected.auc_high,
                "realised": realised,
                "difference": expected.auc - realised,
                "inside": bool(expected.auc_low <= realised <= expected.auc_high),
            }
        )
    return lines


def compute_difference(rows, seed=7):
    """Mean over the cutoffs of estimated less realised AUC, with its 95 % interval over draws of accounts."""
    cells = [indices for _, indices in rows.groupby(["task", "as_of"]).indices.items()]
    scores, labels = rows["score"].to_numpy(), rows["label"].to_numpy()

    def difference(weights):
        apart = (
            estimate_auc(scores[c], weights[c]) - auc(labels[c], scores[c], weights[c])
            for c in cells
            if 0 < weights[c] @ labels[c] < weights[c].sum()
        )
        return float(np.mean([*apart]))

    drawn = [difference(w) for w in bootstrap.draw_weights(rows["account_id"].to_numpy(), seed=seed)]
    low, high = bootstrap.compute_interval(np.array(drawn))
    return {"difference": difference(np.ones(len(rows))), "low": low, "high": high, "cutoffs": len(cells)}


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    began, found, skipped, cutoffs = time.perf_counter(), {}, [], {}
    companies = {"online_retail": read_online_retail, "completejourney": read_completejourney}
    for name in sys.argv[1:] or companies:
        rows = companies[name]()
        if rows is None:
            skipped.append(name)
            print(f"{name}: skipped, there is no {SHARED / name}: set GARRISON_DATA", flush=True)
            continue
        lines = compare_cutoffs(rows)
        cutoffs |= {f"{name}_{line['task']} {line['as_of']}": line for line in lines}
        for task, part in [*rows.groupby("task"), ("all", rows)]:
            own = [line for line in lines if task in {"all", line["task"]}]
            figures = compute_difference(part)
            figures |= {key: float(np.mean([line[key] for line in own])) for key in ("estimated", "realised", "inside")}
            figures["largest"] = max((line["difference"] for line in own), key=abs)
            found[f"{name}_{task}"] = figures
            print(
                f"{name + ' ' + task:<28}estimated {figures['estimated']:.3f}, realised {figures['realised']:.3f}, "
                f"difference {figures['difference']:+.3f} ({figures['low']:+.3f} to {figures['high']:+.3f}), "
                f"largest {figures['largest']:+.3f}; {figures['inside']:.0%} of {len(own)} inside the interval",
                flush=True,
            )
    figures = {"differences": found, "skipped": skipped, "seconds": time.perf_counter() - began, "by_cutoff": cutoffs}
    measure.write("performance", figures, ["duckdb", "lightgbm", "numpy", "scikit-learn"])


if __name__ == "__main__":
    main()
