"""A generated company for the benchmarks of serving, and a model of it; what it predicts is of no account."""

import shutil
from datetime import UTC, datetime

import lightgbm as lgb
import numpy as np
import pandas as pd

from features.engine import snapshots
from features.settings.load import load_settings
from features.sources.history import History
from training.models.calibration import Calibrator
from training.models.horizon_model import HorizonModel, compute_quantiles
from training.models.model import Model
from training.registry import promotion_log
from training.registry.promotion_log import Promotion

NOW = datetime(2024, 1, 1, tzinfo=UTC)
FEATURES = 100
TREES, LEAVES = 150, 7  # as the recipe makes them
TOML = """
[company]
name = "Bench"

[sources]
accounts = { path = "accounts.parquet" }
tickets = { path = "tickets.parquet" }
usage = { path = "usage.parquet" }
purchases = { path = "purchases.parquet" }

[tables.accounts]
source = "accounts"
columns = { account_id = "account_id", created_at = "created_at", seats = "seats" }

[tables.tickets]
source = "tickets"
columns = { ticket_id = "ticket_id", account_id = "account_id", opened_at = "opened_at", resolved_at = "resolved_at", \
priority = "priority", csat = "csat" }

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
horizons = [90]

[serving]
per_minute = 1000000000

[paths]
var = "VAR"
mlruns = "MLRUNS"
"""


def founded(folder, accounts):
    """A generated company in a folder, with a champion of 100 features and the trees of the recipe; its settings."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, table in tables(accounts).items():
        table.to_parquet(folder / f"{name}.parquet", index=False)
    toml = TOML.replace("VAR", str(folder / "var")).replace("MLRUNS", str(folder / "mlruns"))
    (folder / "garrison.toml").write_text(toml, encoding="utf-8")
    settings = load_settings(folder / "garrison.toml")
    learn(settings).save(settings.paths.mlruns / "artifacts" / "churn")
    made = Promotion(
        promotion_log.format_now(), "promote", "churn", "churn-1", "run-1", "artifacts/churn", "to be measured"
    )
    promotion_log.append_promotion(settings, made)
    return settings


def tables(accounts):
    """Canonical rows: of each account some 10 uses, 2 tickets and 2 purchases."""
    draw = np.random.default_rng(7)
    ids = np.array([f"A-{i:07}" for i in range(accounts)])
    created = pd.Timestamp("2023-01-01", tz="UTC") + pd.to_timedelta(draw.integers(0, 200 * 86_400, accounts), "s")

    def events(each):
        who = draw.integers(0, accounts, accounts * each)
        return who, created[who] + pd.to_timedelta(draw.integers(1, 160 * 86_400, len(who)), "s")

    used, used_at = events(10)
    asked, opened_at = events(2)
    bought, bought_at = events(1)
    first = pd.DataFrame({"account_id": ids, "purchased_at": created, "kind": "new"})
    more = pd.DataFrame({"account_id": ids[bought], "purchased_at": bought_at, "kind": "expansion"})
    purchases = pd.concat([first, more], ignore_index=True)
    size = len(purchases)
    return {
        "accounts": pd.DataFrame({"account_id": ids, "created_at": created, "seats": draw.integers(1, 80, accounts)}),
        "usage": pd.DataFrame(
            {
                "account_id": ids[used],
                "used_at": used_at,
                "user_id": [f"u{i}" for i in draw.integers(0, 5, len(used))],
                "feature": draw.choice(["charts", "tides", "berths"], len(used)),
                "count": draw.integers(1, 20, len(used)),
                "duration_s": draw.uniform(1, 4_000, len(used)).round(3),
            }
        ),
        "tickets": pd.DataFrame(
            {
                "ticket_id": [f"T{i}" for i in range(len(asked))],
                "account_id": ids[asked],
                "opened_at": opened_at,
                "resolved_at": opened_at + pd.to_timedelta(draw.integers(1, 400, len(asked)), "h"),
                "priority": draw.choice(["low", "normal", "high", "urgent"], len(asked)),
                "csat": draw.integers(1, 6, len(asked)),
            }
        ),
        "purchases": purchases.assign(
            amount=draw.integers(100, 9_000, size),
            term_starts_at=purchases["purchased_at"],
            term_ends_at=purchases["purchased_at"] + pd.Timedelta(days=365),
            billing_months=draw.choice([1, 12], size),
        ),
    }


def learn(settings):
    """A real model of real snapshots; what it predicts is of no account here."""
    with History.open(settings) as history:
        frame = snapshots.build(history, [NOW])
        sources, version = history.sources, history.catalog.version
        beside = {f.name for f in history.catalog.select_peer_features(sources)}
    frame = frame.sample(min(len(frame), 10_000), random_state=7)
    numbers = [c for c in frame if c not in {"account_id", "as_of", *beside} and frame[c].notna().any()]
    numbers = [c for c in numbers if pd.api.types.is_numeric_dtype(frame[c])][:FEATURES]
    matrix = frame[numbers].to_numpy(dtype="float64")
    labels = np.random.default_rng(7).random(len(frame)) < 0.2 + 0.3 * (frame["seats"].to_numpy() < 20)
    options = {"objective": "binary", "num_leaves": LEAVES, "learning_rate": 0.05, "verbosity": -1, "seed": 1}
    booster = lgb.train(options, lgb.Dataset(matrix, labels), TREES)
    same = Calibrator(slope=1.0, intercept=0.0)
    spread = compute_quantiles(booster.predict(matrix))
    return Model(
        target="churn",
        features=tuple(numbers),
        categories={},
        sources=sources,
        catalog=version,
        trained_at=NOW,
        horizon_models=(HorizonModel(90, booster.model_to_string(), same, float(labels.mean()), spread),),
        order=1,
        reference=frame[numbers].head(50),
        run_id="run-1",
    )
