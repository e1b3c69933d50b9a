"""`make faults`: every write, sync, rename and send of commands fails in turn: an error, a full disk, a kill.

Each fault is in a process of its own, on a copy of a small company; calls of DuckDB, SQLite and Arrow count too. What
must hold: a command that met a fault says so in one line, or went on; it leaves no half file; run again, it leaves what
an undisturbed run does.

    faults.py [--points N] [COMMAND …]     N faults of each command, evenly spread, by turns of each kind; else all
"""

import argparse
import os
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

import measure

from features.core.errors import GarrisonError
from features.erasure.erase import verify
from features.settings.load import load_settings
from features.state import database
from serving.events import log
from serving.schemas.event_requests import EventRequestReader
from tests.support.command_faults import Job, Sweep, read_folder, spread
from tests.support.commands import FinishedCommand, run_command
from tests.support.failing_calls import KINDS, FailingCalls, start_again_preloaded
from tests.support.harbour import make_harbour

USES = '{"usage": [{"event_id": "u1", "account_id": "A-003", "used_at": "2023-12-30T10:00:00Z"}]}'


def list_jobs(folder, config):
    """The commands, by name."""
    read, given = partial(read_folder, folder), ("--config", config)
    score = ("serving", "score", "--as-of", "2024-01-01", "--even-if-held", "--to")
    lines = {
        "check": ("features", "check", "--as-of", "2024-01-01"),
        "build": ("features", "build", "--as-of", "2024-01-01", "--out", folder / "snapshots.parquet"),
        "score-file": (*score, folder / "scores.csv"),
        "score-database": (*score, f"sqlite:///{folder}/crm.db"),
    }
    jobs = {name: Job(name, partial(run_command, *line, *given), read) for name, line in lines.items()}
    jobs["events"] = Job("events", partial(post_events, config), read)
    erase = ("features", "erase", "--account", "A-003", "--reason", "asked")
    jobs["erase"] = Job("erase", partial(run_command, *erase, *given), partial(find_erased, config))
    return jobs


def post_events(config):
    """Store events as the service does."""
    try:
        settings = load_settings(config)
        with database.open(settings) as store:
            log.store_events(settings, store, EventRequestReader(settings).read(USES.encode()))
    except GarrisonError as error:
        return FinishedCommand(1, "", f"error: {error}")
    return FinishedCommand(0, "", "")


def find_erased(config):
    """The places where an erased account still is."""
    return dict.fromkeys(map(str, verify(load_settings(config), "account", "A-003")), "found")


def main():
    """Sweep, and end with 1 if something was not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--points", type=int, default=0, help="faults of each command; 0 for all")
    parser.add_argument("commands", nargs="*")
    given = parser.parse_args()
    if "LD_PRELOAD" not in os.environ:
        sys.exit("There is no C compiler (cc) to make the library with that lets calls fail.")
    figures, broken = {}, []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "harbour"
        harbour = make_harbour(folder)
        config = harbour.config
        shutil.rmtree(harbour.settings.var / "history")  # making it is what fails here
        sweep = Sweep(folder, FailingCalls)
        for job in list_jobs(folder, config).values():
            if given.commands and job.name not in given.commands:
                continue
            expected = sweep.measure(job)
            points = [(at, kind) for kind in KINDS for at in range(1, expected.steps + 1)]
            if given.points:
                points = spread(expected.steps, [KINDS[n % len(KINDS)] for n in range(given.points)])
            found = sweep.find_broken(job, expected, points)
            print(f"{job.name}: {expected.steps} calls, {len(points)} faults, {len(found)} broken", flush=True)
            for line in found:
                print(f"    {line}", flush=True)
            broken += found
            figures |= {f"{job.name}_faults": len(points), f"{job.name}_broken": len(found)}
    measure.write("faults", figures, ("duckdb", "pyarrow", "sqlalchemy"))
    sys.exit(bool(broken))


if __name__ == "__main__":
    start_again_preloaded()
    main()
