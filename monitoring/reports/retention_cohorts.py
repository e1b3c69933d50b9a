"""Follow the customers of each month of arrival: how many are still there in the months after."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from features.settings import Cohort
from features.sources.history import History
from training.targets.cohorts import find_eligible

# Months that are followed.
MONTHS = 12


@dataclass(frozen=True)
class ArrivalCohort:
    """The customers that came in one month.

    Args:
        month: First day of the month at whose beginning they were customers first, ISO; "" for those who were
            customers at the first beginning that is looked at already.
        accounts: Their number.
        kept: Share of them that are customers at the beginning of that month and of each month after, first 1.
    """

    month: str
    accounts: int
    kept: tuple[float, ...]


def follow_cohorts(history: History, cohort: Cohort, until: datetime) -> tuple[ArrivalCohort, ...]:
    """Follow the customers of the last months, the earliest arrivals first.

    Args:
        history: Of the company.
        cohort: Who is a customer.
        until: The last instant looked at; before it the beginnings of months.
    """
    begins = [_begin_of(until, n) for n in range(MONTHS, -1, -1)]
    members = find_eligible(history, cohort, begins)
    places = {pd.Timestamp(at): n for n, at in enumerate(begins)}
    members = members.assign(place=members["as_of"].map(places).astype("int64"))
    first = members.groupby("account_id")["place"].transform("min")
    counts = np.zeros((len(begins), len(begins)))
    np.add.at(counts, (first.to_numpy(), members["place"].to_numpy()), 1)
    return tuple(
        ArrivalCohort(
            "" if n == 0 else f"{begins[n]:%Y-%m-%d}",
            int(counts[n, n]),
            tuple(float(share) for share in counts[n, n:] / counts[n, n]),
        )
        for n in range(len(begins))
        if counts[n, n]
    )


def _begin_of(at: datetime, back: int) -> datetime:
    """Return the begin of the month `back` months before the one that an instant is in."""
    year, month = divmod(at.year * 12 + at.month - 1 - back, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC)
