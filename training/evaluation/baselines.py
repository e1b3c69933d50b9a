"""Scores baselines that a model must beat: the base rate, recency, tenure, a logistic regression, BG/NBD."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from training.models import bg_nbd

_TENURE = "tenure_days"
_RECENCY = ("days_since_usage", "days_since_ticket", "days_since_purchase")
_TABLES = {
    "days_since_usage": "usage",
    "days_since_ticket": "tickets",
    "days_since_purchase": "purchases",
    "days_since_first_purchase": "purchases",
}
_FEW = (
    *_RECENCY,
    "orders_90d",
    "orders_365d",
    "spend_90d",
    "spend_365d",
    "usage_events_30d",
    "usage_events_90d",
    "tickets_90d",
    _TENURE,
)
_WINDOWS = (30, 60, 90, 180, 365)  # days, of the features named spend_
# What they look at, where it is there.
COLUMNS = frozenset({*_FEW, *bg_nbd.COLUMNS, *(f"spend_{w}d" for w in _WINDOWS)})
_LONG_AGO = 10_000.0  # days; what never happened
_BUYERS = 20_000  # accounts that four parameters are fitted on
_FEWEST_BUYERS = 50


def score_baselines(  # noqa: PLR0913  # all but the rows themselves named
    train: pd.DataFrame,
    labels: np.ndarray,
    test: pd.DataFrame,
    *,
    target: str,
    horizon: int,
    lead: int = 0,
    lags: Mapping[str, float] | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Return each baseline's scores of the test snapshots.

    Args:
        train: Snapshots learned from, of the columns account_id and as_of too.
        labels: Their labels, (n,) of 0 and 1.
        test: Snapshots to score.
        target: churn grows with silence, upsell falls with it.
        horizon: Days that BG/NBD looks ahead.
        lead: Days before they begin.
        lags: Days by which a table's events become known later, by table. They are no silence of an account: what is
            seen of it ends so long before `as_of`, and baselines look from there, as any model can.
        seed: Of the sample of accounts that BG/NBD is fitted on.
    """
    lags = lags or {}
    train, test = (_look_from_known(frame, lags) for frame in (train, test))
    lead += round(lags.get("purchases", 0.0))
    days_silent = compute_recency(test)
    scores = {
        "base_rate": np.full(len(test), labels.mean()),
        "recency": days_silent if target == "churn" else -days_silent,
        "rfm_logistic": _score_logistic(train, labels, test, _FEW),
    }
    if _TENURE in train:
        scores["tenure"] = _score_logistic(train, labels, test, (_TENURE,))
    model = fit_purchase_model(train, seed=seed)
    if model is None:
        return scores
    rank = _score_lapse if target == "churn" else _score_growth
    return scores | {"bg_nbd": rank(model, test, horizon, lead)}


def _look_from_known(frame: pd.DataFrame, lags: Mapping[str, float]) -> pd.DataFrame:
    """Return the snapshots with days since an event counted back from the last instant that is known of its table."""
    shifted = {
        column: (frame[column] - lags[table]).clip(0.0)
        for column, table in _TABLES.items()
        if column in frame and lags.get(table)
    }
    return frame.assign(**shifted) if shifted else frame


def fit_purchase_model(train: pd.DataFrame, *, seed: int) -> bg_nbd.BgNbd | None:
    """Fit BG/NBD to the newest snapshot of each account; return None without purchases, or with too few buyers."""
    if not {*bg_nbd.COLUMNS} <= {*train.columns}:
        return None
    newest = train.sort_values("as_of", kind="stable").drop_duplicates("account_id", keep="last")
    bought = newest[newest["orders_in_all"] > 0]
    if len(bought) < _FEWEST_BUYERS:
        return None
    return bg_nbd.fit_bg_nbd(
        bg_nbd.Buyers.from_snapshots(bought.sample(_BUYERS, random_state=seed) if len(bought) > _BUYERS else bought)
    )


def _score_lapse(model: bg_nbd.BgNbd, test: pd.DataFrame, horizon: int, lead: int) -> np.ndarray:
    """Return the chance of no order within the horizon; it is 1 for an account that never ordered."""
    bought = (test["orders_in_all"] > 0).to_numpy()
    chances = np.ones(len(test))
    chances[bought] = model.estimate_silence(bg_nbd.Buyers.from_snapshots(test[bought]), horizon, lead=lead)
    return chances


def _score_growth(model: bg_nbd.BgNbd, test: pd.DataFrame, horizon: int, lead: int) -> np.ndarray:
    """Return the money expected within the horizon, in usual orders, over that of as long before."""
    bought = (test["orders_in_all"] > 0).to_numpy()
    growth = np.zeros(len(test))
    orders = model.estimate_orders(bg_nbd.Buyers.from_snapshots(test[bought]), horizon, lead=lead)
    window = min(_WINDOWS, key=lambda w: abs(w - horizon))
    needs = ["spend_365d", "orders_365d", f"spend_{window}d"]
    if {*needs} <= {*test.columns}:
        year, count, before = (test.loc[bought, c].to_numpy() for c in needs)
        usual = year.clip(0.0) / np.maximum(count, 1.0)
        # One usual order is added below: who bought nothing lately has not grown without bound.
        orders = orders * usual / np.maximum(before.clip(0.0) * horizon / window + usual, 1e-9)
    growth[bought] = orders
    return growth


def compute_recency(frame: pd.DataFrame) -> np.ndarray:
    """Return the days since the account's last event in any source: usage, ticket or purchase."""
    columns = [c for c in _RECENCY if c in frame]
    return frame[columns].min(axis=1).fillna(_LONG_AGO).to_numpy(dtype="float64")


def _score_logistic(
    train: pd.DataFrame, labels: np.ndarray, test: pd.DataFrame, wanted_columns: tuple[str, ...]
) -> np.ndarray:
    """Score by a logistic regression on the logarithms of some columns, those of them that there are."""
    columns = [c for c in wanted_columns if c in train]
    model = make_pipeline(
        FunctionTransformer(lambda x: np.sign(x) * np.log1p(np.abs(x))),
        StandardScaler(),
        LogisticRegression(max_iter=1000),
    )
    filled, wanted = (f[columns].fillna(_LONG_AGO).to_numpy() for f in (train, test))
    model.fit(filled, labels)
    return model.predict_proba(wanted)[:, 1]
