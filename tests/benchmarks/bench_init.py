"""From the exports of a messy company to a promoted model, by the commands that a newcomer types.

The company (tests/support/messy_company.py) has 600 accounts, 18 months and four systems: windows-1252, decimal
commas, three currencies, refunds, void invoices, rows told twice, contacts at a mail provider. Nothing of the proposal
is edited but what `--edit` says, a regular expression and its replacement. Writes var/bench/init.json.
"""

import argparse
import json
import re
import sys
import tempfile
import time
from pathlib import Path

from measure import write

from features.samples.oracle import compare
from tests.support.commands import run_command
from tests.support.messy_company import write_messy_company


def run(seconds, folder, *words, cwd):
    """Run a command, note its CPU seconds and show what it says; ends the benchmark where it fails."""
    start = time.process_time()
    done = run_command(folder, *words, cwd=cwd)
    seconds[f"{words[0]}_cpu_s"] = time.process_time() - start
    print(f"$ python -m {folder} {' '.join(map(str, words))}\n{done.stdout}{done.stderr}", file=sys.stderr)
    if done.returncode:
        sys.exit(done.returncode)


def main():
    """Measure one company."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--edit", nargs=2, action="append", default=[], metavar=("PATTERN", "REPLACEMENT"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, seconds = Path(name), {}
        write_messy_company(folder, seed=options.seed)
        config, result = folder / "company.toml", folder / "init.json"
        run(seconds, "features", "init", "exports", "--out", config.name, "--json", result, cwd=folder)
        proposed = config.read_text(encoding="utf-8")
        edited = proposed
        for pattern, replacement in options.edit:
            edited = re.sub(pattern, replacement, edited, flags=re.MULTILINE)
        config.write_text(edited, encoding="utf-8")
        run(seconds, "features", "check", "--config", config.name, "--as-of", "2026-01-01", cwd=folder)
        run(seconds, "training", "fit", "--config", config.name, cwd=folder)
        run(seconds, "training", "promote", "latest", "--config", config.name, cwd=folder)
        (scores,) = folder.glob("var/*/evaluation/churn_90d.parquet")
        comparison = compare(scores, folder / "truth", "churn_90d")
        tables = json.loads(result.read_text(encoding="utf-8"))["tables"]
    lines = sum(a != b for a, b in zip(proposed.splitlines(), edited.splitlines(), strict=False))
    kept = sum(t["kept"] for t in tables.values()) / sum(t["rows"] for t in tables.values())
    figures = {"edited_lines": lines, "rows_kept": kept, "test_rows": comparison.rows}
    figures |= {"auc": comparison.auc, "oracle_auc": comparison.oracle_auc}
    figures |= {"below_oracle": comparison.oracle_auc - comparison.auc, **seconds}
    write("init", figures, ["duckdb", "lightgbm"])


if __name__ == "__main__":
    main()
