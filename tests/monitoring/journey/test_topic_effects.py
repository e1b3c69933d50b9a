"""Effects of topics on leaving: found where they are, with intervals that hold, and none where links are shuffled."""

from datetime import UTC, datetime

import numpy as np
import pytest

from monitoring.journey.exposures import Exposures
from monitoring.journey.rising_topics import compute_p
from monitoring.journey.topic_costs import shrink_effects
from monitoring.journey.topic_effects import estimate_effects, find_discoveries, fit_logistic

TOPICS = ("harmless", "costly", "sick accounts' own")
DAY = datetime(2025, 1, 1, tzinfo=UTC)


def simulate(seed, *, effect=0.12, accounts=1_500, weeks=6):
    """Simulate weeks: sick accounts leave and open tickets of the third topic, which does nothing by itself."""
    rng = np.random.default_rng(seed)
    account = np.repeat(np.arange(accounts), weeks)
    sick = np.repeat(rng.normal(size=accounts), weeks)
    chance = np.stack([np.full(len(sick), 0.03), np.full(len(sick), 0.03), 0.06 / (1 + np.exp(-1.5 * sick))], axis=1)
    hit = rng.random(chance.shape) < chance
    base = 1 / (1 + np.exp(2.5 - sick))
    left = (rng.random(len(sick)) < np.clip(base + effect * hit[:, 1], 0, 1)).astype(float)
    none = np.zeros_like(hit)
    ones = np.ones(len(sick))
    return Exposures(account, sick[:, None], hit, none, hit.sum(axis=1).astype(float), left, ones, TOPICS, DAY, DAY, 90)


def test_the_effect_is_found_and_sickness_is_no_effect():
    found = [{e.topic_id: e for e in estimate_effects(simulate(seed))} for seed in range(12)]
    for topic, truth in zip(TOPICS, (0.0, 0.12, 0.0), strict=True):
        assert sum(one[topic].low <= truth <= one[topic].high for one in found) >= 10
        assert np.mean([one[topic].effect for one in found]) == pytest.approx(truth, abs=0.02)
    assert sum(one["costly"].is_told for one in found) >= 10
    # Without adjustment the third topic would seem to cost: its accounts leave far more often.
    assert np.mean([one[TOPICS[2]].left for one in found]) > np.mean([one["harmless"].left for one in found]) + 0.03


def test_where_nothing_costs_hardly_anything_is_told():
    told = [any(e.is_told and e.effect > 0 for e in estimate_effects(simulate(s, effect=0.0))) for s in range(40)]
    assert sum(told) <= 2


def test_too_few_hits_say_nothing():
    assert estimate_effects(simulate(1, accounts=60, weeks=2)) == []


def test_discoveries_are_those_of_benjamini_and_hochberg():
    assert find_discoveries([0.01, 0.02, 0.03, 0.9], 0.05).tolist() == [True, True, True, False]
    assert find_discoveries([0.2, 0.9], 0.1).tolist() == [False, False]
    assert find_discoveries([], 0.1).tolist() == []


def test_a_logistic_regression_finds_its_coefficients():
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(20_000, 2))
    outcome = (rng.random(20_000) < 1 / (1 + np.exp(1 - rows @ [1.0, -0.5]))).astype(float)
    assert fit_logistic(rows, outcome, np.ones(20_000), shrinkage=0.1) == pytest.approx([-1, 1, -0.5], abs=0.06)


def test_noisy_effects_are_drawn_to_the_mean_and_a_short_past_says_less():
    effects = {e.topic_id: e for e in estimate_effects(simulate(3))}
    drawn = shrink_effects(effects)
    assert min(e.effect for e in effects.values()) <= min(drawn.values())
    assert max(drawn.values()) <= max(e.effect for e in effects.values())
    past = np.array([4.0, 6.0, 5.0, 3.0, 7.0, 5.0, 5.0, 5.0])
    assert compute_p(12, past) < compute_p(12, np.tile(past, 3) * np.tile([0.4, 1.6], 12))
