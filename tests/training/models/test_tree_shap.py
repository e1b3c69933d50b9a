"""Our TreeSHAP against LightGBM's, on drawn models: categories, missing values, trees small, large and of one leaf."""

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.models.calibration import Calibrator
from training.models.horizon_model import HorizonModel
from training.models.tree_shap import TreeExplainer

OPTIONS = {"objective": "binary", "verbosity": -1, "num_threads": 1, "min_data_per_group": 5, "cat_smooth": 1.0}


def draw_rows(seed, missing):
    """500 rows: two numbers, whole numbers with 0 often, 40 categories; some missing in all columns but the first."""
    draw = np.random.default_rng(seed)
    rows = draw.normal(size=(500, 5))
    rows[:, 2:4] = np.round(rows[:, 2:4])
    rows[:, 4] = draw.integers(0, 40, len(rows))
    rows[:, 1:][draw.random((len(rows), 4)) < missing] = np.nan
    return rows


def train(rows, seed, trees=12, **options):
    effect = np.nan_to_num(rows[:, 0] + rows[:, 1]) * (np.nan_to_num(rows[:, 2]) > 0) + (rows[:, 4] % 3 == 1)
    labels = np.random.default_rng(seed).random(len(rows)) < 1 / (1 + np.exp(1 - effect))
    data = lgb.Dataset(rows, labels, categorical_feature=[4], free_raw_data=False)
    return lgb.Booster(model_str=lgb.train(OPTIONS | options | {"seed": seed % 1000}, data, trees).model_to_string())


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    leaves=st.sampled_from([2, 4, 7, 9, 10, 15, 31]),
    missing=st.sampled_from([0.0, 0.2, 0.6]),
    least=st.sampled_from([3, 20, 200]),
)
def test_it_is_lightgbms_and_a_row_alone_gets_the_bits_of_a_batch(seed, leaves, missing, least):
    booster = train(draw_rows(seed, missing), seed, num_leaves=leaves, min_data_in_leaf=least)
    rows = draw_rows(seed + 1, 0.3)[:130]  # missing also where training had none
    rows[::9, 4] = [-1.0, 40.0, 41.0, 1e9, 95.0, 64.0, 63.0, 31.0, 32.0, -7.0, 0.0, np.inf, np.nan, 33.0, 39.0]
    rows[::11, :4] = np.array([0.0, -np.inf, np.inf])[np.arange(12) % 3][:, None]
    explainer = TreeExplainer(booster.model_to_string())
    explained = explainer.explain(rows)
    known = booster.predict(rows, pred_contrib=True, num_threads=1)[:, :-1]
    assert np.abs(explained - known).max() <= 1e-14 * max(1.0, np.abs(known).max())
    for k in range(0, len(rows), 7):
        assert np.array_equal(explainer.explain(rows[k : k + 1]), explained[k : k + 1])


def test_a_booster_of_one_leaf_a_tree_explains_nothing():
    booster = train(draw_rows(3, 0.1), 3, min_data_in_leaf=400)
    explainer = TreeExplainer(booster.model_to_string())
    assert not explainer.explain(draw_rows(4, 0.1)).any()
    assert explainer.explain(np.empty((0, 5))).shape == (0, 5)


@pytest.mark.parametrize(
    "options",
    [
        {"zero_as_missing": True},
        {"num_leaves": 80, "min_data_in_leaf": 2},
        {"boosting": "rf", "bagging_fraction": 0.5, "bagging_freq": 1},
    ],
)
def test_other_trees_are_left_to_lightgbm(options):
    rows = draw_rows(5, 0.1)
    booster = train(rows, 5, 3, **options)
    with pytest.raises(ValueError, match="tree"):
        TreeExplainer(booster.model_to_string())
    model = HorizonModel(90, booster.model_to_string(), Calibrator(slope=1.0, intercept=0.0), 0.2, ())
    assert np.array_equal(model.contributions(rows), booster.predict(rows, pred_contrib=True)[:, :-1])
