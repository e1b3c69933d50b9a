"""The simple rivals a model must beat."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from training.baselines import recency, rivals


def snapshots(rows, *, seed=1):
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"days_since_usage": random.exponential(20, rows), "spend_90d": random.exponential(100, rows)})
    frame["tenure_days"] = random.uniform(1, 900, rows)
    frame["plan"] = "basic"
    return frame


def test_recency_is_the_days_since_whichever_source_was_last_heard():
    frame = pd.DataFrame(
        {"days_since_usage": [9.0, np.nan, np.nan], "days_since_ticket": [3.0, 4.0, np.nan], "spend_90d": [0.0, 0, 0]}
    )
    assert recency(frame).tolist() == [3.0, 4.0, 10_000.0]


def test_silence_speaks_for_churn_and_against_upsell():
    train, test = snapshots(100), snapshots(50, seed=2)
    labels = (train["spend_90d"] > 100).to_numpy(dtype=float)
    churn = rivals(train, labels, test, target="churn")
    upsell = rivals(train, labels, test, target="upsell")
    assert np.array_equal(churn["recency"], test["days_since_usage"])
    assert np.array_equal(upsell["recency"], -test["days_since_usage"])
    assert set(churn) == {"recency", "rfm_logistic"}


def test_the_logistic_learns_recency_frequency_and_money():
    train, test = snapshots(500), snapshots(500, seed=2)
    labels = [(f["spend_90d"] < 60).to_numpy(dtype=float) for f in (train, test)]
    scores = rivals(train, labels[0], test, target="churn")["rfm_logistic"]
    assert roc_auc_score(labels[1], scores) > 0.95
    assert ((scores > 0) & (scores < 1)).all()


def test_the_logistic_learns_nothing_from_the_test():
    train, test = snapshots(200), snapshots(50, seed=2)
    labels = (train["spend_90d"] > 100).to_numpy(dtype=float)
    alone = rivals(train, labels, test.head(1), target="churn")["rfm_logistic"]
    strange = test.assign(spend_90d=test["spend_90d"].where(test.index == 0, 1e9))
    assert rivals(train, labels, strange, target="churn")["rfm_logistic"][0] == pytest.approx(alone[0], rel=1e-12)


def test_holes_and_refunds_are_welcome():
    train = snapshots(200)
    train.loc[::3, "days_since_usage"] = np.nan
    train.loc[1::3, "spend_90d"] = -50.0
    train["days_since_ticket"] = np.nan
    labels = train["days_since_usage"].isna().to_numpy(dtype=float)
    scores = rivals(train, labels, train, target="churn")
    assert np.isfinite(np.concatenate([*scores.values()])).all()
    assert roc_auc_score(labels, scores["rfm_logistic"]) == 1.0


def test_without_any_event_source_the_rivals_are_finite_all_the_same():
    train = snapshots(50)[["tenure_days"]]
    scores = rivals(train, np.tile([0.0, 1.0], 25), train, target="churn")
    assert np.isfinite(np.concatenate([*scores.values()])).all()
