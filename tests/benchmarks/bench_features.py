"""`make bench-features`: the engine on 10,000, 30,000 and 100,000 accounts, against one plain pass over the same files.

Every part runs in a process of its own. A build is measured from the arrays of facts to the written Parquet file.
Checking and sorting the sources, done once for all commands of a day, is measured apart (`check_over_pass`), and so is
the first build after it, from the tables (`…_fresh_over_pass_cpu`). Beside
each wall time stands the CPU time of all threads (`…_cpu`), and the ratio of those: on a busy machine it counts.

    bench_features.py [ACCOUNTS …]     the numbers of accounts, ascending; the last one's figures are the headline's
"""

import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import measure

from features.definitions.feature import WindowedMeasure
from features.definitions.streams import USAGE
from features.engine import facts, native_code, snapshots, window_aggregates, window_kernels
from features.samples import tidewater
from features.settings.load import load_settings
from features.sources import history

FOLDER = Path("var/bench")
SIZES = (10_000, 30_000, 100_000)
MONTHS = [datetime(2025, month, 1, tzinfo=UTC) for month in range(1, 13)]
PASS = """SELECT account_id, sum({}), sum({}), count(*) FROM read_parquet('{}/{}/*.parquet') GROUP BY account_id"""
SUMMED = {"usage": ("count", "duration_s"), "tickets": ("csat", "reopened::INT"), "purchases": ("amount", "quantity")}
# What featuretools is asked for too: sum, mean and count of each column in each window.
COLUMNS, WINDOWS = ("count", "duration_s", "errors"), (30, 90)


def sample(accounts):
    return FOLDER / f"{accounts}" / "tidewater"


def settings(accounts):
    """The sample's settings, with paths of its own: two sizes are two companies."""
    import os

    os.environ["GARRISON_DATA"] = str(sample(accounts).parent.absolute())
    found = load_settings("docs/examples/tidewater.toml")
    return found.model_copy(update={"paths": found.paths.model_copy(update={"var": FOLDER / f"{accounts}" / "var"})})


def one_pass(accounts):
    connection = duckdb.connect()

    def run():
        for table, columns in SUMMED.items():
            connection.execute(PASS.format(*columns, sample(int(accounts)), table)).fetchall()

    took, cpu, _ = measure.cpu_seconds(run, 3)
    measure.answer(seconds=took, cpu=cpu)


def check(accounts):
    """Read, judge and pack all tables; what an earlier run has kept is removed first."""
    about = settings(int(accounts))
    shutil.rmtree(about.var / "history", ignore_errors=True)
    took, cpu, opened = measure.cpu_seconds(lambda: history.History.open(about))
    opened.close()
    measure.answer(seconds=took, cpu=cpu)


def build(accounts, count):
    """Build from arrays of facts, which the build of 12 instants leaves; then `fresh`, from the tables alone."""
    file = FOLDER / f"{accounts}" / "snapshots.parquet"
    native_code.load_kernels(window_kernels)
    with history.History.open(settings(int(accounts))) as opened:

        def run():
            table = snapshots.build_table(opened, MONTHS[-int(count) :])
            snapshots.write_snapshots(table, file)
            return table.num_rows, table.num_columns - 2

        run()
        took, cpu, (rows, columns) = measure.cpu_seconds(run, 2)
        shutil.rmtree(opened.cache.facts)
        _, fresh, _ = measure.cpu_seconds(run)
    measure.answer(seconds=took, cpu=cpu, fresh_cpu=fresh, rows=rows, features=columns)


def same_features(accounts):
    """What featuretools is timed on, by this engine: sum, mean and count of each column in each window."""
    import numpy as np
    import pandas as pd

    from features.core.timestamps import to_micros

    measures = [USAGE.count(), *(USAGE.sum(column) for column in COLUMNS)]
    asks = [WindowedMeasure(m, days, 0) for m in measures for days in WINDOWS]
    as_ofs = np.array([to_micros(m) for m in MONTHS])
    with history.History.open(settings(int(accounts))) as opened:

        def run():
            rows = facts.read_facts(opened, USAGE, asks, accounts=(0, int(accounts) - 1), since=-(2**63))
            found = window_aggregates.aggregate_windows(rows, asks, as_ofs, int(accounts))
            for days in WINDOWS:
                for m in measures[1:]:
                    counted, summed = (found[WindowedMeasure(x, days, 0).column] for x in (measures[0], m))
                    found[f"{m.name}_mean_{days}"] = summed / np.where(counted == 0, np.nan, counted)
            return found

        took, found = measure.seconds(run, 3)
        ids = opened.read_accounts(0, int(accounts) - 1)["account_id"].to_pylist()
    index = pd.MultiIndex.from_product([MONTHS, ids], names=["as_of", "account_id"])
    frame = pd.DataFrame({name: values.reshape(-1) for name, values in found.items()}, index=index)
    frame.reset_index().to_parquet(FOLDER / "same_features.parquet")
    measure.answer(seconds=took)


def measured(accounts):
    """All parts on one company, as figures by name."""
    print(f"tidewater of {accounts:,} accounts …", flush=True)
    tidewater.write_sample(sample(accounts), accounts=accounts, months=24)
    parts = {"pass": measure.alone(__file__, "one_pass", accounts), "check": measure.alone(__file__, "check", accounts)}
    print("building …", flush=True)
    parts |= {"training": measure.alone(__file__, "build", accounts, 12)}
    parts |= {"scoring": measure.alone(__file__, "build", accounts, 1)}
    figures = {"features": parts["training"]["features"], "rows": parts["training"]["rows"]}
    for name, part in parts.items():
        figures |= {f"{name}_seconds": part["seconds"], f"{name}_cpu": part["cpu"]}
    for name in ("training", "scoring", "check"):
        figures[f"{name}_over_pass"] = figures[f"{name}_seconds"] / figures["pass_seconds"]
        figures[f"{name}_over_pass_cpu"] = figures[f"{name}_cpu"] / figures["pass_cpu"]
    for name in ("training", "scoring"):
        figures[f"{name}_fresh_over_pass_cpu"] = parts[name]["fresh_cpu"] / figures["pass_cpu"]
    figures["peak_gib"] = max(parts["training"]["peak_gib"], parts["scoring"]["peak_gib"])
    return figures | {"check_peak_gib": parts["check"]["peak_gib"]}


def main(*sizes):
    by_size = {accounts: measured(accounts) for accounts in sizes}
    (small, first), (large, figures) = next(iter(by_size.items())), list(by_size.items())[-1]
    figures = dict(figures)
    figures["growth_accounts"] = figures["training_seconds"] / (first["training_seconds"] * large / small)
    figures["growth_accounts_cpu"] = figures["training_cpu"] / (first["training_cpu"] * large / small)
    figures["growth_snapshots"] = figures["training_seconds"] / figures["scoring_seconds"]
    for accounts, each in by_size.items():
        names = ("check", "training", "scoring")
        told = ", ".join(f"{name} {each[name + '_cpu']:.1f} ({each[name + '_over_pass_cpu']:.1f})" for name in names)
        print(f"{accounts:>9,} accounts, CPU s (over the pass): pass {each['pass_cpu']:.2f}, {told}")
    figures["by_accounts"] = by_size
    import featuretools_rival

    figures |= featuretools_rival.compared(sample(small), MONTHS, WINDOWS, COLUMNS, script=__file__, accounts=small)
    measure.write("features", figures, ["duckdb", "numpy", "pyarrow"])


if __name__ == "__main__":
    parts = {f.__name__: f for f in (one_pass, check, build, same_features)}
    if sys.argv[1:2] and sys.argv[1] in parts:
        parts[sys.argv[1]](*sys.argv[2:])
    else:
        main(*(map(int, sys.argv[1:]) if sys.argv[1:] else SIZES))
