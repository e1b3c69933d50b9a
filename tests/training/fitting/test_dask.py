"""Training on a real cluster of two worker processes: the same judgement of nearly the same model."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster
from typer.testing import CliRunner

from features.core.errors import RegistryError
from features.sources.history import History
from tests.support.commands import run_command
from training.__main__ import app
from training.fitting import fit
from training.fitting.dask import Cluster
from training.models import dataset
from training.models.model import Model


@pytest.fixture(scope="module")
def client():
    local = LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    )
    with local, Client(local, set_as_default=False) as client:
        yield client


@pytest.fixture(scope="module")
def spread(company, client):
    """Both forms of the churn cohort's snapshots: on the cluster, and in memory."""
    settings = company.settings
    with History.open(settings) as history:
        until = dataset.find_data_until(history, settings)
        asked = (history, settings, "churn", dataset.list_cutoffs(history, settings, until), until)
        yield Cluster(client)(*asked), dataset.load_dataset(*asked)


@pytest.fixture(scope="module")
def learned(company, client):
    """Churn alone: upsell would be learned in the same way."""
    settings = company.settings.model_copy(update={"upsell": None})
    with History.open(settings) as history:
        return fit.fit(history, settings, loader=Cluster(client), progress=lambda _: None)


def test_it_learns_nearly_what_one_machine_learns(fitted, learned):
    assert {name: list(distant.results) for name, distant in learned.items()} == {"churn": [30, 60]}
    # Bins and bags are drawn by each worker from its own rows, so trees differ as those of another seed do, and of two
    # recipes that are equal within noise another may be chosen. Of seeds 1 to 10 on one machine, no two AUCs of one
    # target and horizon are further apart than 0.029, and no two scores correlate less than 0.939.
    for name, distant in learned.items():
        for horizon, found in distant.results.items():
            outcome = fitted[name].results[horizon]
            assert found.evaluation.auc == pytest.approx(outcome.evaluation.auc, abs=0.03)
            assert found.evaluation.verdict == outcome.evaluation.verdict
            assert np.corrcoef(found.test["score"], outcome.test["score"])[0, 1] > 0.93


def test_all_but_the_trees_is_the_very_same(fitted, learned):
    for name, distant in learned.items():
        ours, theirs = distant.model, fitted[name].model
        assert (ours.features, ours.categories, ours.rhythm) == (theirs.features, theirs.categories, theirs.rhythm)
        pd.testing.assert_frame_equal(ours.reference, theirs.reference, check_exact=True)
        for mine, its in zip(ours.horizon_models, theirs.horizon_models, strict=True):
            assert (mine.base_rate, mine.uplift) == (its.base_rate, its.uplift)
            assert mine.linear is None or its.linear is None or mine.linear == its.linear
        for horizon, found in distant.results.items():
            outcome = fitted[name].results[horizon]
            keys = ["account_id", "as_of", "label"]
            pd.testing.assert_frame_equal(found.test[keys], outcome.test[keys])
            pd.testing.assert_frame_equal(found.baselines, outcome.baselines)


def test_the_model_is_saved_and_read_as_any_other(learned, spread, tmp_path):
    bundle = learned["churn"].model
    bundle.save(tmp_path)
    matrix = bundle.matrix(spread[1].frame)
    assert np.array_equal(Model.load(tmp_path).probabilities(matrix), bundle.probabilities(matrix))


def test_both_workers_learn_and_the_same_again_whichever_is_busy(spread, client, fitted):
    matrix = spread[0].build_matrix(fitted["churn"].model)
    places, quiet = np.arange(len(matrix)), {"objective": "binary", "verbosity": -1, "bagging_fraction": 0.5}
    learn = partial(matrix.train_booster, places % 2.0, places, categorical=[], trees=3)
    texts = set()
    for busy in (*client.ncores(), None):
        pause = client.submit(time.sleep, 0.5, workers=[busy], pure=False) if busy else None
        booster = learn(parameters={**quiet, "bagging_freq": 1, "deterministic": True})
        assert booster.num_trees() == 3
        texts.add(booster.model_to_string())
        del pause
    ran = client.run(lambda dask_worker: [e for e in dask_worker.state.log if "_train_share" in str(e)])
    assert len(ran) == 2
    assert all(ran.values())
    assert len(texts) == 1
    assert "127.0.0.1" not in texts.pop()


def test_who_was_treated_is_a_column_of_each_worker_s_own_rows(spread, fitted):
    distant, held = (data.build_matrix(fitted["churn"].model) for data in spread)
    places = np.random.default_rng(5).permutation(len(held))[:2_000]
    column = (places % 3 == 0).astype(float)
    learn = {"categorical": [], "trees": 5, "column": column, "parameters": {"objective": "binary", "verbosity": -1}}
    labels = (np.arange(len(held)) % 3 == 0).astype(float)  # what the column alone says
    for matrix in (distant, held):
        booster = matrix.train_booster(labels, places, **learn)
        gains = booster.feature_importance("gain")
        assert len(gains) == len(fitted["churn"].model.features) + 1
        assert gains[-1] > 0.99 * gains.sum()


def test_rows_come_in_the_order_asked_for(spread, fitted):
    distant, held = spread
    places = np.random.default_rng(2).permutation(len(held.frame))[:500]
    pd.testing.assert_frame_equal(distant.read_rows(places), held.read_rows(places))
    bundle = fitted["churn"].model
    assert np.array_equal(distant.build_matrix(bundle)[places], held.build_matrix(bundle)[places], equal_nan=True)
    some = distant.build_matrix(bundle).select(places[::2])
    assert len(some) == 250
    assert np.array_equal(some[np.array([3, 1])], held.build_matrix(bundle)[places[[6, 2]]], equal_nan=True)
    assert np.array_equal(
        distant.build_matrix(bundle).apply(bundle.probabilities, places),
        held.build_matrix(bundle).apply(bundle.probabilities, places),
    )


def test_here_only_the_columns_are_held_that_figures_need(spread):
    distant, held = spread
    assert {"account_id", "as_of", "plan", "days_since_usage"} <= set(distant.frame) < set(held.frame)
    pd.testing.assert_frame_equal(distant.frame, held.frame[[*distant.frame]])


def test_a_champion_that_needs_what_is_gone_is_told_at_once(spread, fitted):
    with pytest.raises(RegistryError, match="no_longer_there"):
        spread[0].build_matrix(replace(fitted["churn"].model, features=("no_longer_there",)))


def test_the_command_refuses_to_tune_on_a_cluster(company):
    command = ["fit", "--config", str(company.file), "--dask", "tcp://127.0.0.1:1", "--tune", "1"]
    tuned = CliRunner().invoke(app, command, env={"COLUMNS": "200"})
    assert (tuned.exit_code, "leave out --dask" in tuned.stderr) == (2, True)


def test_the_command_names_a_scheduler_that_is_not_there(company):
    gone = run_command("training", "fit", "--config", company.file, "--dask", "tcp://127.0.0.1:1")
    assert gone.returncode == 1
    assert gone.stderr.startswith("error: no Dask scheduler answers at tcp://127.0.0.1:1")
    assert len(gone.stderr.splitlines()) == 1
