"""A company small enough for a night in seconds: real tables, champions, a state database, and two destinations."""

from __future__ import annotations

import csv
import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np

from features.engine import snapshots
from features.settings import Settings
from features.settings.load import load_settings
from features.sources.history import History
from training.models.calibration import Calibrator
from training.models.horizon_model import HorizonModel, compute_quantiles
from training.models.model import Model
from training.registry import promotion_log
from training.registry.promotion_log import Promotion

START = datetime(2025, 1, 1, tzinfo=UTC)
END = datetime(2026, 1, 1, tzinfo=UTC)
NIGHT = "2026-01-01"
ACCOUNTS = 60

TOML = """
[company]
name = "Night Harbour"

[sources]
accounts = {{ path = "accounts.csv" }}
usage = {{ path = "usage.csv" }}
purchases = {{ path = "purchases.csv" }}

[tables.accounts]
source = "accounts"
columns = {{ account_id = "account_id", created_at = "created_at", name = "name", owner_email = "owner_email", \
seats = "seats" }}

[tables.usage]
source = "usage"
columns = {{ account_id = "account_id", used_at = "used_at", user_id = "user_id", count = "count" }}

[tables.purchases]
source = "purchases"
columns = {{ account_id = "account_id", purchased_at = "purchased_at", amount = "amount" }}

[churn]
cohort = {{ kind = "active", within_days = 120 }}
label = {{ kind = "no_purchase" }}
horizons = [90]

[alerts.email]
host = "127.0.0.1"
port = {port}
sender = "Garrison <alerts@harbour.test>"
security = "none"

[monitoring]
data_team = "data@harbour.test"
deliver_to = ["{folder}/scores.csv", "sqlite:///{folder}/crm.db#scores"]

[paths]
var = "{folder}/var"
mlruns = "{folder}/mlruns"
"""


@dataclass(frozen=True)
class NightCompany:
    """The company on disk."""

    folder: Path
    config: Path
    settings: Settings


def write_company(folder: Path, *, port: int) -> NightCompany:
    """Write the company's tables and settings, and make a real model champion; mail goes to a port of this machine."""
    folder.mkdir(parents=True, exist_ok=True)
    for table, rows in _draw_tables().items():
        write_table(folder / f"{table}.csv", rows)
    company = configure(folder, port=port)
    model = _train(company.settings)
    model.save(company.settings.paths.mlruns / "model")
    made = Promotion(promotion_log.format_now(), "promote", "churn", "churn-1", "run-1", "model", "for the tests")
    promotion_log.append_promotion(company.settings, made)
    return company


def configure(folder: Path, *, port: int) -> NightCompany:
    """Write the settings of a company in a folder, which may be a copy of another."""
    config = folder / "garrison.toml"
    config.write_text(TOML.format(folder=folder, port=port), encoding="utf-8")
    return NightCompany(folder, config, load_settings(config))


def write_table(file: Path, rows: list[dict[str, Any]]) -> None:
    """Write a table as CSV."""
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.DictWriter(opened, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _draw_tables(seed: int = 5) -> dict[str, list[dict[str, Any]]]:
    """A year of even usage and purchases; a quarter of the accounts is ever less active, a tenth stops at its end."""
    draw = random.Random(seed)  # noqa: S311  # nothing secret here
    accounts, usage, purchases = [], [], []
    for i in range(ACCOUNTS):
        name = f"A-{i:03}"
        fields = {"created_at": START.isoformat(), "name": f"Boatyard {i}", "owner_email": f"o{i % 6}@harbour.test"}
        accounts.append({"account_id": name, **fields, "seats": draw.randrange(1, 80)})
        for day in range((END - START).days):
            at = START + timedelta(days=day, seconds=draw.randrange(86_400))
            stops = i % 10 == 3 and at > END - timedelta(days=25)
            if draw.random() < (0.0 if stops else 0.6 if i % 4 else 0.6 - day / 700):
                used = {"account_id": name, "used_at": at.isoformat(), "user_id": f"{name}-{draw.randrange(4)}"}
                usage.append(used | {"count": draw.randrange(1, 9)})
            if draw.random() < 0.1:
                purchases.append({"account_id": name, "purchased_at": at.isoformat(), "amount": draw.randrange(9, 99)})
    return {"accounts": accounts, "usage": usage, "purchases": purchases}


def _train(settings: Settings) -> Model:
    """A real, small model on real snapshots: accounts that are less active are at risk."""
    with History.open(settings) as history:
        frame = snapshots.build(history, [END - timedelta(days=days) for days in (90, 60, 30)])
        peers = {f.name for f in history.catalog.select_peer_features(history.sources)}
        sources, catalog = history.sources, history.catalog.version
    names = tuple(sorted(c for c in frame if c not in peers and c.startswith("usage_events_")))
    bare = Model(
        target="churn",
        features=names,
        categories={},
        sources=sources,
        catalog=catalog,
        trained_at=END - timedelta(days=20),
        horizon_models=(),
        order=1,
        reference=frame[list(names)],
        run_id="run-1",
    )
    matrix, active = bare.matrix(frame), frame["usage_events_90d"].to_numpy()
    options = {"objective": "binary", "num_leaves": 5, "min_data_in_leaf": 5, "verbosity": -1, "num_threads": 1}
    booster = lgb.train(options, lgb.Dataset(matrix, active < np.quantile(active, 0.25)), num_boost_round=5)
    calibrator = Calibrator(slope=1.0, intercept=0.0)
    scores = calibrator(booster.predict(matrix, raw_score=True))
    head = HorizonModel(90, booster.model_to_string(), calibrator, 0.25, compute_quantiles(scores))
    return replace(bare, horizon_models=(head,))
