"""Compute what each problem truly does to leaving: exact, from the Markov chain."""

from __future__ import annotations

import numpy as np

from features.core.timestamps import DAY
from features.samples.causes import Floats
from features.samples.parts import Rows
from features.samples.terms import Flags, Ints
from features.samples.truth import Traits, compute_chances

HORIZON = 90
_YEAR = 365


def compute_effects(rows: Rows, marks: Flags, traits: Traits) -> Floats:
    """Return by how much what each ticket tells of raises the chance of leaving within `HORIZON` days, (n,).

    That is the chance of leaving from the account's state at the end of the day, less that from the state that it was
    in before the failure or the price rise. It is 0 for tickets that tell of nothing of the kind.
    """
    effect = np.zeros(len(marks))
    day = rows["at"] // DAY
    marked = np.flatnonzero(marks)
    for today in np.unique(day[marked]):
        some = marked[day[marked] == today]
        account = rows["account"][some]
        both = traits.of(np.concatenate([account, account]))
        state = np.concatenate([rows["state"][some], rows["before"][some]])
        churn = compute_chances(both, state, int(today) + 1, HORIZON).churn
        effect[some] = churn[: len(some)] - churn[len(some) :]
    return effect


def sum_year_before(purchases: Rows, account: Ints, at: Ints) -> Floats:
    """Return what each account paid in the year before an instant (µs), in money, (n,)."""
    order = np.lexsort((purchases["at"], purchases["account"]))
    low = int(min(at.min(initial=0), purchases["at"].min(initial=0)))
    keys = purchases["account"][order].astype(np.float64) * 1e6 + (purchases["at"][order] - low) / DAY
    paid = np.concatenate([[0], purchases["cents"][order].cumsum()])
    until = np.searchsorted(keys, account * 1e6 + (at - low) / DAY)
    since = np.searchsorted(keys, account * 1e6 + np.maximum((at - low) / DAY - _YEAR, -1.0))
    return (paid[until] - paid[since]) / 100
