"""What two rankings share at their top."""

import numpy as np
import pytest

from training.evaluation.top_overlap import compute_top_overlap


def test_rankings_that_agree_share_all_and_opposed_ones_nothing():
    ids, scores = np.arange(400), np.random.default_rng(1).random(400)
    same, opposed = (compute_top_overlap(ids, scores, other) for other in (scores**3, -scores))
    assert (same.accounts, same.top, same.shared, same.tenth, same.tenth_shared) == (400, 20, 20, 40, 40)
    assert (opposed.share, opposed.tenth_share) == (0.0, 0.0)


def test_the_order_within_the_top_does_not_matter_and_the_tenth_is_its_own():
    ids, scores = np.arange(300), np.arange(300.0)
    shuffled = scores.copy()
    shuffled[280:] = scores[280:][::-1]
    shuffled[[275, 260]] = shuffled[[260, 275]]
    found = compute_top_overlap(ids, scores, shuffled)
    assert (found.shared, found.tenth_shared) == (20, 29)


@pytest.mark.parametrize("size", [1, 7])
def test_few_accounts_are_all_at_the_top_and_ties_are_decided_by_id(size):
    found = compute_top_overlap(np.arange(size), np.zeros(size), np.zeros(size))
    assert (found.top, found.share, found.tenth, found.tenth_share) == (size, 1.0, 1, 1.0)
