"""A small company with a trained model a target: real tables, real snapshots, real boosters; and its service."""

from __future__ import annotations

import contextlib
import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import lightgbm as lgb
import numpy as np

from features.engine import snapshots
from features.settings import Settings
from features.settings.load import load_settings
from features.sources.history import History
from serving.client import Client
from tests.support.commands import FinishedCommand, run_command
from tests.support.company_copy import copy_tables
from tests.support.ports import find_free_port
from training.models.calibration import Calibrator
from training.models.horizon_model import HorizonModel, compute_quantiles
from training.models.model import Model
from training.models.score_interval import ScoreSpread
from training.registry import promotion_log
from training.registry.promotion_log import Promotion

START = datetime(2023, 1, 1, tzinfo=UTC)
NOW = datetime(2024, 1, 1, tzinfo=UTC)
ACCOUNTS = 80

TOML = """
[company]
name = "Small Harbour"

[sources]
accounts = { path = "accounts.csv" }
tickets = { path = "tickets.csv" }
usage = { path = "usage.csv" }
purchases = { path = "purchases.csv" }

[tables.accounts]
source = "accounts"
columns = { account_id = "account_id", created_at = "created_at", name = "name", owner_email = "owner_email", \
region = "region", seats = "seats", rank = { column = "rank", kind = "decimal" } }

[tables.tickets]
source = "tickets"
lag = "6h"
columns = { ticket_id = "ticket_id", account_id = "account_id", opened_at = "opened_at", \
first_response_at = "first_response_at", resolved_at = "resolved_at", priority = "priority", csat = "csat" }

[tables.usage]
source = "usage"
columns = { account_id = "account_id", used_at = "used_at", user_id = "user_id", feature = "feature", \
count = "count", duration_s = "duration_s" }

[tables.purchases]
source = "purchases"
columns = { account_id = "account_id", purchased_at = "purchased_at", amount = "amount", kind = "kind", \
term_starts_at = "term_starts_at", term_ends_at = "term_ends_at", billing_months = "billing_months" }

[churn]
cohort = { kind = "in_force" }
label = { kind = "lapse" }
horizons = [30, 90]

[upsell]
cohort = { kind = "active", within_days = 400 }
label = { kind = "expansion" }
horizons = [90]

[paths]
var = "VAR"
mlruns = "MLRUNS"
"""

Tables = dict[str, list[dict[str, Any]]]


def tables(seed: int = 5) -> Tables:
    """Canonical rows, instants in ISO; account A-007 has no ticket."""
    draw = random.Random(seed)  # noqa: S311  # nothing secret here
    found: Tables = {"accounts": [], "tickets": [], "usage": [], "purchases": []}
    for i in range(ACCOUNTS):
        account_id, created = f"A-{i:03}", START + timedelta(days=draw.randrange(200), seconds=draw.randrange(86_400))
        found["accounts"].append(
            {
                "account_id": account_id,
                "created_at": created.isoformat(),
                "name": f"Boatyard {i}",
                "owner_email": f"owner{i % 4}@harbour.example",
                "region": draw.choice(["north", "south", "west"]),
                "seats": draw.randrange(1, 80),
                "rank": f"{draw.random():.4f}",
            }
        )
        found["purchases"].append(_term(account_id, created, draw))
        slope, day = draw.uniform(-0.01, 0.006), created
        while day < NOW + timedelta(days=30):
            day += timedelta(days=draw.expovariate(max(0.05, 0.5 + slope * (day - created).days)) + 0.01)
            found["usage"].append(_use(account_id, day, draw))
        for n in range(0 if i == 7 else draw.randrange(6)):
            found["tickets"].append(_ticket(account_id, n, created, draw))
    return found


def _term(account_id: str, created: datetime, draw: random.Random) -> dict[str, Any]:
    return {
        "account_id": account_id,
        "purchased_at": created.isoformat(),
        "amount": f"{draw.randrange(100, 9_000)}.{draw.randrange(10_000):04}",
        "kind": "new",
        "term_starts_at": created.isoformat(),
        "term_ends_at": (created + timedelta(days=365)).isoformat(),
        "billing_months": draw.choice([1, 12]),
    }


def _use(account_id: str, day: datetime, draw: random.Random) -> dict[str, Any]:
    return {
        "account_id": account_id,
        "used_at": day.isoformat(),
        "user_id": f"{account_id}-{draw.randrange(5)}",
        "feature": draw.choice(["charts", "tides", "berths"]),
        "count": draw.randrange(1, 20),
        "duration_s": f"{draw.uniform(1, 4_000):.3f}",
    }


def _ticket(account_id: str, n: int, created: datetime, draw: random.Random) -> dict[str, Any]:
    opened = created + timedelta(hours=draw.randrange(24 * 330))
    resolved = opened + timedelta(hours=draw.randrange(1, 400)) if draw.random() < 0.8 else None
    return {
        "ticket_id": f"{account_id}-T{n}",
        "account_id": account_id,
        "opened_at": opened.isoformat(),
        "first_response_at": (opened + timedelta(minutes=draw.randrange(1, 60))).isoformat(),
        "resolved_at": resolved.isoformat() if resolved else None,
        "priority": draw.choice(["low", "normal", "high", "urgent"]),
        "csat": str(draw.randrange(1, 6)) if resolved else None,
    }


def write(folder: Path, rows: Tables) -> Path:
    """A company's CSV files and its TOML file."""
    write_tables(folder, rows)
    return write_toml(folder)


def write_tables(folder: Path, rows: Tables) -> None:
    """A company's CSV files."""
    folder.mkdir(parents=True, exist_ok=True)
    for table, found in rows.items():
        with (folder / f"{table}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(found[0]))
            writer.writeheader()
            writer.writerows(found)


def write_toml(folder: Path) -> Path:
    """A company's TOML file."""
    toml = TOML.replace("VAR", str(folder / "var")).replace("MLRUNS", str(folder / "mlruns"))
    (folder / "garrison.toml").write_text(toml, encoding="utf-8")
    return folder / "garrison.toml"


def bundle(settings: Settings, target: str) -> Model:
    """A real, small model on real snapshots; what it predicts is of no account here."""
    as_ofs = [NOW - timedelta(days=days) for days in (120, 90, 60)]
    with History.open(settings) as history:
        frame = snapshots.build(history, as_ofs)
        sources, version = history.sources, history.catalog.version
        beside = {f.name for f in history.catalog.select_peer_features(sources)}
    names = tuple(c for c in frame if c not in {"account_id", "as_of", *beside})
    text = {"region": ("north", "south", "west")}
    bare = Model(
        target=target,
        features=names,
        categories=text,
        sources=sources,
        catalog=version,
        trained_at=NOW,
        horizon_models=(),
        order=1,
        reference=frame[list(names)].head(50),
        run_id="run-1",
    )
    matrix = bare.matrix(frame)
    quiet = frame["usage_events_30d"].to_numpy() + 3 * frame["seats"].to_numpy()
    heads = []
    for horizon in settings.targets[target].horizons:
        labels = quiet < np.quantile(quiet, 0.2 + horizon / 400)
        booster = lgb.train(
            {
                "objective": "binary",
                "num_leaves": 7,
                "min_data_in_leaf": 5,
                "verbosity": -1,
                "num_threads": 1,
                "seed": 1,
            },
            lgb.Dataset(matrix, labels),
            30,
        )
        calibrator = Calibrator(slope=0.9, intercept=-0.1)
        raw = calibrator(booster.predict(matrix, raw_score=True))
        heads.append(
            HorizonModel(
                horizon,
                booster.model_to_string(),
                calibrator,
                float(labels.mean()),
                compute_quantiles(raw),
                spread=ScoreSpread(level=0.1, unsure=0.3, group=0.1, slope=0.05, centre=0.0),
            )
        )
    return replace(bare, horizon_models=tuple(heads))


@dataclass(frozen=True)
class Harbour:
    """The small company on disk, its champions in place."""

    config: Path
    settings: Settings
    rows: Tables

    def posted(self, account_id: str) -> dict[str, Any]:
        """An account with its whole history, as the service takes it."""
        account = next(row for row in self.rows["accounts"] if row["account_id"] == account_id)
        found: dict[str, Any] = {"account": account}
        for table in ("tickets", "usage", "purchases"):
            own = [dict(row) for row in self.rows[table] if row["account_id"] == account_id]
            for row in own:
                del row["account_id"]
            found[table] = own
        return found


def make_harbour(folder: Path, like: Harbour | None = None, rows: Tables | None = None) -> Harbour:
    """Write the company into a folder, all learned there or copied from a company like it; its rows may be others."""
    if like and rows is None:
        rows = like.rows
        copy_tables(like.config.parent, folder)
    else:
        rows = rows or tables()
        write_tables(folder, rows)
    config = write_toml(folder)
    settings = load_settings(config)
    for target in settings.targets:
        place = settings.paths.mlruns / "artifacts" / target
        if like:
            shutil.copytree(like.settings.paths.mlruns / "artifacts" / target, place)
        else:
            bundle(settings, target).save(place)
        made = Promotion(
            promotion_log.format_now(), "promote", target, f"{target}-1", "run-1", f"artifacts/{target}", "a test"
        )
        promotion_log.append_promotion(settings, made)
    return Harbour(config, settings, rows)


@dataclass(frozen=True)
class Served:
    """A running service."""

    url: str
    key: str
    harbour: Harbour
    log: Path
    seconds: float
    process: subprocess.Popen[Any]

    def client(self) -> Client:
        return Client(self.url, self.key)


def command(*words: object) -> FinishedCommand:
    """`python -m serving …`."""
    return run_command("serving", *words)


@contextmanager
def running(harbour: Harbour, key: str, log: Path, workers: int = 1) -> Iterator[Served]:
    """Start the service, wait until it answers, and stop it in the end."""
    port, began = find_free_port(), time.monotonic()
    line = [sys.executable, "-m", "serving", "serve", "--config", str(harbour.config), "--port", str(port)]
    line += ["--workers", str(workers)]
    with log.open("w") as out, subprocess.Popen(line, stdout=out, stderr=out, start_new_session=True) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(f"{url}/healthz", process, log)
            yield Served(url, key, harbour, log, time.monotonic() - began, process)
        finally:
            with contextlib.suppress(ProcessLookupError):  # it may have ended, as a test wanted
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)


def wait_for(url: str, process: subprocess.Popen[Any], log: Path) -> None:
    """Until something answers there."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(url, timeout=1)
        except httpx.HTTPError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"no answer from {url}: {log.read_text()}")
