"""Compare a model's AUC with that of the sample's true probabilities, the best that any model can reach.

Run after training and apart from it: no part of the pipeline reads the truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from features.core.auc import auc
from features.core.errors import GarrisonError


@dataclass(frozen=True)
class Comparison:
    """A model and the oracle on the same rows.

    Args:
        target: Such as churn_90d.
        rows: Test rows.
        auc: Of the model.
        oracle_auc: Of the true probabilities: the best that any model can reach, but for luck.
    """

    target: str
    rows: int
    auc: float
    oracle_auc: float

    @property
    def ratio(self) -> float:
        """Return AUC over oracle AUC."""
        return self.auc / self.oracle_auc


def compare(scores: Path, truth: Path, target: str) -> Comparison:
    """Hold test scores against the truth.

    Args:
        scores: Parquet of account_id, as_of, label, score, as `training fit` leaves it in var/NAME/evaluation/.
        truth: The sample's truth folder.
        target: Such as churn_90d.

    Raises:
        GarrisonError: A file is missing, or a tested row has no truth.
    """
    for path in (scores, truth):
        if not path.exists():
            raise GarrisonError(f"there is no {path}", hint="Make the sample and train on it first")
    tested = pd.read_parquet(scores)
    true = pd.read_parquet(truth, columns=["account_id", "as_of", f"p_{target}"])
    both = tested.merge(true, on=["account_id", "as_of"], how="left")
    if both[f"p_{target}"].isna().any():
        missing = int(both[f"p_{target}"].isna().sum())
        raise GarrisonError(f"{missing:,} of {len(both):,} tested rows have no truth", hint="Is it the same sample?")
    label = both["label"].to_numpy()
    return Comparison(
        target, len(both), auc(label, both["score"].to_numpy()), auc(label, both[f"p_{target}"].to_numpy())
    )
