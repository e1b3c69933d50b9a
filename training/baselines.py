"""Simple rivals that a model must beat: recency alone, and a logistic regression on a few features."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

_RECENCY = ("days_since_usage", "days_since_ticket", "days_since_purchase")
_FEW = (
    *_RECENCY,
    "orders_90d",
    "orders_365d",
    "spend_90d",
    "spend_365d",
    "usage_events_30d",
    "usage_events_90d",
    "tickets_90d",
    "tenure_days",
)
_LONG_AGO = 10_000.0  # days; what never happened


def rivals(train: pd.DataFrame, labels: np.ndarray, test: pd.DataFrame, *, target: str) -> dict[str, np.ndarray]:
    """Each baseline's scores of the test snapshots.

    Args:
        train: Snapshots learned from.
        labels: Their labels, (n,) of 0 and 1.
        test: Snapshots to score.
        target: churn grows with silence, upsell falls with it.
    """
    silent = recency(test)
    return {"recency": silent if target == "churn" else -silent, "rfm_logistic": _logistic(train, labels, test)}


def recency(frame: pd.DataFrame) -> np.ndarray:
    """Days since the account was last heard of, by whatever source: usage, ticket or purchase."""
    there = [c for c in _RECENCY if c in frame]
    return frame[there].min(axis=1).fillna(_LONG_AGO).to_numpy(dtype="float64")


def _logistic(train: pd.DataFrame, labels: np.ndarray, test: pd.DataFrame) -> np.ndarray:
    """Recency, frequency and money, by logarithms, in a logistic regression."""
    columns = [c for c in _FEW if c in train]
    model = make_pipeline(
        FunctionTransformer(lambda x: np.sign(x) * np.log1p(np.abs(x))),
        StandardScaler(),
        LogisticRegression(max_iter=1000),
    )
    filled, asked = (f[columns].fillna(_LONG_AGO).to_numpy() for f in (train, test))
    model.fit(filled, labels)
    return model.predict_proba(asked)[:, 1]
