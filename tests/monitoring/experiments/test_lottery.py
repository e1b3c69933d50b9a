import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from monitoring.experiments.assignment import draw_lot
from monitoring.experiments.lottery import draw_at_line


@given(lots=st.lists(st.floats(0, 1), max_size=40), taken=st.integers(0, 40), band=st.integers(0, 20))
def test_as_many_are_taken_as_without_lots_and_only_the_band_moves(lots, taken, band):
    taken = min(taken, len(lots))
    drawn = draw_at_line(lots, taken=taken, band=band)
    assert sorted(drawn.order) == [*range(len(lots))]
    moved = [place for place, there in enumerate(drawn.order) if place != there]
    assert set(moved) <= set(drawn.band)
    assert sum(place < taken for place in drawn.band) * 2 == len(drawn.band)


def test_each_of_the_band_is_taken_by_its_probability():
    random = np.random.default_rng(3)
    taken = np.zeros(10)
    for _ in range(4_000):
        drawn = draw_at_line(random.random(10).tolist(), taken=4, band=3)
        taken[list(drawn.order[:4])] += 1
    assert drawn.band == (1, 2, 3, 4, 5, 6)
    assert taken[0] == 4_000
    assert not taken[7:].any()
    for place in drawn.band:
        assert binomtest(int(taken[place]), 4_000, drawn.probability).pvalue > 1e-4


def test_without_a_line_nothing_is_drawn():
    for total, taken, band in [(5, 5, 3), (5, 0, 3), (5, 3, 0), (0, 0, 5)]:
        drawn = draw_at_line([0.5] * total, taken=taken, band=band)
        assert (drawn.band, drawn.order) == ((), tuple(range(total)))


def test_lots_are_even_independent_and_the_same_on_every_machine():
    holdout = np.array([draw_lot(f"account {i}", experiment="x", purpose="holdout") for i in range(20_000)])
    lottery = np.array([draw_lot(f"account {i}", experiment="x", purpose="lottery") for i in range(20_000)])
    assert abs(holdout.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(holdout, lottery)[0, 1]) < 0.03
    assert binomtest(int((holdout < 0.1).sum()), 20_000, 0.1).pvalue > 1e-3
    assert draw_lot("A", experiment="standing", purpose="lottery") == 0.1595734136583075
    assert draw_lot("A", experiment="other", purpose="lottery") != draw_lot(
        "A", experiment="standing", purpose="lottery"
    )
