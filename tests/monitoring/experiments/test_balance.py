"""The test of the arms' sizes, at one look against scipy and at many looks against chance."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chisquare

from monitoring.experiments.balance import SUSPICIOUS, compare_arms, compute_size_p_value
from tests.support.lots import simulate_draws


@pytest.mark.parametrize("chance", [0.5, 0.95])
def test_lots_are_seldom_suspected_at_any_of_many_looks(chance):
    random, looks = np.random.default_rng(1), np.repeat(np.arange(100), 20)
    p_values = [
        compute_size_p_value(random.random(2_000) < chance, np.full(2_000, chance), looks) for _ in range(200)
    ]  # fmt: skip
    assert np.mean(np.array(p_values) < 0.05) <= 0.05
    # A chi-square test read at every look would suspect far more.
    falsely = 0
    for _ in range(60):
        treated = random.random(2_000) < chance
        sizes = [(treated[:n].sum(), n) for n in range(100, 2_001, 50)]
        falsely += any(chisquare([t, n - t], [n * chance, n * (1 - chance)]).pvalue < 0.05 for t, n in sizes)
    assert falsely > 6


@pytest.mark.parametrize(("chance", "shift"), [(0.5, 0.06), (0.95, 0.03)])
def test_sizes_that_chi_square_finds_impossible_are_suspected(chance, shift):
    treated = np.random.default_rng(2).random(3_000) < chance - shift
    expected = [3_000 * chance, 3_000 * (1 - chance)]
    assert chisquare([treated.sum(), (~treated).sum()], expected).pvalue < 1e-6
    assert compute_size_p_value(treated, np.full(3_000, chance), np.repeat(np.arange(30), 100)) < 0.001


def test_what_was_known_at_the_draw_is_shown_of_both_arms():
    made = simulate_draws(0.0, seed=3)
    made.loc[made["treated"], "value"] *= 3
    balance = compare_arms(made)
    rows = {row.name: row for row in balance.rows}
    assert rows["value (logarithm)"].difference > 0.5
    assert abs(rows["score"].difference) < 0.3
    assert rows["tier A"].treated == pytest.approx((made.loc[made["treated"], "tier"] == "A").mean())
    assert balance.treated == made["treated"].sum()


def test_without_draws_nothing_is_suspected():
    none = pd.DataFrame({"as_of": [], "treated": [], "probability": [], "score": [], "value": [], "tier": []})
    assert (compare_arms(none).p_value, compare_arms(none).rows) == (1.0, ())


def test_a_fifth_of_the_control_counted_as_drawn_is_named_and_sound_lots_are_not():
    named = {0.0: 0, 0.2: 0}
    for seed in range(60):
        random = np.random.default_rng(seed)
        for moved in named:
            made = simulate_draws(0.0, months=24, units=30, seed=seed)[["as_of", "treated", "probability"]]
            treated = made["treated"].to_numpy() | (random.random(len(made)) < moved)
            p_value = compute_size_p_value(treated, made["probability"].to_numpy(), made["as_of"].to_numpy())
            named[moved] += p_value < SUSPICIOUS
    assert named[0.2] >= 57
    assert named[0.0] <= 2
