import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, chi2

from monitoring.experiments.assignment import draw_lot
from monitoring.experiments.effect import estimate_effect
from monitoring.experiments.lottery import draw_at_line
from tests.support.lots import design, simulate_company


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


def test_a_lottery_run_week_by_week_draws_halves_and_estimates_the_truth():
    made = [
        simulate_company(0.1, experiment=design(band=5, holdout=0.05), weeks=40, owners=2, seed=seed)
        for seed in range(4)
    ]
    drawn = [m.loc[m["purpose"] == "lottery"].reset_index(drop=True) for m in made]
    together = pd.concat(drawn)
    # Half of each band is drawn: the shares differ from a half by what is held out alone.
    assert together["treated"].mean() == pytest.approx(0.5, abs=0.01)
    assert together.loc[together["treated"], "reached"].all()
    assert together.loc[~together["treated"], "reached"].mean() < 0.05
    errors = [estimate_effect(m).effect - m["truth"].mean() for m in drawn]
    assert np.mean(errors) == pytest.approx(0.0, abs=3 * 0.05 / np.sqrt(len(errors)))


def test_drawing_those_anew_who_lost_would_not_draw_halves():
    # What the rule "each family is drawn once" is for: those who lost fill the band, and newcomers win too often.
    random, lots, shares = np.random.default_rng(8), [], []
    for _ in range(300):
        fresh = random.random(4).tolist()
        entered = [*fresh, *lots][:8]
        drawn = draw_at_line(entered, taken=4, band=4)
        chosen = {entered[place] for place in drawn.order[:4]}
        shares += [lot in chosen for lot in fresh]
        lots = sorted(lot for lot in entered if lot not in chosen)
    assert np.mean(shares[40:]) > 0.6


def test_a_hundred_thousand_assignments_are_balanced_in_every_stratum():
    random = np.random.default_rng(4)
    stratum = random.integers(0, 25, 100_000)
    for purpose, share in (("holdout", 0.05), ("lottery", 0.5)):
        lots = np.array([draw_lot(f"account-{i}", experiment="x", purpose=purpose) for i in range(100_000)])
        sizes, drawn = np.bincount(stratum), np.bincount(stratum[lots < share])
        statistic = ((drawn - sizes * share) ** 2 / (sizes * share * (1 - share))).sum()
        assert chi2.sf(statistic, len(sizes)) > 1e-3


def test_another_process_draws_the_same_lots():
    drawn = "draw_lot('Å/1', experiment='x', purpose='holdout')"
    code = f"from monitoring.experiments.assignment import draw_lot; print({drawn})"
    environment = os.environ | {"PYTHONHASHSEED": "77", "LC_ALL": "C"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert float(done.stdout) == draw_lot("Å/1", experiment="x", purpose="holdout")
