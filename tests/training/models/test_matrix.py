"""Snapshots in memory once: what is read in batches gives the same bits as what is there as a whole."""

from __future__ import annotations

from datetime import UTC, datetime

import lightgbm as lgb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from features.engine import snapshot_cache, snapshots
from features.sources.history import History
from training.models import dataset, hyperparameters, matrix
from training.models.matrix import Matrix, join_snapshots, sample_rows
from training.targets.cohorts import find_eligible


def rows(count, features=8, seed=1):
    """Numbers, with codes in the first column, holes, a column that hardly varies and one that never does."""
    random = np.random.default_rng(seed)
    found = random.normal(size=(count, features))
    found[random.random(found.shape) < 0.1] = np.nan
    found[:, 0] = random.integers(0, 5, count)
    found[:, 1] = random.random(count) < 0.01
    found[:, 2] = 3.0
    answers = (found[:, 0] + np.nan_to_num(found[:, 3]) + random.normal(size=count) > 3).astype("float64")
    return found, answers


# LightGBM looks at 200,000 rows for its bins: all of the fewer, a sample of the more.
@pytest.mark.parametrize("count", [1_000, 60_000, 260_000])
def test_a_booster_of_batches_is_that_of_one_matrix(count):
    whole, answers = rows(count)
    given = hyperparameters.build_hyperparameters(8, seed=7)
    parameters = {**given.parameters, "num_threads": 1}
    places = np.flatnonzero(np.arange(count) % 5 > 0)
    data = lgb.Dataset(whole[places], answers[places], categorical_feature=[0], params={"verbosity": -1})
    expected = lgb.train(parameters, data, num_boost_round=10).model_to_string()
    found = Matrix.from_array(whole).train_booster(answers, places, categorical=[0], parameters=parameters, trees=10)
    assert found.model_to_string() == expected


def test_what_is_applied_in_parts_is_what_is_applied_at_once(monkeypatch):
    whole, answers = rows(1_000)
    held, places = Matrix.from_array(whole), np.arange(0, 1_000, 3)
    booster = held.train_booster(
        answers, places, categorical=[0], parameters={"verbosity": -1, "num_threads": 1}, trees=5
    )
    monkeypatch.setattr(matrix, "_AT_ONCE", 7)
    asked = []

    def predict(part):
        asked.append(len(part))
        return booster.predict(part, num_threads=1)

    assert np.array_equal(held.apply(predict, places), booster.predict(whole[places], num_threads=1))
    assert max(asked) <= 7
    assert sum(asked) == len(places)


def test_the_rows_of_a_part_are_those_of_the_whole():
    whole, _ = rows(100)
    some = Matrix.from_array(whole).select(np.array([5, 1, 7])).select(np.array([2, 0]))
    assert len(some) == 2
    assert np.array_equal(some[np.array([1, 0])], whole[[5, 7]], equal_nan=True)
    assert some[np.array([0])].flags.c_contiguous


def test_a_models_columns_lie_in_the_frame(fitted, company):
    bundle = fitted["churn"].model
    with History.open(company.settings) as history:
        until = dataset.find_data_until(history, company.settings)
        cutoffs = dataset.list_cutoffs(history, company.settings, until)
        frame = dataset.load_dataset(history, company.settings, "churn", cutoffs, until).frame
    for name, column in zip(bundle.features, bundle.build_columns(frame), strict=True):
        assert np.shares_memory(column, frame[name].to_numpy()) == (name not in bundle.categories)


def test_joined_is_every_snapshot_merged_with_the_members(company):
    settings = company.settings
    with History.open(settings) as history:
        cutoffs = dataset.list_cutoffs(history, settings, dataset.find_data_until(history, settings))
        members = find_eligible(history, settings.churn.cohort, cutoffs)
        every = snapshots.build_table(history, cutoffs)
        # Some accounts at a time, and one instant at which nobody is there.
        parts = [
            part.slice(start, 50)
            for part in snapshots.split_by_as_of(every, cutoffs).values()
            for start in (0, 50, 100)
        ]
        whole = [
            every.slice(0, 0),
            *parts,
            *(part.slice(150) for part in snapshots.split_by_as_of(every, cutoffs).values()),
        ]
        kept = snapshot_cache.load_table(settings, history, cutoffs)
        read = join_snapshots(snapshot_cache.load_parts(settings, history, cutoffs), members)
    expected = every.to_pandas().merge(members, on=["account_id", "as_of"])
    assert kept.equals(every)
    pd.testing.assert_frame_equal(read, expected, check_exact=True)
    found = join_snapshots(whole, members).sort_values(["as_of", "account_id"], ignore_index=True)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_snapshots_of_other_columns_are_not_joined():
    at = pa.array([datetime(2024, 1, 1, tzinfo=UTC)], pa.timestamp("us", "UTC"))
    part = pa.table({"account_id": ["A"], "as_of": at, "seats": [1.0]})
    members = part.select(["account_id", "as_of"]).to_pandas()
    assert join_snapshots([part], members)["seats"].tolist() == [1.0]
    with pytest.raises(ValueError, match="differ in their columns: \\['seats', 'users'\\]"):
        join_snapshots([part, part.rename_columns({"seats": "users"})], members)


def test_the_places_drawn_are_the_rows_that_pandas_draws():
    frame = pd.DataFrame({"a": range(50)})
    assert frame.sample(20, random_state=3).index.tolist() == sample_rows(np.arange(50), 20, seed=3).tolist()
