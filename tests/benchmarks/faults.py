"""`make faults`: writes, syncs, renames and sends of commands fail in turn: an error, a full disk, a kill.

Each fault is in a process of its own, on a copy of a small company; calls of DuckDB, SQLite, Arrow and MLflow
count too. What must hold: a command that met a fault says so in one line, or went on; it leaves no half file; run
again, it leaves what an undisturbed run does.

    faults.py [--points N | --each] [COMMAND …]

    --points N     N faults of each command, evenly spread, by turns of each kind
    --each         every kind at the first, the middle and the last call of each sort on each file
    without        every kind at every call
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
from functools import partial
from hashlib import sha256
from pathlib import Path
from unittest.mock import patch

import measure

from features.core.errors import GarrisonError
from features.erasure.erase import verify
from features.settings.load import load_settings
from features.state import database
from serving.events import log
from serving.schemas.event_requests import EventRequestReader
from tests.support.command_faults import Job, Sweep, read_folder, spread
from tests.support.commands import FinishedCommand, run_command
from tests.support.failing_calls import KINDS, LOG, FailingCalls, start_again_preloaded
from tests.support.fake_hubspot import TOKEN, FakeHubSpot
from tests.support.fake_salesforce import FakeSalesforce
from tests.support.faults import run_forked
from tests.support.harbour import make_harbour
from tests.training.conftest import TOML, Company, leave_out_probe, tables
from training.registry import promotion_log
from training.registry.mlflow_registry import find_versions

USES = '{"usage": [{"event_id": "u1", "account_id": "A-003", "used_at": "2023-12-30T10:00:00Z"}]}'

SECRETS = {
    "hubspot": {"HUBSPOT_TOKEN": TOKEN},
    "salesforce": {"SALESFORCE_CLIENT_ID": "an id", "SALESFORCE_CLIENT_SECRET": "a secret"},
}


class Stored:
    """Keeps a stand-in's records in a file, so that they are put back with the company's folder."""

    def __init__(self, file):
        super().__init__()
        self._file = file

    def handle(self, request):
        self.records = read_records(self._file)
        answer = super().handle(request)
        self._file.write_text(json.dumps(self.records))
        return answer


class StoredHubSpot(Stored, FakeHubSpot):
    """HubSpot with its records in a file."""


class StoredSalesforce(Stored, FakeSalesforce):
    """Salesforce with its records in a file."""


def read_records(file):
    """What a CRM has of each company."""
    return json.loads(file.read_text()) if file.exists() else {}


def list_harbour_jobs(folder, config):
    """The commands that need no training, by name."""
    read, given = partial(read_folder, folder), ("--config", config)
    score = ("serving", "score", "--as-of", "2024-01-01", "--even-if-held", "--to")
    lines = {
        "build": ("features", "build", "--as-of", "2024-01-01", "--out", folder / "snapshots.parquet"),
        "score-csv": (*score, folder / "scores.csv"),
        "score-parquet": (*score, folder / "scores.parquet"),
        "score-database": (*score, f"sqlite:///{folder}/crm.db"),
    }
    jobs = {name: Job(name, partial(run_command, *line, *given), read) for name, line in lines.items()}
    for crm, secrets in SECRETS.items():
        run = partial(run_command, *score, crm, *given, env=secrets)
        jobs[f"score-{crm}"] = Job(f"score-{crm}", run, partial(read_delivered, folder, crm))
    jobs["events"] = Job("events", partial(post_events, config), read)
    erase = ("features", "erase", "--account", "A-003", "--reason", "asked")
    jobs["erase"] = Job("erase", partial(run_command, *erase, *given), partial(find_erased, config))
    return jobs


def read_delivered(folder, crm):
    """What a run that writes to a CRM left in the folder and there."""
    records = read_records(folder / f"{crm}.json")
    return read_folder(folder) | {account: repr(sorted(record.items())) for account, record in records.items()}


def fit(config):
    """Train the models; looking for leaks writes nothing, and is left out."""
    with leave_out_probe():
        return run_command("training", "fit", "--config", config)


def find_models(config):
    """What the newest run's models are, whichever version they have."""
    found = find_versions(load_settings(config), "latest")
    return {
        f"{target} {file.name}": sha256(file.read_bytes()).hexdigest()
        for target, version in found.items()
        for file in sorted(version.folder.glob("booster_*"))
    }


def find_champions(config):
    """Which versions are champions by the log and by MLflow, and how many promotions are told."""
    settings = load_settings(config)
    logged = {t: p.version for t, p in promotion_log.read_current(settings).items()}
    aliases = {f"{t} in MLflow": v.version for t, v in find_versions(settings, "champion").items()}
    return logged | aliases | {"lines": str(len(promotion_log.read_promotions(settings)))}


@contextlib.contextmanager
def prepare_harbour(folder):
    """Write the company that is scored; yields its commands by name."""
    harbour = make_harbour(folder)
    shutil.rmtree(harbour.settings.var / "history")  # making it is what fails here
    hubspot, salesforce = StoredHubSpot(folder / "hubspot.json"), StoredSalesforce(folder / "salesforce.json")
    with hubspot, salesforce:
        more = f'\n[crm]\nwait_s = 0.01\n[crm.hubspot]\nurl = "{hubspot.url}"\n'
        more += f'[crm.salesforce]\ninstance_url = "{salesforce.url}"\n'
        harbour.config.write_text(harbour.config.read_text() + more)
        for crm, secrets in SECRETS.items():
            create = ("serving", "fields", "--to", crm, "--create", "--config", harbour.config)
            run_forked(partial(run_command, *create, env=secrets))
        yield list_harbour_jobs(folder, harbour.config)


@contextlib.contextmanager
def prepare_quay(folder, *, fitted):
    """Write a company that can be trained, with one target and horizon; yields its commands by name."""
    upsell = TOML[TOML.index("[upsell]") :]
    toml = TOML.replace(upsell, "").replace("horizons = [30, 60]", "horizons = [30]")
    config = Company(folder, tables(1), toml).write().file
    if not fitted:
        check = partial(run_command, "features", "check", "--config", config)
        yield {
            "check": Job("check", check, partial(read_folder, folder)),
            "fit": Job("fit", partial(fit, config), partial(find_models, config)),
        }
        return
    run_forked(partial(fit, config))
    promote = ("training", "promote", "latest", "--force", "--config", config)
    yield {"promote": Job("promote", partial(run_command, *promote), partial(find_champions, config))}


PREPARE = (prepare_harbour, partial(prepare_quay, fitted=False), partial(prepare_quay, fitted=True))


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
    parser.add_argument("--each", action="store_true", help="at the first, middle and last call of a sort on a file")
    parser.add_argument("commands", nargs="*")
    given = parser.parse_args()
    if "LD_PRELOAD" not in os.environ:
        sys.exit("There is no C compiler (cc) to make the library with that lets calls fail.")
    figures, broken = {}, []
    for prepare in PREPARE:
        with tempfile.TemporaryDirectory() as name, prepare(Path(name) / "company") as jobs:
            sweep = Sweep(Path(name) / "company", FailingCalls)
            for job in jobs.values():
                if not given.commands or job.name in given.commands:
                    broken += try_faults(sweep, job, given, figures)
    measure.write("faults", figures, ("duckdb", "pyarrow", "sqlalchemy", "mlflow"))
    sys.exit(bool(broken))


def try_faults(sweep, job, given, figures):
    """Let the steps of a command fail, those that are asked for or all; return what was not as it should be."""
    calls = sweep.folder.with_name("calls.log")
    with patch.dict(os.environ, {LOG: str(calls)}):
        expected = sweep.measure(job)
    if expected.command.returncode:
        sys.exit(f"{job.name} fails undisturbed: {expected.command.stderr}")
    steps = range(1, expected.steps + 1)
    if given.points:
        points = spread(expected.steps, [KINDS[n % len(KINDS)] for n in range(given.points)])
    else:
        steps = choose_calls(calls.read_text().splitlines()) if given.each else steps
        points = [(at, kind) for at in steps for kind in KINDS]
    calls.unlink()
    found = sweep.find_broken(job, expected, points)
    print(f"{job.name}: {expected.steps} calls, {len(points)} faults, {len(found)} broken", flush=True)
    for line in found:
        print(f"    {line}", flush=True)
    figures |= {f"{job.name}_faults": len(points), f"{job.name}_broken": len(found)}
    return found


def choose_calls(calls):
    """Return the numbers, from 1 on, of the first, middle and last call of each sort on each file.

    Names that differ in numbers alone are of one file.
    """
    alike = {}
    for number, call in enumerate(calls, start=1):
        alike.setdefault(re.sub(r"[0-9a-f]{8,}|\d+", "#", call), []).append(number)
    return sorted({numbers[i] for numbers in alike.values() for i in (0, len(numbers) // 2, -1)})


if __name__ == "__main__":
    start_again_preloaded()
    main()
