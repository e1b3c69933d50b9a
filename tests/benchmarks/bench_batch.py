"""The batch part of `make bench-serving`: the whole job at 1,000,000 accounts beside its two unavoidable parts.

The parts are what `python -m features build` does for one instant, Parquet file and all, and one `booster.predict` of
all rows. The whole job scores, values, recommends, ranks tiers, stores the snapshot and its results, writes the state
database and a Parquet file to hand on, with drivers of all scores. Both begin at the kept history, which
any command of the day has made before.

    bench_batch.py [company | parts | whole] FOLDER ACCOUNTS
"""

import sys
from pathlib import Path

import measure
from generated import NOW, founded

from features.engine import snapshots
from features.settings.load import load_settings
from features.sources.history import History
from serving.batch import run
from serving.scoring import score_table
from training.registry import promotion_log

ACCOUNTS = 1_000_000
EXPLAINED = 2_000


def figures(accounts=ACCOUNTS):
    """What the benchmark of serving adds to its own."""
    script, folder = __file__, Path("var/bench/batch").absolute()
    made = measure.alone(script, "company", folder, accounts)
    parts = measure.alone(script, "parts", folder, accounts)
    whole = measure.alone(script, "whole", folder, accounts)
    reference = parts["build_s"] + parts["predict_s"]
    return {
        "batch_over_parts": whole["seconds"] / reference,
        "batch_accounts": accounts,
        "batch_events": made["events"],
        "batch_s": whole["seconds"],
        "batch_peak_gib": whole["peak_gib"],
        "build_s": parts["build_s"],
        "predict_s": parts["predict_s"],
        "explained_score_ms": parts["explained_score_ms"],
        "parts_peak_gib": parts["peak_gib"],
    }


def company(folder, accounts):
    """A generated company with a champion, its history kept."""
    settings = founded(Path(folder), int(accounts))
    with History.open(settings) as history:
        measure.answer(events=sum(map(history.count_rows, history.sources)))


def parts(folder, _accounts):
    """The two parts that nobody can do without."""
    settings, file = load_settings(Path(folder) / "garrison.toml"), Path(folder) / "build.parquet"
    bundle = promotion_log.load_champions(settings)["churn"]

    def build():
        with History.open(settings) as history:
            table = snapshots.build_table(history, [NOW])
        snapshots.write_snapshots(table, file)
        return table

    build_s, table = measure.seconds(build)
    matrix = bundle.matrix(table.select(list(bundle.features)).to_pandas())
    booster = bundle.horizon_models[0].booster
    predict_s, _ = measure.seconds(lambda: booster.predict(matrix))
    few = matrix[:EXPLAINED]
    bundle.contributions(few[:1], 90)  # what a model works out once
    explained_s, _ = measure.seconds(lambda: bundle.contributions(few, 90))
    measure.answer(build_s=build_s, predict_s=predict_s, explained_score_ms=1000 * explained_s / len(few))


def whole(folder, _accounts):
    """The whole job."""
    settings, to = load_settings(Path(folder) / "garrison.toml"), str(Path(folder) / "scores.parquet")
    given = {"as_of": NOW, "explain": score_table.Explain.ALL}
    seconds, _ = measure.seconds(lambda: run.score_accounts(settings, to, **given))
    measure.answer(seconds=seconds)


if __name__ == "__main__":
    {"company": company, "parts": parts, "whole": whole}[sys.argv[1]](*sys.argv[2:])
