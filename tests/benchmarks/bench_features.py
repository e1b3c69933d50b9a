"""`make bench-features`: the engine on 100,000 accounts, against one plain pass over the same files.

Every part runs in a process of its own. A build is measured from the checked tables to the written Parquet file;
checking and sorting the sources, done once for all commands of a day, is measured apart (`check_over_pass`).
"""

import sys
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import measure

from features.definitions.feature import WindowedMeasure
from features.definitions.streams import USAGE
from features.engine import facts, snapshots, window_aggregates
from features.samples import tidewater
from features.settings.load import load_settings
from features.sources import history

FOLDER = Path("var/bench")
LARGE, SMALL = 100_000, 10_000
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

    took, _ = measure.seconds(run, 3)
    measure.answer(seconds=took)


def check(accounts):
    took, opened = measure.seconds(lambda: history.History.open(settings(int(accounts))))
    opened.close()
    measure.answer(seconds=took)


def build(accounts, count):
    file = FOLDER / f"{accounts}" / "snapshots.parquet"
    with history.History.open(settings(int(accounts))) as opened:

        def run():
            table = snapshots.build_table(opened, MONTHS[-int(count) :])
            snapshots.write_snapshots(table, file)
            return table.num_rows, table.num_columns - 2

        took, (rows, columns) = measure.seconds(run, 2)
    measure.answer(seconds=took, rows=rows, features=columns)


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
        ids = opened.accounts(0, int(accounts) - 1)["account_id"].to_pylist()
    index = pd.MultiIndex.from_product([MONTHS, ids], names=["as_of", "account_id"])
    frame = pd.DataFrame({name: values.reshape(-1) for name, values in found.items()}, index=index)
    frame.reset_index().to_parquet(FOLDER / "same_features.parquet")
    measure.answer(seconds=took)


def main():
    for accounts in (SMALL, LARGE):
        print(f"tidewater of {accounts:,} accounts …", flush=True)
        tidewater.write_sample(sample(accounts), accounts=accounts, months=24)
    passed = measure.alone(__file__, "one_pass", LARGE)["seconds"]
    checked = measure.alone(__file__, "check", LARGE)
    measure.alone(__file__, "check", SMALL)
    print("building …", flush=True)
    training, scoring = (measure.alone(__file__, "build", LARGE, count) for count in (12, 1))
    small = measure.alone(__file__, "build", SMALL, 12)
    figures = {
        "features": training["features"],
        "rows": training["rows"],
        "pass_seconds": passed,
        "training_seconds": training["seconds"],
        "scoring_seconds": scoring["seconds"],
        "training_over_pass": training["seconds"] / passed,
        "scoring_over_pass": scoring["seconds"] / passed,
        "check_over_pass": checked["seconds"] / passed,
        "peak_gib": max(training["peak_gib"], scoring["peak_gib"]),
        "check_peak_gib": checked["peak_gib"],
        "growth_accounts": training["seconds"] / (small["seconds"] * LARGE / SMALL),
        "growth_snapshots": training["seconds"] / scoring["seconds"],
    }
    import featuretools_rival

    figures |= featuretools_rival.compared(sample(SMALL), MONTHS, WINDOWS, COLUMNS, script=__file__, accounts=SMALL)
    measure.write("features", figures, ["duckdb", "numpy", "pyarrow"])


if __name__ == "__main__":
    parts = {f.__name__: f for f in (one_pass, check, build, same_features)}
    parts[sys.argv[1]](*sys.argv[2:]) if len(sys.argv) > 1 else main()
