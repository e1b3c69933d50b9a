import numpy as np
import pandas as pd
import pytest

from monitoring.experiments.confidence_sequence import bound_mean
from monitoring.experiments.effect import describe_effect, estimate_effect
from monitoring.experiments.plan import compute_power


def draws(effect=0.0, *, months=24, units=30, seed=1, chance=0.5):
    """Draw units whose retention depends on their score, and on the alert by the effect."""
    random = np.random.default_rng(seed)
    n = months * units
    score = random.beta(2, 4, n)
    treated = random.random(n) < chance
    kept = random.random(n) < np.clip(1 - score + effect * treated, 0, 1)
    return pd.DataFrame(
        {
            "unit": [f"u{i:05d}" for i in range(n)],
            "as_of": np.repeat(np.arange(months), units) * 1_000,
            "treated": treated,
            "probability": chance,
            "kept": kept.astype(float),
            "score": score,
            "value": random.lognormal(8, 1, n),
            "tier": random.choice(list("ABCDE"), n),
        }
    )


@pytest.mark.parametrize(("effect", "seed"), [(0.0, 1), (0.15, 2), (-0.1, 3)])
def test_the_truth_is_covered_at_every_look(effect, seed):
    covered = []
    for repeat in range(40):
        made = draws(effect, seed=1_000 * seed + repeat)
        truth = float(np.mean(np.clip(1 - made["score"] + effect, 0, 1) - (1 - made["score"])))
        found = estimate_effect(made)
        covered.append(all(low <= truth <= high for _, _, low, high in found.looks))
    assert np.mean(covered) >= 0.95


def test_an_effect_shows_in_time_and_has_its_sign():
    saves, harms = estimate_effect(draws(0.25, units=60)), estimate_effect(draws(-0.25, units=60))
    assert (saves.verdict, harms.verdict) == ("saves", "harms")
    assert saves.effect == pytest.approx(0.2, abs=0.08)
    assert saves.kept_treated > saves.kept_control


def test_adjusting_makes_the_interval_narrower():
    made = draws(0.1, months=40, units=60)
    blind = made.assign(score=0.3, value=1.0, tier="A")
    adjusted, plain = estimate_effect(made), estimate_effect(blind)
    assert adjusted.high - adjusted.low < plain.high - plain.low


def test_few_units_say_nothing():
    found = estimate_effect(draws(0.3, months=1, units=30))
    assert (found.low, found.verdict) == (None, "open")
    said = describe_effect(found, treated_value=1e6, currency="EUR")
    assert "can't be told yet" in said["say"]
    one_arm = estimate_effect(draws(months=2).assign(treated=True))
    assert (one_arm.control, one_arm.effect) == (0, None)


def test_the_sentence_that_may_be_quoted_has_its_interval():
    found = estimate_effect(draws(0.25, units=60))
    said = describe_effect(found, treated_value=1_000_000.0, currency="EUR")
    assert said["say"].startswith("Alerts save accounts: +")
    assert f"EUR {found.low * 1e6:,.0f} to {found.high * 1e6:,.0f} a year" in said["say"]
    assert "without its interval" in said["do_not_say"]
    still_open = describe_effect(estimate_effect(draws(0.02)), treated_value=1e6, currency="EUR")
    assert "can't be told yet" in still_open["say"]


def test_a_forced_imbalance_shows():
    assert estimate_effect(draws()).imbalance > 0.01
    forced = draws()
    forced["treated"] |= forced.index % 5 == 0
    assert estimate_effect(forced).imbalance < 0.001


def test_unequal_chances_do_not_bias():
    made = draws(0.1, months=60, units=60, chance=0.8)
    truth = float(np.mean(np.clip(1 - made["score"] + 0.1, 0, 1) - (1 - made["score"])))
    assert estimate_effect(made).effect == pytest.approx(truth, abs=0.03)


def test_a_sequence_is_tightest_where_it_shall_be():
    values = np.random.default_rng(5).normal(size=5_000)
    near, far = bound_mean(values, tightest=100), bound_mean(values, tightest=5_000)
    assert near.high[99] - near.low[99] < far.high[99] - far.low[99]
    assert near.high[-1] - near.low[-1] > far.high[-1] - far.low[-1]
    assert np.isinf(near.high[:39]).all()


def test_power_grows_with_time_and_effect(monkeypatch):
    monkeypatch.setattr("monitoring.experiments.plan._RUNS", 100)
    large = compute_power(60, retention=0.7, effect=0.2, months=12)
    small = compute_power(60, retention=0.7, effect=0.05, months=12)
    assert list(large.power) == sorted(large.power)
    assert large.power[-1] > 0.9 > small.power[-1]
    assert large.find_month() < 12
    assert small.find_month() is None
