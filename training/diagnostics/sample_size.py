"""Checks before training that there is enough data to learn from and to evaluate on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import pandas as pd

from features.core.contract import TABLES
from features.core.timestamps import DAY, to_micros
from features.sources.history import History
from training.evaluation.evaluate import Evaluation
from training.targets.time_splits import TimePlan

# With fewer, a model of a hundred columns learns their accidents, and no figure on them means anything.
FEWEST_POSITIVES = 30
_MOST_ABSENT = 0.5
_NAMED = 3


@dataclass(frozen=True)
class InsufficientData:
    """A target and horizon that could not be trained at all.

    Args:
        rows: Test rows with a label.
        positives: Those that came true.
        reasons: What is lacking, in sentences.
    """

    rows: int
    positives: int
    reasons: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """Return the JSON fields of the command contract; there are no other figures."""
        rate = self.positives / self.rows if self.rows else None
        figures = dict.fromkeys(("auc", "auc_low", "auc_high", "ap", "brier", "ece", "lift_10"))
        counted = {"rows": self.rows, "base_rate": rate}
        return {**counted, **figures, "baselines": {}, "verdict": "insufficient", "reasons": [*self.reasons]}


@dataclass(frozen=True)
class SampleSizeCheck:
    """Result of the check of one target and horizon.

    Args:
        impossible: Set where a part of the plan has labels of one class only: then nothing can be trained or evaluated.
        enough: Whether the figures can be believed at all; if not, the verdict is insufficient.
        reasons: What is too little for that, in sentences.
    """

    impossible: InsufficientData | None
    enough: bool
    reasons: tuple[str, ...]

    def apply(self, evaluation: Evaluation, remarks: tuple[str, ...]) -> Evaluation:
        """Return the evaluation with the resulting verdict and reasons, and remarks after them."""
        verdict = evaluation.verdict if self.enough else "insufficient"
        return replace(evaluation, verdict=verdict, reasons=(*self.reasons, *evaluation.reasons, *remarks))


def check_sample_size(key: str, labels: np.ndarray, as_ofs: pd.Series, plan: TimePlan) -> SampleSizeCheck:
    """Count the positives of each part of a plan.

    Args:
        key: The target and horizon, such as churn_30d.
        labels: (n,) of 1, 0 and NaN.
        as_ofs: (n,) their cutoffs.
        plan: Of this horizon.
    """
    parts = {"early": plan.early, "late": plan.late, "train": plan.train, "test": plan.test}
    known = {part: labels[as_ofs.isin(cutoffs).to_numpy() & ~np.isnan(labels)] for part, cutoffs in parts.items()}
    # Without any row to learn from the cohort is at fault: training raises an error of its own.
    checked_parts = [part for part in known if part != "train" and len(known["train"])]
    one_class = [_describe_one_class(key, part, known[part], parts[part]) for part in checked_parts]
    reasons = tuple(sentence for sentence in one_class if sentence)
    if reasons:
        test = known["test"]
        return SampleSizeCheck(InsufficientData(len(test), int(test.sum()), reasons), enough=False, reasons=reasons)
    # The positives of the test are counted in its evaluation.
    positives = int(known["train"].sum())
    reason = (f"{key} has only {positives} positives to learn from: {FEWEST_POSITIVES} are needed",)
    is_enough = positives >= FEWEST_POSITIVES
    return SampleSizeCheck(None, enough=is_enough, reasons=() if is_enough else reason)


def describe_gaps(
    history: History, features: tuple[str, ...], accounts: pd.Series, data_until: datetime
) -> tuple[str, ...]:
    """Describe what is short though a model can be trained: histories against windows, and accounts without a source.

    Args:
        history: Of the company.
        features: The columns to be trained with.
        accounts: Ids of the cohort's accounts, repeats allowed.
        data_until: The instant the data are complete until.
    """
    ids = pd.Index(accounts.unique())
    return tuple(
        sentence
        for source in history.sources
        for sentence in (
            _describe_short_history(history, source, features, data_until),
            _describe_absent_accounts(history, source, ids, data_until),
        )
        if sentence
    )


_PART_NAMES = {"early": "of the first part of the training", "late": "of the calibration", "test": "of the test"}


def _describe_one_class(key: str, part: str, labels: np.ndarray, cutoffs: tuple[datetime, ...]) -> str:
    """Describe a part of the plan with labels of one class only; return an empty text if it has both."""
    positives = int(labels.sum())
    if 0 < positives < len(labels):
        return ""
    return (
        f"the labels of {key} are of one class only in the cutoffs {_PART_NAMES[part]}, {cutoffs[0]:%Y-%m-%d} to "
        f"{cutoffs[-1]:%Y-%m-%d}: {positives} positives among {len(labels)} rows"
    )


def _describe_short_history(history: History, source: str, features: tuple[str, ...], data_until: datetime) -> str:
    """Describe a source that is short against the windows used; return an empty text if it is long enough."""
    first = history.query(f"SELECT min({TABLES[source].time}) AS t FROM {source}")["t"].iloc[0]  # noqa: S608  # the contract's own names
    if pd.isna(first):
        return f"{source} has no rows"
    days = (to_micros(data_until) - int(first)) / DAY
    used = {f: history.catalog.find_feature(f) for f in features}
    windows = {name: f.window for name, f in used.items() if source in f.sources}
    beyond = {f: w for f, w in windows.items() if w and 2 * w > days}
    if not beyond:
        return ""
    named = ", ".join(sorted(beyond, key=lambda f: (-beyond[f], f))[:_NAMED])
    more = f" and {len(beyond) - _NAMED} more" if len(beyond) > _NAMED else ""
    return (
        f"{source} reaches back {days:,.0f} days, less than twice the longest window used, "
        f"{max(beyond.values())} days: at early cutoffs these look further back than the data reach: {named}{more}"
    )


def _describe_absent_accounts(history: History, source: str, accounts: pd.Index, data_until: datetime) -> str:
    """Describe how many accounts a source lacks; return an empty text if they are few."""
    sql = f"SELECT DISTINCT account_id FROM {source} WHERE {TABLES[source].time} < {to_micros(data_until)}"  # noqa: S608  # the contract's own names
    seen = history.query(sql)["account_id"]
    absent = int((~accounts.isin(seen)).sum())
    if absent <= _MOST_ABSENT * len(accounts):
        return ""
    return f"{absent:,} of the {len(accounts):,} accounts have nothing in {source}: its features say little of them"
