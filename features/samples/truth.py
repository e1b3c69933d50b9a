"""Compute the exact chance that an account leaves or buys more, from the chain, and what came true.

By dynamic programming backwards over days: no simulation, so the only error is that of floating point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.core.timestamps import DAY
from features.samples import causes
from features.samples.causes import Codes, Floats, State
from features.samples.terms import TERMS, Flags, Ints, Terms

HORIZONS = (30, 60, 90)


@dataclass(frozen=True)
class Traits:
    """The inputs of the chain for n accounts, besides their state.

    Args:
        terms: Their terms.
        plan: Index in `causes.PLANS`.
    """

    terms: Terms
    plan: Ints

    def of(self, account: Ints) -> Traits:
        """Return the traits of some of the accounts."""
        return Traits(self.terms.of(account), self.plan[account])

    def kinds(self) -> tuple[Traits, Ints]:
        """Return the few distinct combinations of traits among these accounts, and the index of each account's."""
        terms = self.terms
        term = np.searchsorted(TERMS, terms.length)
        shape = (len(TERMS), len(causes.PLANS), 2, 12, 31)
        codes, kind = np.unique(
            np.ravel_multi_index((term, self.plan, terms.indexed.astype(int), terms.month % 12, terms.dom), shape),
            return_inverse=True,
        )
        term, plan, indexed, month, dom = np.unravel_index(codes, shape)
        lengths = np.array(TERMS, dtype=np.int64)[term]
        return Traits(Terms(month, dom, lengths, indexed.astype(bool)), plan), kind

    def leave(self) -> Floats:
        """Return the chance of leaving at a term's end, shape (n, states)."""
        return causes.LEAVE[:, np.searchsorted(TERMS, self.terms.length), self.plan].T

    def expand(self) -> Floats:
        """Return the chance of buying more on a day, shape (n, states)."""
        return causes.EXPAND[:, self.plan].T


@dataclass(frozen=True)
class Chances:
    """Probabilities of n accounts: at least one lapse, and at least one expansion, inside a horizon."""

    churn: Floats
    upsell: Floats


def compute_chances(traits: Traits, state: Codes, as_of: int, horizon: int) -> Chances:
    """Compute the exact chances over `[as_of, as_of + horizon)` of accounts in force just before `as_of`.

    A day runs: a term that ends at its midnight lapses or is renewed; the state moves on; the account buys
    more or not. `as_of` is a day since 1970, and `state` the state before that day.
    """
    kinds, kind = traits.kinds()
    terms, leave, silent = kinds.terms, kinds.leave(), 1 - kinds.expand()
    stays = np.ones((2, *leave.shape))  # chance, from each state, of no lapse; of buying nothing more
    lapsed = np.array([0.0, 1.0])[:, None, None]  # what a lapse makes of them
    for day in reversed(range(as_of, as_of + horizon)):
        stays[1] *= silent
        nearing, ends = terms.nearing(day), terms.ends(day)
        before = stays @ causes.CALM.T
        before[:, nearing] = stays[:, nearing] @ causes.NEAR.T
        before[:, ends] = leave[ends] * lapsed + (1 - leave[ends]) * before[:, ends]
        stays = before
    gone, bought = 1 - stays[:, kind, state]
    return Chances(gone, bought)


@dataclass(frozen=True)
class Moment:
    """The accounts in force just before an `as_of` (day since 1970).

    Args:
        as_of: The day.
        account: Their numbers in the chunk.
        state: Their states.
        silent: Day on which a silent decline began that still lasts; -1 without one.
    """

    as_of: int
    account: Ints
    state: Codes
    silent: Ints


@dataclass(frozen=True)
class Outcomes:
    """The lapses and expansions of the accounts of a chunk.

    Args:
        lapse: Day since 1970 on which each lapsed, -1 where it did not.
        expansions: (account, day) of every expansion, shape (m, 2).
        until: Day since 1970 on which the data end.
    """

    lapse: Ints
    expansions: Ints
    until: int

    def churned(self, moment: Moment, horizon: int) -> Flags:
        """Return whether each account lapsed in the horizon."""
        lapse = self.lapse[moment.account]
        return (lapse >= moment.as_of) & (lapse < moment.as_of + horizon)

    def expanded(self, moment: Moment, horizon: int) -> Flags:
        """Return whether each account bought more in the horizon."""
        bought = np.sort(self.expansions[:, 0] * _SPAN + self.expansions[:, 1])
        start = moment.account * _SPAN + moment.as_of
        is_expanded: Flags = np.searchsorted(bought, start) < np.searchsorted(bought, start + horizon)
        return is_expanded


_SPAN = 10**6  # more days than any history has


def build_table(moment: Moment, traits: Traits, outcomes: Outcomes, ids: pa.Array) -> pa.Table:
    """Build one row per account in force at the moment: state, silent decline, exact chances, and what came true.

    `churned_*d` and `expanded_*d` are null where the data end before the horizon does. An account whose term
    ends exactly at `as_of` (`days_to_term_end` 0) is in: whether it renews is part of the horizon.
    """
    n = len(moment.account)
    columns: dict[str, object] = {
        "account_id": ids.take(pa.array(moment.account)),
        "as_of": pa.array(np.full(n, moment.as_of * DAY), pa.timestamp("us", "UTC")),
        "state": pa.array([state.name.lower() for state in State]).take(pa.array(moment.state)),
        "silent_since": pa.array(moment.silent * DAY, pa.timestamp("us", "UTC"), mask=moment.silent < 0),
        "days_to_term_end": traits.terms.days_left(moment.as_of),
    }
    exact = {horizon: compute_chances(traits, moment.state, moment.as_of, horizon) for horizon in HORIZONS}
    mature = {horizon: moment.as_of + horizon <= outcomes.until for horizon in HORIZONS}
    columns |= {f"p_churn_{h}d": exact[h].churn for h in HORIZONS}
    columns |= {f"p_upsell_{h}d": exact[h].upsell for h in HORIZONS}
    for name, realised in (("churned", outcomes.churned), ("expanded", outcomes.expanded)):
        for h in HORIZONS:
            columns[f"{name}_{h}d"] = _flags(realised(moment, h)) if mature[h] else pa.nulls(n, pa.bool_())
    return pa.table(columns)


def _flags(values: NDArray[np.bool_]) -> pa.Array:
    return pa.array(values, pa.bool_())
