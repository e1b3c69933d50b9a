"""A model stored before offsets, text terms and levels were there: it loads, and scores as it did then."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from training.models.model import Model

FOLDER = Path(__file__).parent / "older_model"


@pytest.fixture(scope="module")
def older():
    return Model.load(FOLDER)


@pytest.fixture(scope="module")
def recorded():
    fields = json.loads((FOLDER / "scores.json").read_text(encoding="utf-8"))
    return {name: np.array([[float.fromhex(v) for v in row] for row in rows]) for name, rows in fields.items()}


def test_it_lacks_what_came_later(older):
    for horizon_model in older.horizon_models:
        assert (horizon_model.term_cells, horizon_model.level) == (None, None)
        assert horizon_model.linear.texts == ()
    assert older.inputs == older.features


def test_its_scores_and_contributions_are_those_of_then(older, recorded):
    matrix = older.matrix(older.reference)
    # exp and log1p differ in the last bit between processors; on one of them nothing else may.
    np.testing.assert_allclose(older.probabilities(matrix), recorded["probabilities"], rtol=1e-12, atol=0)
    np.testing.assert_allclose(older.contributions(matrix, 90), recorded["contributions"], rtol=1e-9, atol=1e-12)


def test_saved_again_and_loaded_it_gives_the_same_bits(older, tmp_path):
    older.save(tmp_path)
    matrix = older.matrix(older.reference)
    assert Model.load(tmp_path).probabilities(matrix).tobytes() == older.probabilities(matrix).tobytes()
