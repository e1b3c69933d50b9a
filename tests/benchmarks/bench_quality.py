"""`make bench-quality`: every task of the quality table, our whole pipeline by TOML alone, beside the baselines.

Third-party data are looked for in GARRISON_DATA; tasks whose data aren't there are skipped, and it says so. Two files
of one row a customer are learned by the trainer alone, in ten folds.
"""

import os
import sys
import time
from pathlib import Path

import measure
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from features.samples import completejourney, oracle, tidewater
from features.settings.load import load_settings
from features.sources.history import History
from training.estimators.classifier import GarrisonClassifier
from training.evaluation.evaluate import evaluate
from training.fitting import fit

FOLDER = Path("var/bench/quality")
SAMPLES = FOLDER / "samples"
SHARED = Path(os.environ.get("GARRISON_DATA", "../shared/data")).absolute()
KEPT = ("rows", "base_rate", "auc", "auc_low", "auc_high", "auc_within", "ap", "brier", "ece", "ece_noise", "lift_10")
TOLD = (*KEPT, "ece_month", "ece_tier", "coverage", "baselines", "verdict", "reasons")

# Task: reference, reached by a careful model, goal; AUC.
TASKS = {
    "online_retail_churn_90d": (0.774, 0.781, 0.785),
    "online_retail_churn_60d": (0.763, 0.769, 0.775),
    "online_retail_upsell_90d": (0.683, 0.714, 0.730),
    "online_retail_upsell_60d": (0.717, 0.749, 0.755),
    "completejourney_churn_28d": (0.855, 0.860, 0.863),
    "completejourney_churn_56d": (0.854, 0.866, 0.870),
    "completejourney_upsell_28d": (0.757, 0.795, 0.797),
    "completejourney_upsell_56d": (0.764, 0.793, 0.797),
    "superstore_churn_90d": (None, 0.514, None),
    "saas_churn_90d": (0.645, 0.79, None),
    "crm_churn_60d": (0.663, 0.732, 0.75),
    "crm_upsell_60d": (0.921, 0.936, 0.93),
    "mlc_churn": (0.919, 0.9365, 0.933),
    "telco": (0.846, 0.850, 0.850),
    "sample_churn_90d": (None, None, None),
}
LEVEL = 0.05  # goal of superstore's calibration error by month, where nobody can be ranked
RATIO = 0.97  # of the sample's AUC to that of the true chances


def company(name, data):
    """Each task of a company to its outcome: fitted as `training fit` would, in folders of its own."""
    os.environ["GARRISON_DATA"] = str(data.absolute())
    settings = load_settings(f"docs/examples/{name}.toml")
    paths = settings.paths.model_copy(update={"var": FOLDER / "var", "mlruns": FOLDER / "mlruns"})
    settings = settings.model_copy(update={"paths": paths})
    with History.open(settings) as history:
        fitted = fit.fit(history, settings, progress=lambda _: None)
    return {f"{target}_{h}d": o for target, f in fitted.items() for h, o in f.results.items()}


def shared(name):
    if not (SHARED / name).is_dir():
        return f"there is no {SHARED / name}: set GARRISON_DATA"
    return {f"{name}_{task}": figures(o.evaluation) for task, o in company(name, SHARED).items()}


def journeys():
    completejourney.write_sample(SAMPLES / "completejourney")
    outcomes = company("completejourney", SAMPLES)
    return {f"completejourney_{task}": figures(o.evaluation) for task, o in outcomes.items()}


def sample():
    """The synthetic company, beside the AUC of the true chances."""
    tidewater.write_sample(SAMPLES / "tidewater")
    outcome = company("tidewater", SAMPLES)["churn_90d"]
    scores = FOLDER / "sample_churn_90d.parquet"
    outcome.test.to_parquet(scores, index=False)
    true = oracle.compare(scores, SAMPLES / "tidewater" / "truth", "churn_90d")
    beside = {"oracle_auc": true.oracle_auc, "ratio": true.ratio}
    return {"sample_churn_90d": figures(outcome.evaluation) | beside}


def mlc_churn(file):
    frame = pd.read_csv(file).drop(columns="state")
    frame["total_charge"] = frame[[f"total_{part}_charge" for part in ("day", "eve", "night", "intl")]].sum(axis=1)
    return frame.drop(columns="churn"), frame["churn"] == "yes"


def telco(file):
    frame = pd.read_csv(file, na_values=" ").drop(columns="customerID")
    return frame.drop(columns="Churn"), frame["Churn"] == "Yes"


def plain(name, prepare):
    """The classifier for frames on ten folds, a row a customer; its scores are by models that never saw the row."""
    file = SHARED / "tabular" / f"{name}.csv"
    if not file.exists():
        return f"there is no {file}: set GARRISON_DATA"
    frame, answers = prepare(file)
    answers = answers.to_numpy(dtype="float64")
    texts = [c for c in frame if not pd.api.types.is_numeric_dtype(frame[c])]
    dummies = pd.get_dummies(frame.fillna(0.0), columns=texts).to_numpy(dtype="float64")
    scores, logistic = np.empty(len(frame)), np.empty(len(frame))
    for learn, judge in StratifiedKFold(10, shuffle=True, random_state=7).split(dummies, answers):
        ours = GarrisonClassifier().fit(frame.iloc[learn], answers[learn])
        scores[judge] = ours.predict_proba(frame.iloc[judge])[:, 1]
        rival = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(dummies[learn], answers[learn])
        logistic[judge] = rival.predict_proba(dummies[judge])[:, 1]
    rivals = {"base_rate": np.full(len(frame), answers.mean()), "logistic": logistic}
    return {name: figures(evaluate(answers, scores, np.arange(len(frame)), rivals, seed=7))}


def figures(evaluation):
    plain = evaluation.as_dict()
    return {name: plain[name] for name in TOLD} | {"calibrated": evaluation.calibrated}


def told(task, found):
    """One line of the table; `covered` is the share of groups of like accounts that intervals cover, of how many."""
    reference, reached, goal = TASKS[task]
    goals = [found["auc"] >= goal] if goal else []
    goals += [found["ratio"] >= RATIO] if "ratio" in found else []
    goals += [found["ece_month"] <= LEVEL] if task.startswith("superstore") else []
    met = ("yes" if all(goals) else "no") if goals else ""
    of = f"{found['ratio']:.3f} of the oracle's {found['oracle_auc']:.3f}, goal {RATIO}" if "ratio" in found else ""
    within, month, tier = (
        "" if found.get(k) is None else format(found[k], ".4f") for k in ("auc_within", "ece_month", "ece_tier")
    )
    held = found["coverage"]
    cover = f"{held['covered']:.2f} ({held['groups']})" if held else ""
    best = max(found["baselines"], key=lambda name: found["baselines"][name]["auc"])
    numbers = "".join(f"{'' if x is None else format(x, '.4g'):>8}" for x in (reference, reached, goal))
    return (
        f"{task:<27}{found['auc']:.4f} ({found['auc_low']:.3f}-{found['auc_high']:.3f}){numbers}  {met:<4}"
        f"{within:<8}{found['ece']:.4f} ({found['ece_noise']:.4f}){'' if found['calibrated'] else '!':<2}"
        f"{month:<9}{tier:<8}{cover:<11}"
        f"{found['baselines'][best]['auc']:.3f} {best:<13}{found['verdict']} {of}"
    )


HEAD = (
    f"{'task':<27}{'AUC (95 %)':<21}{'refer.':>8}{'reached':>8}{'goal':>8}  {'met':<4}"
    f"{'within':<8}{'ECE (noise)':<17}{'by month':<8} {'by tier':<8}{'covered':<11}{'best baseline':<19}verdict"
)


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    began, tasks, skipped = time.perf_counter(), {}, {}
    parts = {
        "online_retail": lambda: shared("online_retail"),
        "completejourney": journeys,
        "superstore": lambda: shared("superstore"),
        "saas": lambda: shared("saas"),
        "crm": lambda: shared("crm"),
        "mlc_churn": lambda: plain("mlc_churn", mlc_churn),
        "telco": lambda: plain("telco", telco),
        "sample": sample,
    }
    asked = sys.argv[1:] or list(parts)
    print(HEAD, flush=True)
    for name in asked:
        start, found = time.perf_counter(), parts[name]()
        if isinstance(found, str):
            skipped[name] = found
            print(f"{name}: skipped, {found}", flush=True)
            continue
        for task in (t for t in TASKS if t in found):
            print(told(task, found[task]), flush=True)
        tasks |= {t: found[t] for t in TASKS if t in found}
        print(f"  {name}: {time.perf_counter() - start:.0f} s", flush=True)
    figures = {"tasks": tasks, "skipped": skipped, "seconds": time.perf_counter() - began}
    measure.write("quality", figures, ["duckdb", "lightgbm", "numpy", "scikit-learn", "scipy"])


if __name__ == "__main__":
    main()
