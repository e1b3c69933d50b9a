import re

import numpy as np
import pandas as pd
import pytest

from features.core.language import ENGLISH, Language, Phrase
from features.settings import Experiment
from monitoring.experiments.confidence_sequence import bound_mean
from monitoring.experiments.effect import LEAST_PER_ARM, estimate_effect
from monitoring.experiments.statement import Statement, Wording, compute_saved_revenue, state_result
from monitoring.experiments.status import list_wordings

WORDS = Wording("Whether alerts save accounts", "Alerts save accounts", "Alerts lose accounts", ("told", "not told"))


def state(found, value=1e6, words=WORDS, when="14 months to go at this rate.", language=ENGLISH):
    saved = compute_saved_revenue(found, {"EUR": value})
    said = state_result(found, words, saved=saved, span=Phrase("a year"), when=when)
    return Statement(said.say.say(language), said.do_not_say.say(language))


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
    assert state(found).say.startswith("Whether alerts save accounts can't be told yet: the outcome is known of")
    assert state(found).say.endswith("14 months to go at this rate.")
    one_arm = estimate_effect(draws(months=2).assign(treated=True))
    assert (one_arm.control, one_arm.effect) == (0, None)


def test_nothing_is_said_before_both_arms_have_enough():
    made = draws(months=30, units=40, chance=0.95)
    found = estimate_effect(made)
    ends = np.cumsum(made.groupby("as_of").size())
    smaller = np.minimum(made["treated"].cumsum(), (~made["treated"]).cumsum())
    for end, (_, _, low, _) in zip(ends, found.looks, strict=True):
        assert np.isfinite(low) == (smaller[end - 1] >= LEAST_PER_ARM)


def test_the_sentence_that_may_be_quoted_has_its_interval():
    found = estimate_effect(draws(0.25, units=60))
    said = state(found)
    assert said.say.startswith("Alerts save accounts: +")
    assert f"EUR {found.low * 1e6:,.0f} to {found.high * 1e6:,.0f} a year" in said.say
    assert "without its interval" in said.do_not_say
    still_open = state(estimate_effect(draws(0.02)))
    assert "can't be told yet" in still_open.say
    assert "the interval holds zero too" in still_open.do_not_say


@pytest.mark.parametrize("found", [{"effect": 0.3, "months": 1}, {"effect": 0.25, "units": 60}, {"effect": 0.02}])
def test_what_may_be_said_is_said_in_chinese(found):
    for title, words in dict(list_wordings(Experiment(band=5, holdout=0.05))).values():
        said = state(estimate_effect(draws(**found)), words=words, when="", language=Language("zh_Hans"))
        texts = (title.say(Language("zh_Hans")), said.say, said.do_not_say)
        assert not [text for text in texts if re.search("[a-z]", text)]


def test_saved_revenue_is_by_currency():
    found = estimate_effect(draws(0.25, units=60))
    euros, pounds = compute_saved_revenue(found, {"GBP": 500.0, "EUR": 1_000.0})
    assert (euros.currency, pounds.currency) == ("EUR", "GBP")
    assert (euros.low, euros.saved, euros.high) == (1_000 * found.low, 1_000 * found.effect, 1_000 * found.high)
    few = estimate_effect(draws(months=1))
    assert compute_saved_revenue(few, {"EUR": 9.0})[0].saved is None


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
