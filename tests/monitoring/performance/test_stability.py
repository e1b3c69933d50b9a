"""Stability: flips of the band with and without hysteresis, the top list, first drivers, and other seeds."""

import json

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest

from features.core.errors import GarrisonError
from monitoring.performance import stability
from monitoring.performance.bands import count_flips, follow_bands
from serving.scoring.snapshot_store import SnapshotWriter, StoredSnapshot
from tests.monitoring.conftest import DRIVERS, day
from tests.support.commands import run_command
from tests.support.scored_company import write_scores
from training.decisions.levels import Levels
from training.fitting import fit
from training.models.calibration import Calibrator
from training.models.horizon_model import HorizonModel
from training.models.model import Model

LEVELS = Levels(0.6, 0.4)
RUNS = [f"2024-{month:02}-01" for month in range(1, 7)]


def flips(*rows, sticky=False):
    frame = pd.DataFrame([[np.nan if s is None else s for s in row] for row in rows])
    counted = count_flips(follow_bands(frame, [LEVELS] * frame.shape[1], is_sticky=sticky))
    return counted.changes, counted.undone, counted.accounts


@pytest.mark.parametrize(
    ("scores", "single", "sticky"),
    [
        ((0.1, 0.1, 0.1, 0.1, 0.1), (0, 0, 0), (0, 0, 0)),
        # It enters and stays.
        ((0.1, 0.7, 0.7, 0.7, 0.7), (1, 0, 0), (1, 0, 0)),
        # It falls between the levels and comes back: episodes don't see that.
        ((0.7, 0.5, 0.7, 0.5, 0.7), (1, 1, 1), (0, 0, 0)),
        # Back in the third run after the change is within three; in the fourth it is not.
        ((0.1, 0.7, 0.7, 0.7, 0.1), (1, 1, 1), (1, 1, 1)),
        ((0.1, 0.7, 0.7, 0.7, 0.7, 0.1), (1, 0, 0), (1, 0, 0)),
        # A change that three more runs don't follow is not counted.
        ((0.1, 0.1, 0.7, 0.1), (0, 0, 0), (0, 0, 0)),
        # Out of the cohort is no band.
        ((0.1, 0.7, None, 0.1, 0.1), (0, 0, 0), (0, 0, 0)),
        ((0.7, None, 0.1, 0.1, 0.1), (0, 0, 0), (0, 0, 0)),
    ],
)
def test_a_flip_is_a_change_undone_within_three_runs(scores, single, sticky):
    assert flips(scores) == single
    assert flips(scores, sticky=True) == sticky


def test_hysteresis_makes_flips_fewer_where_scores_are_noisy():
    random = np.random.default_rng(3)
    level = random.normal(0.5, 0.15, (400, 1)) + random.normal(0, 0.05, (400, 20)).cumsum(axis=1) * 0.3
    scores = (level + random.normal(0, 0.06, (400, 20))).clip(0.01, 0.99)
    (changes, undone, _), (kept, still, _) = flips(*scores), flips(*scores, sticky=True)
    assert still < undone / 4
    assert still / kept < undone / changes


@pytest.fixture
def scored(company):
    """Forty accounts in six runs; in the last one the score of the first is lost and its driver changes."""
    ids = [f"a{n:02}" for n in range(40)]
    for run in RUNS:
        company.score(run, {a: {"score": 0.9 - n / 50, "in_cohort": n != 39} for n, a in enumerate(ids)})
    first = [DRIVERS[1], DRIVERS[0]]
    company.score(RUNS[-1], {"a00": 0.01, "a01": {"score": 0.88, "drivers": first}})
    company.promote()
    return company


def test_the_command_reports_flips_the_top_list_and_first_drivers(scored):
    file = scored.folder / "s.json"
    done = run_command("monitoring", "stability", "--config", scored.file, "--json", file)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Churn over 90 days: 6 runs of 39 accounts." in done.stdout
    assert "99% of the top 20 stay (95% at worst)" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120
    data = json.loads(file.read_text())
    last = data["pairs"][-1]
    assert (last["top"]["accounts"], last["top"]["shared"], last["top"]["tenth_shared"]) == (39, 19, 2)
    assert (last["explained"], last["same_driver"], last["same_model"]) == (3, 2, True)
    assert data["single"] == {"changes": 0, "undone": 0, "accounts": 0, "share": None}


def test_runs_of_two_models_share_no_drivers_and_one_run_is_too_few(scored):
    scored.score("2024-07-01", {"a01": 0.9}, model="churn-2")
    pair = stability.run(scored.settings).pairs[-1]
    assert (pair.same_model, pair.explained, pair.top.accounts) == (False, 0, 1)
    with pytest.raises(GarrisonError, match=r"no two runs.*found: 1"):
        stability.run(scored.settings, as_of=day("2024-01-15"))


def train(seed):
    """A model of spend alone, on rows that the seed draws."""
    random = np.random.default_rng(seed)
    rows = pd.DataFrame({"spend_90d": random.random(200)})
    labels = (rows["spend_90d"] + random.normal(0, 0.3, 200) < 0.5).astype(int)
    quiet = {"objective": "binary", "min_data_in_leaf": 5, "verbosity": -1, "num_threads": 1}
    booster = lgb.train(quiet, lgb.Dataset(rows, labels), num_boost_round=20)
    head = HorizonModel(90, booster.model_to_string(), Calibrator(1.0, 0.0), 0.1, tuple(np.linspace(0, 1, 1001)))
    parts = {"features": ("spend_90d",), "categories": {}, "sources": ("purchases",), "catalog": "c", "order": 1}
    return Model(target="churn", **parts, trained_at=day("2024-05-01"), horizon_models=(head,), reference=rows)


def test_models_of_other_seeds_are_compared_on_the_newest_snapshot(scored, monkeypatch):
    seeds = []

    def fit_with(_history, settings, **_):
        seeds.append((settings.training.seed, settings.upsell))
        return {"churn": fit.FittedTarget(train(settings.training.seed), {})}

    monkeypatch.setattr(fit, "fit", fit_with)
    at, folder = day(RUNS[-1]), scored.settings.var
    spend = np.linspace(0, 1, 60)
    frame = pd.DataFrame({"account_id": [f"a{n:02}" for n in range(60)], "spend_90d": spend})
    frame["as_of"] = pd.Series(at, index=frame.index).astype("datetime64[us, UTC]")
    with SnapshotWriter(folder / "snapshots", at, "run1") as writer:
        writer.add(StoredSnapshot(at, frame, ("purchases",), {"churn": frame["account_id"] < "a50"}, "c", "run1"))
    write_scores(scored.settings, [{"account_id": name} for name in frame["account_id"]], as_of=at.isoformat())
    file = folder / "s.json"
    done = run_command("monitoring", "stability", "--reseed", "3", "--config", scored.file, "--json", file)
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 models of the same data with other seeds share" in done.stdout
    seed, reseeded = scored.settings.training.seed, json.loads(file.read_text())["reseeded"]
    assert seeds == [(seed + 1, None), (seed + 2, None), (seed + 3, None)]
    assert (reseeded["seeds"], len(reseeded["overlaps"])) == ([seed + 1, seed + 2, seed + 3], 3)
    assert all(o["accounts"] == 50 and 0.5 < o["share"] <= 1.0 for o in reseeded["overlaps"])
    assert reseeded["same_cause"] is None or 0.0 <= reseeded["same_cause"] <= 1.0
