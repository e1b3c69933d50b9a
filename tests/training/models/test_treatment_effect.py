"""Who was treated is a column of training alone: learned from, cut out of the model, and 0 at scoring."""

import lightgbm as lgb
import numpy as np
import pytest
from scipy.special import expit, logit

from training.models.column_cut import cut_last_column
from training.models.horizon_model import describe_horizon_model
from training.models.hyperparameters import build_hyperparameters
from training.models.trainer import Cutoffs, HorizonRows, Trainer

N = 4_000


@pytest.fixture(scope="module")
def saved():
    """Rows of twelve months, the later half with owners who are told of the risky and save two in three of them."""
    random = np.random.default_rng(3)
    matrix = random.normal(size=(N, 6))
    matrix[:, 1] = random.integers(0, 4, N)
    matrix[random.random((N, 6)) < 0.03] = np.nan
    days = 19_000 + np.sort(random.integers(0, 12, N)) * 30.0
    risk = expit(-2.2 + 1.5 * np.nan_to_num(matrix[:, 0]) + 0.8 * (matrix[:, 1] == 2))
    treated = (days > 19_165) & (random.random(N) < np.where(risk > 0.25, 0.75, 0.05))
    labels = ((random.random(N) < risk) & ~(treated & (random.random(N) < 0.67))).astype(float)
    return matrix, days, risk, treated, labels


def train(saved, treated):
    matrix, days, _, _, labels = saved
    early, late = np.flatnonzero(days < 19_255), np.flatnonzero(days >= 19_255)
    trainer = Trainer(
        matrix,
        labels,
        categorical=[1],
        hyperparameters=build_hyperparameters(6, seed=7),
        cutoffs=Cutoffs(days, since=19_000.0, span=30.0),
        treated=treated,
    )
    rows = np.arange(N)
    return trainer.train_horizon(30, HorizonRows(((early, late),), rows, late), reach=30)


def test_scores_are_of_accounts_that_nobody_acts_on(saved):
    matrix, days, risk, treated, _ = saved
    column, kept = train(saved, treated), train(saved, None)
    is_late = days >= 19_255
    scores = {name: m.probabilities(matrix[is_late], days[is_late]) for name, m in (("column", column), ("kept", kept))}
    high = risk[is_late] > 0.25
    true = risk[is_late][high].mean()
    assert scores["kept"][high].mean() < 0.7 * true  # saves were taken for accounts that stay anyway
    assert scores["column"][high].mean() == pytest.approx(true, rel=0.2)
    assert scores["column"].mean() == pytest.approx(risk[is_late].mean(), rel=0.2)
    assert column.base_rate > kept.base_rate


def test_the_model_has_no_such_column_and_its_parts_add_up(saved):
    matrix, _, _, treated, _ = saved
    model = train(saved, treated)
    assert model.booster.num_feature() == 6
    assert model.contributions(matrix).shape == (N, 6)
    rest = model.log_odds(matrix) - model.contributions(matrix).sum(axis=1)
    assert rest == pytest.approx(np.full(N, rest[0]), abs=1e-9)
    assert lgb.Booster(model_str=model.text).model_to_string() == model.text
    assert "treated" not in str(describe_horizon_model(model))


def test_too_few_treated_rows_change_nothing(saved):
    few = saved[3] & (np.cumsum(saved[3]) <= 15)
    assert train(saved, few) == train(saved, None)


def test_a_booster_without_its_last_column_scores_as_with_0_there(saved):
    matrix, _, _, treated, labels = saved
    data = lgb.Dataset(np.column_stack([matrix, treated]), labels, categorical_feature=[1])
    booster = lgb.train(
        {"objective": "binary", "num_leaves": 7, "verbose": -1, "monotone_constraints": [1] + [0] * 6}, data, 40
    )
    assert booster.feature_importance()[-1] > 0
    cut = cut_last_column(booster)
    zero = np.column_stack([matrix, np.zeros(N)])
    assert (cut.predict(matrix, raw_score=True) == booster.predict(zero, raw_score=True)).all()
    assert cut.num_feature() == 6
    parts = cut.predict(matrix, pred_contrib=True)
    assert parts.sum(axis=1) == pytest.approx(logit(cut.predict(matrix)))
