"""Figures that agree with scikit-learn, intervals that mean what they say, and honest verdicts."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from training.evaluation import bootstrap, evaluate
from training.evaluation.metrics import FIGURES, RankedScores


def auc_draws(labels, scores, accounts, *, seed):
    ranked = [RankedScores(labels, s) for s in scores]
    return bootstrap.bootstrap_figures(labels, accounts, lambda w: [r.compute_auc(w) for r in ranked], seed=seed)


def drawn(rows=2000, *, signal=1.0, base=-2.0, seed=1):
    """Labels, the probabilities they were drawn by, account ids of four rows each, and a rival without a clue."""
    random = np.random.default_rng(seed)
    scores = expit(base + signal * random.normal(size=rows))
    labels = (random.random(rows) < scores).astype(float)
    accounts = np.array([f"A{i // 4}" for i in range(rows)])
    return labels, scores, accounts, {"recency": random.random(rows)}


def judged(labels, scores, accounts, rivals, *, seed=7, **rest):
    return evaluate.evaluate(labels, scores, accounts, rivals, seed=seed, **rest)


def about(rows):
    """Four cutoffs, an attribute of three values, one of too many, one that is the same for all, and a tier."""
    random = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "as_of": pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(np.arange(rows) % 4 * 31, unit="D"),
            "plan": random.choice(["basic", "plus", None], rows),
            "city": [f"C{i}" for i in range(rows)],
            "country": "NL",
            "tier": random.integers(1, 6, rows),
            "seats": random.integers(1, 6, rows),
        }
    )


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
    for _ in range(bootstrap.ROUNDS):
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
    assert 0 < len(draws) < bootstrap.ROUNDS
    assert (draws == 1.0).all()


def test_all_scores_are_judged_on_the_same_draws():
    labels, scores, accounts, _ = drawn(400)
    draws = auc_draws(labels, [scores, 2 * scores, -scores], accounts, seed=1)
    assert draws.shape == (bootstrap.ROUNDS, 3)
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


def test_every_figure_has_an_interval_around_it_on_the_same_draws():
    labels, scores, accounts, rivals = drawn()
    found = judged(labels, scores, accounts, rivals, values=np.ones(len(labels)))
    assert set(found.intervals) == set(FIGURES)
    for name, (low, high) in found.intervals.items():
        assert low <= getattr(found, name) <= high, name
    assert found.intervals["auc"] == (found.auc_low, found.auc_high)
    # Of one draw, a lift is its capture over the share.
    assert found.intervals["lift_10"] == pytest.approx([10 * x for x in found.intervals["capture_10"]])


def test_without_money_no_value_is_captured_and_no_interval_told():
    found = judged(*drawn(400))
    assert found.value_captured_10 is None
    assert "value_captured_10" not in found.intervals


def test_segments_are_the_values_of_attributes_that_have_few():
    labels, scores, accounts, rivals = drawn()
    rows = about(2000)
    found = judged(labels, scores, accounts, rivals, attributes=rows)
    assert [(p.by, p.value) for p in found.by_segment] == [
        *(("plan", v) for v in ("basic", "plus")),
        *(("tier", str(v)) for v in range(1, 6)),
    ]
    basic = (rows["plan"] == "basic").to_numpy()
    part = found.by_segment[0]
    assert (part.rows, part.positives) == (basic.sum(), labels[basic].sum())
    assert part.score == pytest.approx(scores[basic].mean())
    assert part.auc == pytest.approx(roc_auc_score(labels[basic], scores[basic]))
    assert part.auc_low < part.auc < part.auc_high
    assert part.auc_high - part.auc_low > found.auc_high - found.auc_low


def test_each_cutoff_has_its_figures():
    labels, scores, accounts, rivals = drawn()
    found = judged(labels, scores, accounts, rivals, attributes=about(2000)).by_cutoff
    assert [p.value for p in found] == ["2024-01-01", "2024-02-01", "2024-03-03", "2024-04-03"]
    assert [p.rows for p in found] == [500] * 4
    assert found[1].base_rate == labels[1::4].mean()
    assert found[1].auc == pytest.approx(roc_auc_score(labels[1::4], scores[1::4]))


def test_the_auc_within_a_cutoff_is_the_mean_over_cutoffs_and_has_an_interval():
    labels, scores, accounts, rivals = drawn()
    found = judged(labels, scores, accounts, rivals, attributes=about(2000))
    assert found.auc_within == pytest.approx(np.mean([p.auc for p in found.by_cutoff]))
    low, high = found.intervals["auc_within"]
    assert low < found.auc_within < high
    assert judged(labels, scores, accounts, rivals).auc_within is None
    assert found.as_dict()["auc_within"] == found.auc_within


def test_scores_that_know_when_and_not_who_are_no_signal():
    random = np.random.default_rng(4)
    months = np.arange(2000) % 4
    labels = (random.random(2000) < np.array([0.2, 0.4, 0.6, 0.8])[months]) * 1.0
    scores = 0.2 + months * 0.2 + random.normal(0, 0.01, 2000)
    noise = {"noise": random.random(2000)}
    found = judged(labels, scores, np.arange(2000), noise, attributes=about(2000)[["as_of"]])
    assert found.auc_low > 0.6
    assert found.verdict == "no_signal"
    assert "it knows when, and not who" in found.reasons[0]


def test_a_segment_of_too_few_positives_has_no_auc():
    labels, scores, accounts, rivals = drawn()
    few = np.flatnonzero(labels)[:9]
    plan = np.where(np.isin(np.arange(2000), few) | (np.arange(2000) % 5 == 0) & (labels == 0), "rare", "plus")
    rare = judged(labels, scores, accounts, rivals, attributes=pd.DataFrame({"plan": plan})).by_segment[1]
    assert (rare.value, rare.positives) == ("rare", 9)
    assert (rare.auc, rare.auc_low, rare.auc_high) == (None, None, None)


def test_the_champion_stands_beside_the_baselines_but_the_verdict_leaves_it_aside():
    labels, scores, accounts, rivals = drawn()
    found = judged(labels, scores, accounts, rivals, champion=scores)
    assert found.baselines["champion"].auc == found.auc
    assert found.verdict == "signal"
    assert found == dataclasses.replace(judged(labels, scores, accounts, rivals), baselines=found.baselines)


def test_it_is_calibrated_where_its_error_is_small_or_no_more_than_noise():
    labels, scores, accounts, rivals = drawn()
    found = judged(labels, scores, accounts, rivals)
    assert found.calibrated
    assert not judged(labels, scores**0.5, accounts, rivals).calibrated
    assert dataclasses.replace(found, ece=0.05, ece_noise=0.06).calibrated
    assert not dataclasses.replace(found, ece=0.05, ece_noise=0.04).calibrated


def test_for_machines_it_is_json_of_the_contracts_keys():
    plain = json.loads(json.dumps(judged(*drawn(), attributes=about(2000)).as_dict(), allow_nan=False))
    assert set(plain) == {field.name for field in dataclasses.fields(evaluate.Evaluation)}
    assert set(plain) >= {
        *("rows", "base_rate", "auc", "auc_low", "auc_high", "ap", "brier", "ece", "lift_10"),
        *("baselines", "verdict", "reasons"),
    }
    assert set(plain["baselines"]["recency"]) == {"auc", "ap"}
