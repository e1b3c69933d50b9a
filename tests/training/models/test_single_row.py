"""One row predicted by LightGBM's prepared call: the bits of its public call, which is used where the other is not."""

import logging
import pickle
from concurrent.futures import ThreadPoolExecutor

import lightgbm as lgb
import numpy as np
import pytest

from training.models.calibration import Calibrator
from training.models.horizon_model import HorizonModel
from training.models.single_row import SingleRow


@pytest.fixture(scope="module")
def rows():
    drawn = np.random.default_rng(7).normal(size=(300, 6))
    drawn[:, 5] = np.random.default_rng(8).integers(0, 5, 300)
    return np.where(np.random.default_rng(9).random(drawn.shape) < 0.2, np.nan, drawn)


@pytest.fixture(scope="module")
def booster(rows):
    labels = np.nan_to_num(rows[:, 0]) + (rows[:, 5] == 2) > 0
    options = {"objective": "binary", "num_leaves": 7, "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5}
    trained = lgb.train(options, lgb.Dataset(rows, labels, categorical_feature=[5]), 20)
    return lgb.Booster(model_str=trained.model_to_string())


def test_a_row_alone_has_the_bits_of_the_public_call(rows, booster):
    single, public = SingleRow.prepare(booster), booster.predict(rows, raw_score=True, num_threads=1)
    assert [single.predict(row) for row in rows] == public.tolist()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(single.predict, rows)) == public.tolist()
    assert [pickle.loads(pickle.dumps(single)).predict(rows[k : k + 1]) for k in range(9)] == public[:9].tolist()  # noqa: S301  # just written


def test_a_row_of_another_width_is_refused(rows, booster):
    with pytest.raises(ValueError, match="one row of 6 columns"):
        SingleRow.prepare(booster).predict(rows[:2])


@pytest.mark.parametrize(
    "lacking", ["LGBM_BoosterPredictForMatSingleRowFastInit", "LGBM_FastConfigFree", "another bit"]
)
def test_without_the_call_scores_are_the_public_ones(rows, booster, lacking, monkeypatch, caplog):
    if lacking == "another bit":
        monkeypatch.setattr(SingleRow, "predict", lambda _self, _row: 0.5)
    else:
        real = lgb.basic._LIB

        class Older:
            def __getattr__(self, name):
                if name == lacking:
                    raise AttributeError(name)
                return getattr(real, name)

        monkeypatch.setattr(lgb.basic, "_LIB", Older())
    model = HorizonModel(90, booster.model_to_string(), Calibrator(slope=1.0, intercept=0.0), 0.2, ())
    with caplog.at_level(logging.WARNING):
        assert model.log_odds(rows[:1]) == booster.predict(rows[:1], raw_score=True, num_threads=1)
    assert "for one row" in caplog.text
