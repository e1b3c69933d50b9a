"""The additive part: it finds a slope, stays within the catalog's directions, and sums each row alike."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from training.models import linear
from training.models.linear import LinearModel

GENERATOR = np.random.default_rng(3)
MATRIX = np.column_stack(
    [
        GENERATOR.lognormal(3, 1, 4000),
        GENERATOR.normal(0, 1, 4000),
        GENERATOR.integers(0, 4, 4000).astype("float64"),
        np.full(4000, np.nan),
    ]
)
MATRIX[::7, 1] = np.nan
LABELS = (GENERATOR.random(4000) < 1 / (1 + MATRIX[:, 0] / 20)).astype("float64")


@pytest.fixture(scope="module")
def model():
    return linear.fit_linear(MATRIX, LABELS, categorical=[2])


def test_it_finds_the_slope_and_leaves_what_tells_nothing_near_zero(model):
    assert model.weights[0] < -0.3
    assert abs(model.weights[1]) < 0.1
    assert model.log_odds(MATRIX)[LABELS == 1].mean() > model.log_odds(MATRIX)[LABELS == 0].mean() + 0.3


def test_columns_that_are_never_there_have_no_weight(model):
    assert model.weights[3] == 0.0
    assert not model.terms(MATRIX)[:, 3].any()


def test_each_value_of_a_text_column_has_a_term_and_an_unseen_one_that_of_none():
    chance = 1 / (1 + np.exp(1 - 2 * (MATRIX[:, 2] == 1)))
    labels = (np.random.default_rng(8).random(4000) < chance).astype("float64")
    found = linear.fit_linear(MATRIX, labels, categorical=[2])
    ((column, terms),) = found.texts
    assert (column, len(terms), found.weights[2]) == (2, 5, 0.0)
    assert terms[1] > max(terms[0], terms[2], terms[3]) + 0.5
    rows = np.repeat(MATRIX[:1], 6, axis=0)
    rows[:, 2] = [0, 1, 3, 4, 99, np.nan]
    assert found.terms(rows)[:, 2].tolist() == [terms[0], terms[1], terms[3], *[terms[4]] * 3]
    assert LinearModel.from_json(json.loads(json.dumps(asdict(found)))) == found


def test_values_beyond_the_fiftieth_share_the_last_term():
    codes = GENERATOR.integers(0, 80, (4000, 1)).astype("float64")
    ((_, terms),) = linear.fit_linear(codes, LABELS, categorical=[0]).texts
    assert len(terms) == 51


def test_what_rows_start_from_is_no_part_of_the_model():
    offsets = np.where(np.arange(4000) % 2, 2.0, -2.0)
    labels = (np.random.default_rng(9).random(4000) < 1 / (1 + np.exp(-offsets))).astype("float64")
    found = linear.fit_linear(np.arange(4000.0)[:, None] % 2, labels, offsets=offsets)
    assert found.weights[0] == pytest.approx(0.0, abs=0.1)
    assert found.intercept == pytest.approx(0.0, abs=0.1)


def test_a_missing_value_counts_as_the_mean(model):
    missing = np.isnan(MATRIX[:, 1])
    assert not model.terms(MATRIX)[missing, 1].any()


def test_terms_add_up_to_the_log_odds(model):
    assert model.terms(MATRIX).sum(axis=1) + model.intercept == pytest.approx(model.log_odds(MATRIX), abs=1e-12)


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_batch_gives_the_same_bits_as_row_by_row(order):
    wide = np.asarray(GENERATOR.normal(0, 30, (301, 157)), order=order)
    plain = [tuple(GENERATOR.uniform(1, 2, 157).tolist()) for _ in range(3)]
    model = LinearModel(0.25, *plain)
    rows = np.concatenate([model.log_odds(wide[i : i + 1]) for i in range(len(wide))])
    assert rows.tobytes() == model.log_odds(wide).tobytes()


def test_rows_beyond_what_is_held_at_once_give_the_same_bits(model, monkeypatch):
    whole = model.log_odds(MATRIX)
    monkeypatch.setattr(linear, "_AT_ONCE", 999)
    assert model.log_odds(MATRIX).tobytes() == whole.tobytes()


def test_the_log_odds_never_move_against_a_direction():
    held = linear.fit_linear(MATRIX, LABELS, categorical=[2], directions=[1, -1, 0, 0])
    assert held.weights[0] == 0.0
    assert held.weights[1] <= 0.0
    assert linear.fit_linear(MATRIX, LABELS, directions=[-1, 0, 0, 0]).weights[0] < -0.3


def test_no_rows_have_no_log_odds(model):
    assert model.log_odds(MATRIX[:0]).shape == (0,)


def test_of_many_rows_an_even_part_is_learned_from(monkeypatch):
    monkeypatch.setattr(linear, "_MOST_ROWS", 2000)
    assert linear.fit_linear(MATRIX, LABELS, categorical=[2]) == linear.fit_linear(
        MATRIX[::2], LABELS[::2], categorical=[2]
    )
