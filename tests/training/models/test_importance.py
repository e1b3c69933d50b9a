"""Weights of features in a model: by the gain of the trees' splits, and by the additive part's terms."""

from dataclasses import replace
from datetime import UTC, datetime

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest

from training.models.calibration import Calibrator
from training.models.horizon_model import HorizonModel
from training.models.importance import compute_feature_weights
from training.models.linear import LinearModel
from training.models.model import Model


@pytest.fixture(scope="module")
def model():
    """A model of three features, of which the trees split on the first alone."""
    matrix = np.random.default_rng(0).normal(size=(300, 3))
    quiet = {"objective": "binary", "verbosity": -1, "num_threads": 1, "num_leaves": 2}
    booster = lgb.train(quiet, lgb.Dataset(matrix, matrix[:, 0] > 0), num_boost_round=2)
    horizon = HorizonModel(30, booster.model_to_string(), Calibrator(1.0, 0.0), 0.1, (0.0, 1.0))
    about = {"target": "churn", "categories": {}, "sources": (), "catalog": "c", "order": 1}
    about |= {"trained_at": datetime(2026, 1, 1, tzinfo=UTC), "reference": pd.DataFrame()}
    return Model(features=("a", "b", "c"), horizon_models=(horizon,), **about)


def test_a_column_that_no_split_looks_at_weighs_nothing(model):
    assert compute_feature_weights(model) == {"a": 1.0, "b": 0.0, "c": 0.0}


def test_the_additive_part_counts_as_much_as_the_model_blends_it(model):
    linear = LinearModel(0.0, (0.0,) * 3, (1.0,) * 3, (0.0, -3.0, 1.0))
    blended = replace(model.horizon_models[0], linear=linear, linear_weight=0.4)
    weights = compute_feature_weights(replace(model, horizon_models=(blended,)))
    assert weights == pytest.approx({"a": 0.6, "b": 0.3, "c": 0.1})


def test_horizons_count_alike(model):
    linear = LinearModel(0.0, (0.0,) * 3, (1.0,) * 3, (0.0, 1.0, 0.0))
    second = replace(model.horizon_models[0], linear=linear, linear_weight=1.0)
    weights = compute_feature_weights(replace(model, horizon_models=(*model.horizon_models, second)))
    assert weights == pytest.approx({"a": 0.5, "b": 0.5, "c": 0.0})


def test_a_model_without_horizons_weighs_nothing(model):
    assert compute_feature_weights(replace(model, horizon_models=())) == {"a": 0.0, "b": 0.0, "c": 0.0}
