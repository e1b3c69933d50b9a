"""The commands, from a sample company to its scores, give the recorded scores again, to the last bit."""

from __future__ import annotations

import csv
import json
import os
import platform
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
RECORDED = Path(__file__).parent / "recorded"
EXAMPLE = ROOT / "docs" / "examples" / "tidewater.toml"
COLUMNS = ["churn_30d", "churn_90d"]
# One process runs all commands: starting four would cost more than most of them. The search for leaks and the drawing
# of plots take longer than the learning, and change no score.
COMMANDS = """
import importlib, json, sys
from training.diagnostics.leak_verdict import LeakFindings
from training.diagnostics.leakage import LeakProbe
from training.evaluation import plots
LeakProbe.examine = lambda *_: LeakFindings({})
plots.draw_plots = lambda *_: ()
for folder, *words in json.loads(sys.argv[1]):
    importlib.import_module(f"{folder}.__main__").app(words, standalone_mode=False)
"""


def is_recorded_processor() -> bool:
    """Return whether NumPy finds the instructions that it found where the scores were recorded."""
    from numpy._core._multiarray_umath import __cpu_features__

    here = {
        "machine": platform.machine(),
        "cpu_features": sorted(name for name, is_on in __cpu_features__.items() if is_on),
    }
    return here == json.loads((RECORDED / "processor.json").read_text())


def read_recorded() -> pd.DataFrame:
    with (RECORDED / "tidewater_500.csv").open(newline="") as file:
        rows = [
            (row["account_id"], *(float.fromhex(row[column]) for column in COLUMNS)) for row in csv.DictReader(file)
        ]
    return pd.DataFrame(rows, columns=["account_id", *COLUMNS])


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Churn scores of the sample company: made, learnt, promoted and scored by the commands."""
    folder = tmp_path_factory.mktemp("recorded")
    config = folder / "tidewater.toml"
    # Only churn: upsell shares nothing with its scores.
    toml = re.sub(r"(?ms)^\[upsell\].*?(?=^\[)", "", EXAMPLE.read_text(encoding="utf-8"))
    paths = f'\n[paths]\nvar = "{folder}/var"\nmlruns = "{folder}/mlruns"\n'
    config.write_text(toml + paths, encoding="utf-8")
    of = ["--config", str(config)]
    sample = ["--out", str(folder / "samples" / "tidewater"), "--accounts", "500", "--seed", "7"]
    commands = [
        ["features", "sample", "tidewater", *sample],
        ["training", "fit", *of],
        ["training", "promote", "latest", "--reason", "a test", *of],
        ["serving", "score", "--as-of", "2026-01-01", "--to", str(folder / "scores.parquet"), *of],
    ]
    environment = {**os.environ, "GARRISON_DATA": str(folder / "samples"), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-c", COMMANDS, json.dumps(commands)]
    done = subprocess.run(line, cwd=ROOT, env=environment, text=True, capture_output=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    found = pd.read_parquet(folder / "scores.parquet")[["account_id", *COLUMNS]]
    return found.sort_values("account_id", ignore_index=True)


def test_scores_are_those_recorded(scores: pd.DataFrame) -> None:
    recorded = read_recorded()
    assert scores["account_id"].tolist() == recorded["account_id"].tolist()
    if is_recorded_processor():
        for column in COLUMNS:
            assert [score.hex() for score in scores[column]] == [score.hex() for score in recorded[column]]
        return
    warnings.warn(
        "scores are compared to within 1e-9, not to the last bit: this processor has other instructions than the one "
        "they were recorded on",
        stacklevel=1,
    )
    pd.testing.assert_frame_equal(scores, recorded, check_exact=False, rtol=0, atol=1e-9)
