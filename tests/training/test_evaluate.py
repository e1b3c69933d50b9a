"""Figures that agree with scikit-learn, intervals that mean what they say, and honest verdicts."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from training import evaluate
from training.evaluate import auc_draws, calibration_error, reliability


def drawn(rows=2000, *, signal=1.0, base=-2.0, seed=1):
    """Labels, the probabilities they were drawn by, account ids of four rows each, and a rival without a clue."""
    random = np.random.default_rng(seed)
    scores = expit(base + signal * random.normal(size=rows))
    labels = (random.random(rows) < scores).astype(float)
    accounts = np.array([f"A{i // 4}" for i in range(rows)])
    return labels, scores, accounts, {"recency": random.random(rows)}


def judged(labels, scores, accounts, rivals, *, seed=7):
    return evaluate.evaluate(labels, scores, accounts, rivals, seed=seed)


def auc_interval(labels, scores, accounts, *, seed):
    low, high = np.quantile(auc_draws(labels, [scores], accounts, seed=seed)[:, 0], [0.025, 0.975])
    return low, high


def test_the_interval_is_that_of_the_draws():
    labels, scores, accounts, rivals = drawn()
    found = judged(labels, scores, accounts, rivals, seed=5)
    assert (found.auc_low, found.auc_high) == auc_interval(labels, scores, accounts, seed=5)
    assert found.auc_low < found.auc < found.auc_high


def test_figures_are_those_of_scikit_learn():
    labels, scores, accounts, rivals = drawn()
    scores = scores.round(2)  # with ties
    found = judged(labels, scores, accounts, rivals)
    assert found.rows == 2000
    assert found.base_rate == labels.mean()
    assert found.auc == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert found.ap == pytest.approx(average_precision_score(labels, scores), abs=1e-12)
    assert found.brier == pytest.approx(brier_score_loss(labels, scores), abs=1e-12)
    assert found.baselines["recency"].auc == pytest.approx(roc_auc_score(labels, rivals["recency"]), abs=1e-12)
    assert found.baselines["recency"].ap == pytest.approx(average_precision_score(labels, rivals["recency"]), abs=1e-12)


def test_lift_is_the_share_among_the_highest_tenth_against_the_base_rate():
    labels = np.array([1.0, 1.0] + [0.0] * 10 + [1.0, 1.0] + [0.0] * 6)
    scores = np.linspace(1, 0, 20)
    found = judged(labels, scores, np.arange(20), {"recency": scores})
    assert found.lift_10 == pytest.approx(1.0 / 0.2)


def test_the_bootstrap_with_ties_is_that_of_scikit_learn_on_the_drawn_rows():
    labels, scores, accounts, _ = drawn(200, base=-1.0)
    scores = scores.round(1)
    low, high = auc_interval(labels, scores, accounts, seed=3)
    random, names = np.random.default_rng(3), [f"A{i}" for i in range(50)]
    rows = {name: np.flatnonzero(accounts == name) for name in names}
    found = []
    for _ in range(evaluate._ROUNDS):
        picked = np.concatenate([rows[names[i]] for i in random.integers(0, 50, 50)])
        found.append(roc_auc_score(labels[picked], scores[picked]))
    assert (low, high) == pytest.approx(tuple(np.quantile(found, [0.025, 0.975])), abs=1e-9)


def test_the_interval_covers_the_true_auc_about_as_often_as_it_says():
    many_labels, many_scores, _, _ = drawn(200_000)
    truth = roc_auc_score(many_labels, many_scores)
    covered = 0
    for seed in range(60):
        labels, scores, accounts, _ = drawn(600, seed=seed + 10)
        low, high = auc_interval(labels, scores, accounts, seed=seed)
        covered += low <= truth <= high
    assert covered >= 51  # of 60 at 95 %: fewer than 51 would come by chance once in a thousand times


def test_the_interval_is_wider_where_the_rows_are_of_few_accounts():
    random = np.random.default_rng(4)
    per_account = 20
    scores = np.repeat(expit(random.normal(-1, 1, 60)), per_account)
    labels = np.repeat((random.random(60) < scores[::per_account]).astype(float), per_account)
    of_accounts = np.repeat(np.arange(60), per_account)
    low, high = auc_interval(labels, scores, of_accounts, seed=1)
    low_apart, high_apart = auc_interval(labels, scores, np.arange(len(scores)), seed=1)
    assert high - low > 2.5 * (high_apart - low_apart)


def test_the_interval_is_the_same_for_the_same_seed():
    labels, scores, accounts, _ = drawn(400)
    assert auc_interval(labels, scores, accounts, seed=1) == auc_interval(labels, scores, accounts, seed=1)
    assert auc_interval(labels, scores, accounts, seed=1) != auc_interval(labels, scores, accounts, seed=2)


def test_draws_without_both_classes_are_left_out():
    labels, accounts = np.array([1.0, 0.0, 0.0]), np.array(["A", "B", "C"])
    draws = auc_draws(labels, [np.array([0.9, 0.1, 0.2])], accounts, seed=1)
    assert 0 < len(draws) < evaluate._ROUNDS
    assert (draws == 1.0).all()


def test_all_scores_are_judged_on_the_same_draws():
    labels, scores, accounts, _ = drawn(400)
    draws = auc_draws(labels, [scores, 2 * scores, -scores], accounts, seed=1)
    assert draws.shape == (evaluate._ROUNDS, 3)
    assert np.array_equal(draws[:, 0], draws[:, 1])
    assert draws[:, 2] == pytest.approx(1 - draws[:, 0])


def test_a_real_signal_is_a_signal():
    found = judged(*drawn())
    assert found.verdict == "signal"
    assert "better than the best baseline, recency" in found.reasons[0]
    assert 0 < found.lead_low < found.auc - found.baselines["recency"].auc


def test_a_small_lead_that_holds_on_every_draw_is_a_signal():
    labels, scores, accounts, _ = drawn()
    worse = scores + np.random.default_rng(9).normal(0, 0.08, len(scores))
    found = judged(labels, scores, accounts, {"rfm_logistic": worse})
    # The rival lies inside the interval of the AUC alone: only side by side can the two be told apart.
    assert found.auc_low < found.baselines["rfm_logistic"].auc
    assert found.lead_low > 0
    assert found.verdict == "signal"


def test_shuffled_labels_have_no_signal():
    labels, scores, accounts, rivals = drawn()
    for seed in range(5):
        shuffled = np.random.default_rng(seed).permutation(labels)
        assert judged(shuffled, scores, accounts, rivals).verdict == "no_signal"


def test_a_model_no_better_than_its_rival_has_no_signal():
    labels, scores, accounts, _ = drawn()
    found = judged(labels, scores, accounts, {"recency": np.zeros(len(labels)), "rfm_logistic": scores})
    assert found.verdict == "no_signal"
    assert "rfm_logistic" in found.reasons[0]


def test_a_model_below_chance_has_no_signal_even_where_its_rivals_are_worse():
    labels, scores, accounts, _ = drawn()
    assert judged(labels, -scores, accounts, {"recency": -2.0 * labels}).verdict == "no_signal"


@pytest.mark.parametrize(("positives", "verdict"), [(29, "insufficient"), (30, "signal")])
def test_fewer_than_thirty_positives_are_insufficient(positives, verdict):
    labels = np.array([1.0] * positives + [0.0] * 300)
    random = np.random.default_rng(0)
    found = judged(
        labels,
        labels * 0.5 + random.random(len(labels)) * 0.4,
        np.arange(len(labels)),
        {"recency": random.random(len(labels))},
    )
    assert found.verdict == verdict
    assert verdict == "signal" or "only 29 positives" in found.reasons[0]


def test_calibration_error_of_scores_that_come_true_is_nothing():
    labels = np.tile([1.0, 0.0, 0.0, 0.0, 0.0], 200)
    assert calibration_error(labels, np.full(1000, 0.2)) == pytest.approx(0.0, abs=1e-12)


def test_calibration_error_is_how_far_the_scores_are_off():
    labels = np.tile([1.0, 0.0, 0.0, 0.0, 0.0], 200)
    assert calibration_error(labels, np.full(1000, 0.5)) == pytest.approx(0.3)
    parted = np.repeat([1.0, 0.0], 500)
    assert calibration_error(parted, np.repeat([0.9, 0.2], 500)) == pytest.approx((0.1 + 0.2) / 2)
    assert calibration_error(parted, parted) == 0.0


def test_reliability_has_ten_bins_of_equal_size_from_low_to_high():
    labels, scores, _, _ = drawn(1005)
    bins = reliability(labels, scores)
    assert sorted(bins["rows"]) == [100] * 5 + [101] * 5
    assert bins["score"].is_monotonic_increasing
    assert np.average(bins["share"], weights=bins["rows"]) == pytest.approx(labels.mean())


def test_reliability_of_fewer_rows_than_bins_has_a_bin_a_row():
    assert reliability(np.array([0.0, 1.0]), np.array([0.1, 0.9])).to_dict("list") == {
        "rows": [1, 1],
        "score": [0.1, 0.9],
        "share": [0.0, 1.0],
    }


def test_for_machines_it_is_json_of_the_contracts_keys():
    plain = json.loads(json.dumps(judged(*drawn()).as_dict(), allow_nan=False))
    assert set(plain) == {field.name for field in dataclasses.fields(evaluate.Evaluation)}
    assert set(plain) >= {
        *("rows", "base_rate", "auc", "auc_low", "auc_high", "ap", "brier", "ece", "lift_10"),
        *("baselines", "verdict", "reasons"),
    }
    assert set(plain["baselines"]["recency"]) == {"auc", "ap"}
