"""Offsets: the base rate of a cutoff, and what a term's end inside the horizon means."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy.special import logit

from training.models.hyperparameters import Hyperparameters
from training.models.offsets import TermCells, compute_cutoff_offsets, find_columns, fit_term_cells
from training.models.trainer import Cutoffs, HorizonRows, Trainer

GENERATOR = np.random.default_rng(6)


def test_rows_start_from_the_base_rate_of_their_cutoff():
    labels = np.array([1.0, 0, 0, 0, 1, 1])
    offsets = compute_cutoff_offsets(labels, np.array([3, 3, 3, 3, 9, 9]))
    assert offsets == pytest.approx([*[logit(2 / 6)] * 4, *[logit(3 / 4)] * 2])


def test_columns_are_found_by_their_names_or_not_at_all():
    assert find_columns(("a", "b", "c"), ("c", "a")) == (2, 0)
    assert find_columns(("a", "b"), ("c", "a")) is None


@pytest.fixture(scope="module")
def cells():
    renewal, length = GENERATOR.integers(0, 400, 9000).astype(float), GENERATOR.choice([30.0, 365.0], 9000)
    labels = (GENERATOR.random(9000) < np.where(renewal < 60, np.where(length < 45, 0.4, 0.2), 0.01)).astype(float)
    return fit_term_cells(np.column_stack([renewal, length]), labels, renewal=1, length=0, days=60)


def log_odds(cells, renewal, length):
    return cells.log_odds(np.array([[length, renewal]]))[0]


def test_a_term_that_ends_inside_the_horizon_is_apart_from_one_that_does_not(cells):
    assert log_odds(cells, 59, 365) > log_odds(cells, 60, 365) + 2
    assert log_odds(cells, 45, 30) > log_odds(cells, 45, 365) + 0.5


def test_short_terms_end_several_times_inside_the_horizon(cells):
    once, twice = log_odds(cells, 40, 30), log_odds(cells, 10, 30)
    assert once == cells.offsets[0][1]
    assert twice == cells.offsets[0][2]


def test_an_account_without_a_term_has_none_that_ends(cells):
    assert log_odds(cells, np.nan, np.nan) == cells.offsets[0][0]


def test_they_are_the_same_after_json(cells):
    assert TermCells.from_json(json.loads(json.dumps(asdict(cells)))) == cells


@pytest.fixture(scope="module")
def trained():
    """A trainer's model of rows whose base rate moves by cutoff, and of which some have a term that ends."""
    count = 3000
    days = np.repeat(np.arange(10) * 40.0, count // 10)
    renewal, slope = GENERATOR.integers(0, 200, count).astype(float), GENERATOR.normal(0, 1, count)
    chance = 1 / (1 + np.exp(2 - slope - 2 * (renewal < 30) - np.sin(days)))
    labels = (GENERATOR.random(count) < chance).astype(float)
    matrix = np.column_stack([slope, renewal, np.full(count, 200.0)])
    cutoffs = Cutoffs(days, since=0.0, span=30.0)
    trainer = Trainer(matrix, labels, categorical=[], hyperparameters=Hyperparameters(), cutoffs=cutoffs, terms=(1, 2))
    early, late = np.flatnonzero(days < 240), np.flatnonzero(days >= 240)
    rows = HorizonRows(((early, late),), np.arange(count), late)
    return trainer.train_horizon(30, rows, reach=30), matrix


def test_what_a_terms_end_means_is_explained_as_the_renewal(trained):
    model, matrix = trained
    parts, bare = model.contributions(matrix), replace(model, term_cells=None).contributions(matrix)
    assert np.array_equal(parts[:, 1], bare[:, 1] + model.term_cells.log_odds(matrix))
    assert np.array_equal(parts[:, [0, 2]], bare[:, [0, 2]])
    rest = model.log_odds(matrix) - parts.sum(axis=1)
    assert rest == pytest.approx(np.full(len(matrix), rest[0]), abs=1e-9)


def test_the_level_moves_with_as_of_and_ranks_stay(trained):
    model, matrix = trained
    assert model.level
    first, second = (model.probabilities(matrix, np.full(len(matrix), day)) for day in (400.0, 440.0))
    assert abs(first.mean() - second.mean()) > 0.02
    assert np.array_equal(np.argsort(first, kind="stable"), np.argsort(second, kind="stable"))
    assert np.array_equal(model.probabilities(matrix), model.calibrator(model.log_odds(matrix)))
