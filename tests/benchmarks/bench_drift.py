"""`make bench-drift`: the verdict on drift of 100,000 rows of 150 columns, beside Evidently's DataDriftPreset.

How often both say the same of a column is measured on 20 simulated drifts, with the same method and threshold: on the
bins of our verdict, which is what our pages show of Evidently, and on the bins that Evidently chooses by itself.
"""

import sys
import tempfile
import time
import warnings
from pathlib import Path

import measure
import numpy as np
import pandas as pd

from monitoring.drift.comparison import ROWS, judge_drift, prepare_samples
from monitoring.drift.drift_page import write_drift_page
from serving.gate.binning import bin_column

ACCOUNTS, COLUMNS = 100_000, 150
DRIFTS, DRIFT_ROWS, DRIFT_COLUMNS = 20, 2_000, 20
CUTOFFS = pd.date_range("2024-06-01", periods=12, freq="MS", tz="UTC")
SHAPES = {
    "count": lambda draw, rows: draw.poisson(8, rows).astype(float),
    "level": lambda draw, rows: draw.normal(size=rows),
    "money": lambda draw, rows: np.where(draw.random(rows) < 0.4, 0.0, draw.lognormal(6, 1.5, rows)),
    "csat": lambda draw, rows: np.where(draw.random(rows) < 0.3, np.nan, draw.normal(4, 1, rows)),
    "plan": lambda draw, rows: draw.choice(["basic", "plus", "pro"], p=[0.5, 0.3, 0.2], size=rows),
}


def frame(seed, rows, columns):
    """Columns of the shapes that features have, in turn."""
    draw, names = np.random.default_rng(seed), list(SHAPES)
    made = {f"{names[at % len(names)]}_{at}": SHAPES[names[at % len(names)]](draw, rows) for at in range(columns)}
    return pd.DataFrame(made)


def dated(rows):
    """The cutoff of each training row."""
    return CUTOFFS[np.arange(rows) % len(CUTOFFS)]


def drifted(seed):
    """A current sample of which a third of the columns moved, from hardly to far."""
    current, draw = frame(1_000 + seed, DRIFT_ROWS, DRIFT_COLUMNS), np.random.default_rng(seed)
    for name in draw.choice(list(current), DRIFT_COLUMNS // 3, replace=False):
        strength = draw.uniform(0.05, 1.5)
        column, some = current[name], draw.random(DRIFT_ROWS) < strength / 2
        if name.startswith("plan"):
            current[name] = column.mask(some, "pro")
        elif draw.random() < 0.3:
            current[name] = column.mask(some)
        else:
            current[name] = column + strength * column.std() if name.startswith("level") else column * (1 + strength)
    return current


def datasets(reference, current):
    """Both frames as Evidently takes them: the current one first."""
    from evidently import DataDefinition, Dataset

    numbers = [c for c in reference if pd.api.types.is_numeric_dtype(reference[c])]
    nothing = {f"{kind}_columns": [] for kind in ("text", "datetime", "unknown", "list")}
    texts = [c for c in reference if c not in numbers]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=texts, **nothing)
    return [Dataset.from_pandas(f, definition) for f in (current, reference)]


def verdict():
    """Our verdict: seconds, and the most memory that it took above the frames."""
    reference, current = frame(0, ACCOUNTS, COLUMNS), frame(1, ACCOUNTS, COLUMNS)
    reference["as_of"] = dated(ACCOUNTS)
    judge_drift(reference.head(100), current.head(100), seed=7)  # imports what it imports
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak begins anew
    before = memory("VmRSS")
    took, result = processor_seconds(lambda: judge_drift(reference, current, seed=7), times=3)
    measure.answer(seconds=took, peak_mib=memory("VmHWM") - before, state=result.state)


def processor_seconds(work, times=1):
    """The least processor time of several runs, and what the last gave: other work on the machine does not count."""
    took = []
    for _ in range(times):
        start = time.process_time()
        result = work()
        took.append(time.process_time() - start)
    return min(took), result


def memory(key):
    """A figure of this process's memory, MiB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def evidently():
    """Evidently's preset on the same frames, without its import."""
    from evidently import Report
    from evidently.presets import DataDriftPreset

    sides = datasets(frame(0, ACCOUNTS, COLUMNS), frame(1, ACCOUNTS, COLUMNS))
    took, _ = processor_seconds(lambda: Report([DataDriftPreset()]).run(*sides).dict())
    measure.answer(seconds=took)


def agreement():
    """The share of columns of which both say the same, on our bins and on Evidently's."""
    reference = frame(0, DRIFT_ROWS, DRIFT_COLUMNS)
    same, same_by_itself, moved = [], [], 0
    for seed in range(DRIFTS):
        current = drifted(seed)
        judged = judge_drift(reference.assign(as_of=dated(DRIFT_ROWS)), current, seed=7).columns
        sound, _ = prepare_samples(reference, current, seed=7)
        binned = {name: bin_column(*pair) for name, pair in sound.columns.items()}
        sides = [
            pd.DataFrame({n: getattr(b, side).astype(str) for n, b in binned.items()})
            for side in ("reference", "current")
        ]
        thresholds, ours = {c.name: c.threshold for c in judged}, {c.name: c.drifted for c in judged}
        for sample, agreed in ((sides, same), ((reference, current), same_by_itself)):
            theirs = ask(*sample, thresholds)
            agreed += [ours[name] == theirs[name] for name in ours]
        moved += sum(ours.values())
    measure.answer(agreement=float(np.mean(same)), by_itself=float(np.mean(same_by_itself)), moved=moved / len(same))


def ask(reference, current, thresholds):
    """Evidently's verdict by column: whether its test of drift failed."""
    from evidently import Report
    from evidently.metrics import ValueDrift

    metrics = [ValueDrift(column=name, method="psi", threshold=limit) for name, limit in thresholds.items()]
    tests = Report(metrics, include_tests=True).run(*datasets(reference, current)).dict()["tests"]
    return dict(zip(thresholds, (str(test["status"]).endswith("FAIL") for test in tests), strict=True))


def page():
    """The size of the page of a drift of many columns."""
    reference, current = frame(0, 20_000, COLUMNS), frame(1, 20_000, COLUMNS)
    for name in current:
        current[name] = current[name].mask(current.index % 2 == 0)
    result = judge_drift(reference, current, seed=7)
    with tempfile.TemporaryDirectory() as folder:
        file = write_drift_page(result, reference, current, file=Path(folder) / "page.html", heading="Bench", seed=7)
        measure.answer(page_mib=file.stat().st_size / 2**20)


def main():
    ours = measure.alone(__file__, "verdict")
    print(f"our verdict: {ours['seconds']:.2f} s of a processor; Evidently runs for minutes", flush=True)
    theirs = measure.alone(__file__, "evidently")
    agreed = measure.alone(__file__, "agreement")
    figures = {
        "rows": ACCOUNTS,
        "columns": COLUMNS,
        "rows_drawn": ROWS,
        "verdict_cpu_s": ours["seconds"],
        "evidently_cpu_s": theirs["seconds"],
        "times_evidently": theirs["seconds"] / ours["seconds"],
        "peak_mib": ours["peak_mib"],
        "evidently_peak_gib": theirs["peak_gib"],
        "agreement": agreed["agreement"],
        "agreement_on_evidently_bins": agreed["by_itself"],
        "moved": agreed["moved"],
        "page_mib": measure.alone(__file__, "page")["page_mib"],
    }
    measure.write("drift", figures, ["evidently", "numpy", "pandas", "scipy"])


PARTS = {"verdict": verdict, "evidently": evidently, "agreement": agreement, "page": page}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    PARTS[sys.argv[1]]() if sys.argv[1:] else main()
