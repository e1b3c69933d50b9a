"""The simple rivals a model must beat."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from training.evaluation import baselines
from training.evaluation.baselines import compute_recency
from training.models import bg_nbd


def snapshots(rows, *, seed=1):
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"days_since_usage": random.exponential(20, rows), "spend_90d": random.exponential(100, rows)})
    frame["tenure_days"] = random.uniform(1, 900, rows)
    frame["plan"] = "basic"
    frame["account_id"] = [f"A{i // 2}" for i in range(rows)]
    frame["as_of"] = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(np.arange(rows) % 2 * 31, unit="D")
    return frame


def buyers(rows, *, seed=1):
    """Who bought often, and not of late, is gone."""
    random = np.random.default_rng(seed)
    frame = snapshots(rows, seed=seed)
    frame["orders_in_all"] = 1.0 + random.poisson(random.gamma(1, 6, rows))
    frame["days_since_first_purchase"] = random.uniform(200, 400, rows)
    since = frame["days_since_first_purchase"] * random.random(rows) ** 2
    frame["days_since_purchase"] = since.where(frame["orders_in_all"] > 1, frame["days_since_first_purchase"])
    return frame


def rivals(train, labels, test, *, target="churn", **rest):
    return baselines.score_baselines(train, labels, test, target=target, horizon=90, **rest)


def test_recency_is_the_days_since_whichever_source_was_last_heard():
    frame = pd.DataFrame(
        {"days_since_usage": [9.0, np.nan, np.nan], "days_since_ticket": [3.0, 4.0, np.nan], "spend_90d": [0.0, 0, 0]}
    )
    assert compute_recency(frame).tolist() == [3.0, 4.0, 10_000.0]


def test_a_lag_is_no_silence():
    train, test = buyers(200), buyers(100, seed=2)
    labels = (train["spend_90d"] > 100).to_numpy(dtype=float)
    plain = rivals(train, labels, test)

    def lagged(frame):
        days = ["days_since_purchase", "days_since_first_purchase"]
        return frame.assign(**{c: frame[c] + 7 for c in days}, days_since_usage=frame["days_since_usage"] + 3)

    found = rivals(lagged(train), labels, lagged(test), lags={"purchases": 7.0, "usage": 3.0})
    for name in ("recency", "rfm_logistic", "tenure"):
        assert found[name] == pytest.approx(plain[name], abs=1e-5)
    # Seven more days lie between what is seen and the horizon.
    assert found["bg_nbd"] == pytest.approx(rivals(train, labels, test, lead=7)["bg_nbd"], abs=1e-5)


def test_silence_speaks_for_churn_and_against_upsell():
    train, test = snapshots(100), snapshots(50, seed=2)
    labels = (train["spend_90d"] > 100).to_numpy(dtype=float)
    churn = rivals(train, labels, test, target="churn")
    upsell = rivals(train, labels, test, target="upsell")
    assert np.array_equal(churn["recency"], test["days_since_usage"])
    assert np.array_equal(upsell["recency"], -test["days_since_usage"])
    assert set(churn) - {"tenure"} == {"base_rate", "recency", "rfm_logistic"}
    assert (churn["base_rate"] == labels.mean()).all()


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
    train = snapshots(50)[["account_id", "as_of", "tenure_days"]]
    scores = rivals(train, np.tile([0.0, 1.0], 25), train, target="churn")
    assert np.isfinite(np.concatenate([*scores.values()])).all()


def test_where_there_are_purchases_bg_nbd_stands_beside():
    train, test = buyers(300), buyers(100, seed=2)
    labels = (train["days_since_purchase"] > 60).to_numpy(dtype=float)
    churn = rivals(train, labels, test)["bg_nbd"]
    model = baselines.fit_purchase_model(train, seed=0)
    assert np.array_equal(churn, model.estimate_silence(bg_nbd.Buyers.from_snapshots(test), 90))
    upsell = rivals(train, labels, test, target="upsell")["bg_nbd"]
    assert np.array_equal(upsell, model.estimate_orders(bg_nbd.Buyers.from_snapshots(test), 90))


def test_bg_nbd_looks_ahead_from_the_end_of_the_lead():
    train, test = buyers(300), buyers(100, seed=2)
    labels = (train["days_since_purchase"] > 60).to_numpy(dtype=float)
    model, asked = baselines.fit_purchase_model(train, seed=0), bg_nbd.Buyers.from_snapshots(test)
    for target, told in (("churn", model.estimate_silence), ("upsell", model.estimate_orders)):
        found = rivals(train, labels, test, target=target, lead=30)["bg_nbd"]
        assert np.array_equal(found, told(asked, 90, lead=30))
        assert not np.array_equal(found, told(asked, 90))


def test_bg_nbd_learns_from_the_newest_snapshot_of_each_account_alone():
    train = buyers(300)
    older = train["as_of"] < train["as_of"].max()
    changed = train.assign(orders_in_all=train["orders_in_all"].where(~older, 77.0)).sample(frac=1, random_state=3)
    assert baselines.fit_purchase_model(changed.sort_index(), seed=0) == baselines.fit_purchase_model(train, seed=0)


def test_who_never_bought_is_sure_not_to_and_grows_last():
    train, test = buyers(300), buyers(20, seed=2)
    test.loc[0, ["orders_in_all", "days_since_first_purchase", "days_since_purchase"]] = [0.0, np.nan, np.nan]
    labels = np.tile([0.0, 1.0], 150)
    assert rivals(train, labels, test)["bg_nbd"][0] == 1.0
    assert rivals(train, labels, test, target="upsell")["bg_nbd"][0] == 0.0
    assert np.isfinite(rivals(train, labels, test)["bg_nbd"]).all()


def test_growth_is_expected_money_against_the_money_before():
    train, test = buyers(300), buyers(3, seed=2)
    test = test.assign(orders_365d=4.0, spend_365d=400.0, spend_90d=[0.0, 100.0, 300.0])
    expected = baselines.fit_purchase_model(train, seed=0).estimate_orders(bg_nbd.Buyers.from_snapshots(test), 90)
    found = rivals(train, np.tile([0.0, 1.0], 150), test, target="upsell")["bg_nbd"]
    assert found == pytest.approx(expected * 100 / np.array([100, 200, 400]))


def test_too_few_who_bought_have_no_bg_nbd():
    assert baselines.fit_purchase_model(buyers(98), seed=0) is None
    assert baselines.fit_purchase_model(buyers(100), seed=0) is not None
