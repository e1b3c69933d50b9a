"""Drift of a small Tidewater, through the command: healthy, with a source gone, and with a source half gone."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from features.samples import tidewater
from features.settings.load import load_settings
from features.sources.history import History
from monitoring.__main__ import app
from training.models.calibration import Calibrator
from training.models.dataset import load_dataset, select_features
from training.models.horizon_model import HorizonModel
from training.models.model import Model
from training.registry import promotion_log

AT = "2026-01-01"
TRAINED_AT = tuple(datetime(2025, month, 1, tzinfo=UTC) for month in range(9, 13))
TOML = Path(__file__).parents[3] / "docs/examples/tidewater.toml"
CHURN = '\n[churn]\ncohort = { kind = "in_force" }\nlabel = { kind = "lapse" }\nhorizons = [90]\n'


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """Tables, settings and a champion whose training rows have ranks and parents' features too, as old models have."""
    folder = tmp_path_factory.mktemp("drift")
    tidewater.write_sample(folder / "samples/tidewater", accounts=150, months=22)
    settings = load_settings(settings_file(folder))
    with History.open(settings) as history:
        reference = load_dataset(history, settings, "churn", TRAINED_AT, datetime.fromisoformat(AT)).frame
    features, categories = select_features(reference.items())
    reference = reference.drop(columns="account_id")
    model = Model(
        target="churn",
        features=features,
        categories=categories,
        sources=("tickets", "usage", "purchases"),
        catalog="c",
        trained_at=TRAINED_AT[-1],
        horizon_models=(),
        order=1,
        reference=reference,
    )
    matrix = model.matrix(reference)
    quiet = {"objective": "binary", "verbosity": -1, "num_threads": 1, "seed": 1}
    booster = lgb.train(quiet, lgb.Dataset(matrix, np.arange(len(matrix)) % 9 == 0), num_boost_round=3)
    head = HorizonModel(90, booster.model_to_string(), Calibrator(1.0, 0.0), 0.1, (0.0, 1.0))
    replace(model, horizon_models=(head,)).save(settings.paths.mlruns / "model")
    at = promotion_log.format_now()
    made = promotion_log.Promotion(at, "promote", "churn", "churn-1", "run", "model", "for the tests")
    promotion_log.append_promotion(settings, made)
    assert {"rank_users_30d", "parent_tickets_90d"} <= set(reference) - set(features)
    return folder


def settings_file(folder, text=None):
    """Write Tidewater's settings, without its targets; gives the file."""
    tables = (text or TOML.read_text()).split("# Leaving means")[0]
    tables = tables.replace("${GARRISON_DATA:-../../var/samples}", "samples")
    file = folder / "tidewater.toml"
    file.write_text(f'{tables}{CHURN}[paths]\nvar = "{folder}/var"\nmlruns = "{folder}/mlruns"\n')
    return file


def drift(file):
    """Return the exit status and what was printed."""
    result = CliRunner().invoke(app, ["drift", "--as-of", AT, "--config", str(file)], catch_exceptions=False)
    assert max(map(len, result.output.splitlines()[:-2])) <= 80
    return result.exit_code, result.output


def read_verdict(folder):
    """Return the verdict that stands beside the page."""
    (file,) = folder.glob(f"var/*/drift/{AT}-churn.json")
    return json.loads(file.read_text())["verdict"]


@pytest.fixture
def copy(sample, tmp_path):
    """A copy of it that may be harmed."""
    folder = shutil.copytree(sample, tmp_path / "copy", ignore=shutil.ignore_patterns("history", "drift"))
    settings_file(folder)
    return folder


def test_a_healthy_company_is_ok(sample):
    status, out = drift(sample / "tidewater.toml")
    assert status == 0
    assert "churn, as of 2026-01-01: ok" in out
    verdict = read_verdict(sample)
    assert verdict["dated"]
    # Months have 28 to 31 days, so terms of a month change their length, further than in the four months of training.
    assert set(verdict["drifted"]) <= {"term_days"}
    assert {"tenure_days", "orders_in_all"} <= set(verdict["growing"])


def test_without_a_source_that_the_model_reads_it_holds(copy):
    text = TOML.read_text()
    begin, end = text.index("[tables.usage]"), text.index("[tables.purchases]")
    status, out = drift(settings_file(copy, text[:begin] + text[end:]))
    assert status == 1
    assert "churn, as of 2026-01-01: hold" in out
    assert "usage_events_30d: is not in the snapshot" in {
        f"{f['column']}: {f['what']}" for f in read_verdict(copy)["findings"]
    }
    assert "rank_" not in out


def test_with_half_of_the_usage_gone_its_columns_have_moved(copy):
    for part in (copy / "samples/tidewater/usage").glob("*.parquet"):
        rows = pd.read_parquet(part)
        rows[rows.index % 2 == 0].to_parquet(part, index=False)
    status, _ = drift(copy / "tidewater.toml")
    assert status == 0
    assert {"usage_events_7d", "usage_events_30d", "usage_hours_30d"} <= set(read_verdict(copy)["drifted"])


def test_a_model_without_the_dates_of_its_rows_still_has_a_verdict(copy):
    (file,) = copy.rglob("reference.parquet")
    pd.read_parquet(file).drop(columns="as_of").to_parquet(file, index=False)
    status, out = drift(copy / "tidewater.toml")
    assert status == 0
    assert "does not know the dates of its training rows" in " ".join(out.split())
