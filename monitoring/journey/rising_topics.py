"""Find topics whose tickets rise beyond their own noise, over all accounts and at each partner's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.definitions.feature import DAY
from features.settings.journey import Warnings
from monitoring.journey.topic_effects import find_discoveries


@dataclass(frozen=True)
class Rise:
    """The tickets of a topic of late, against its own past.

    Args:
        topic_id: Of the topic.
        partner_id: Through whom the accounts come; None for all accounts.
        tickets: In the days looked at.
        usual: Mean of as many days before.
        p: That so many come although nothing has changed.
        is_rising: Whether it stands out among all topics.
    """

    topic_id: str
    partner_id: str | None
    tickets: int
    usual: float
    p: float
    is_rising: bool = False

    @property
    def is_back(self) -> bool:
        """Return whether the rate is what it used to be, so that a rise is over."""
        return self.tickets <= self.usual + np.sqrt(max(self.usual, 1.0))

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


def find_rises(tickets: pd.DataFrame, partners: pd.Series, settings: Warnings, *, until: int) -> list[Rise]:
    """Compare each topic's tickets of the last days with its own past, by a negative binomial with the past's spread.

    Args:
        tickets: topic_id, account_id, opened_at (µs); those without a topic have None.
        partners: The partner of each account, by account id; empty where there is none.
        settings: Days looked at, weeks of the past, the share of warnings that may be false.
        until: The end of the days looked at, in µs.

    Returns:
        One for each topic, and each topic at each partner, with any ticket of late or before.
    """
    span = settings.days * DAY
    spans = 1 + settings.weeks * 7 // settings.days
    first = until - spans * span
    recent = tickets[tickets["topic_id"].notna() & tickets["opened_at"].between(first, until - 1)]
    recent = recent.assign(
        age=((until - 1 - recent["opened_at"]) // span).astype(int),
        partner=recent["account_id"].map(partners) if len(partners) else None,
    )
    began = int(tickets["opened_at"].min()) if len(tickets) else until
    known = max(1, min(spans, (until - began) // span))
    rises = list(_iterate_rises(recent, int(known)))
    tested = [r for r in rises if r.tickets >= settings.least]
    told = find_discoveries([r.p for r in tested], settings.false_share)
    rising = {(r.topic_id, r.partner_id) for r, is_told in zip(tested, told, strict=True) if is_told}
    return [Rise(**(r.as_dict() | {"is_rising": (r.topic_id, r.partner_id) in rising})) for r in rises]


def _iterate_rises(recent: pd.DataFrame, spans: int) -> Iterator[Rise]:
    for topic, rows in recent.groupby("topic_id"):
        yield _compare(str(topic), None, np.bincount(rows["age"], minlength=spans)[:spans])
        for partner, some in rows[rows["partner"].notna()].groupby("partner"):
            yield _compare(str(topic), str(partner), np.bincount(some["age"], minlength=spans)[:spans])


def _compare(topic: str, partner: str | None, counts: npt.NDArray[np.int64]) -> Rise:
    """Compare the newest count with those before it; too short a past says nothing."""
    newest, past = int(counts[0]), counts[1:].astype(float)
    if len(past) < 6:
        return Rise(topic, partner, newest, float(past.mean()) if len(past) else 0.0, 1.0)
    return Rise(topic, partner, newest, float(past.mean()), compute_p(newest, past))


def compute_p(newest: int, past: npt.NDArray[np.float64]) -> float:
    """Return the chance of so many or more, from a past with this mean and spread; never less noise than Poisson's.

    The mean of the past is itself uncertain: its variance is added, so that a short past tells less.

    Examples:
        >>> past = np.array([4.0, 6.0, 5.0, 3.0, 7.0, 5.0, 5.0, 5.0])
        >>> compute_p(6, past) > 0.2, compute_p(20, past) < 0.001
        (True, True)
    """
    from scipy.stats import nbinom, poisson

    mean = max(float(past.mean()), 1.0 / len(past))
    variance = max(float(past.var(ddof=1)), mean) * (1 + 1 / len(past))
    if variance <= mean * 1.0001:
        return float(poisson.sf(newest - 1, mean))
    size = mean**2 / (variance - mean)
    return float(nbinom.sf(newest - 1, size, size / (size + mean)))
