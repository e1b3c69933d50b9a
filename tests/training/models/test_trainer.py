"""The trainer on rows without times: what a frame without days is learned with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from training.models.hyperparameters import Hyperparameters, build_hyperparameters
from training.models.trainer import fit_undated

GENERATOR = np.random.default_rng(4)
SLOPE, STEP = GENERATOR.normal(0, 1, 1000), GENERATOR.integers(0, 6, 1000)
NOISE = GENERATOR.normal(0, 1, (1000, 10))
MATRIX = np.column_stack([SLOPE, STEP, NOISE])
BEND = 2.0 * (np.abs(NOISE[:, 6]) > 1)  # what no straight line can say
CHANCE = 1 / (1 + np.exp(1.5 - SLOPE - NOISE[:, :5].sum(axis=1) / 2 - np.isin(STEP, [1, 4]) - BEND))
PLAIN = build_hyperparameters(MATRIX.shape[1], seed=7)
LABELS = (GENERATOR.random(1000) < CHANCE).astype("float64")


@pytest.fixture(scope="module")
def head():
    return fit_undated(MATRIX, LABELS, hyperparameters=PLAIN, categorical=[1])


def test_both_parts_are_learned_and_the_chances_come_true(head):
    found = head.probabilities(MATRIX)
    assert np.corrcoef(found, CHANCE)[0, 1] > 0.9
    assert found.mean() == pytest.approx(LABELS.mean())
    assert 0 < head.linear_weight < 1
    assert head.linear.weights[0] > 0.3
    assert head.linear.weights[1] == 0.0
    assert [column for column, _ in head.linear.texts] == [1]


def test_contributions_are_of_both_parts_and_add_up_to_the_log_odds(head):
    rest = head.log_odds(MATRIX) - head.contributions(MATRIX).sum(axis=1)
    assert rest == pytest.approx(np.full(len(MATRIX), rest[0]), abs=1e-9)
    alone = replace(head, linear_weight=0.0).contributions(MATRIX)
    assert (head.contributions(MATRIX)[:, 0] != alone[:, 0]).all()
    texts = head.linear.terms(MATRIX)[:, 1]
    assert head.contributions(MATRIX)[:, 1] == pytest.approx(
        (1 - head.linear_weight) * alone[:, 1] + head.linear_weight * texts
    )


def test_the_score_never_moves_against_a_direction():
    recipe = Hyperparameters()
    against = replace(recipe, parameters={**recipe.parameters, "monotone_constraints": [-1] + [0] * 11})
    held = fit_undated(MATRIX, LABELS, hyperparameters=against)
    steps = np.repeat(MATRIX[:50], 20, axis=0)
    steps[:, 0] = np.tile(np.linspace(-3, 3, 20), 50)
    assert (np.diff(held.log_odds(steps).reshape(50, 20), axis=1) <= 1e-12).all()


def test_the_same_rows_give_the_same_model(head):
    assert fit_undated(MATRIX, LABELS, hyperparameters=PLAIN, categorical=[1]) == head
