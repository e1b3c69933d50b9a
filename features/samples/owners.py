"""Draw the owners of synthetic accounts: how able they are, how busy, and how sick the accounts are that they got.

Owners matter only where somebody acts: in a company made with owners who differ, and where alerts are answered.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from features.samples import causes
from features.samples.causes import Floats
from features.samples.population import Population, name_owners
from features.samples.terms import Ints
from features.samples.truth import compute_chances

_NOTICED = 1 / 10  # chance a day that an owner sees by themself that an account is in trouble
_UNLIKE = 0.03  # spread of the risk by which books are cut: no book is of one kind alone
_YEAR = 365


@dataclass(frozen=True)
class Owners:
    """The k owners of a chunk; only the simulation knows them.

    Args:
        skill: 0 to 1: the factor on the chance that a contact of theirs saves an account.
        acts: Share of the alerts that they act on.
        load: Contacts a week that they have time for when alerted.
        notices: Chance a day that they see an account's trouble without an alert.
    """

    skill: Floats
    acts: Floats
    load: Ints
    notices: Floats


def draw_owners(rng: np.random.Generator, count: int, *, differ: bool) -> Owners:
    """Draw owners; those who differ have skills spread evenly from 0 to 1, and act without alerts too."""
    skill = rng.permutation(np.linspace(0.0, 1.0, count)) if differ else rng.uniform(0.3, 1.0, count)
    return Owners(
        skill=skill,
        acts=rng.uniform(0.35, 0.95, count),
        load=rng.integers(3, 9, count),
        notices=np.full(count, _NOTICED if differ else 0.0),
    )


def compute_given_risk(people: Population) -> Floats:
    """Return each account's chance of leaving within a year that follows from its contract and plan alone, (n,)."""
    kinds, kind = people.traits.kinds()
    share = causes.SETTLED / causes.SETTLED.sum()
    count = len(kinds.plan)
    risk = np.zeros(count)
    for state in np.flatnonzero(share):
        chances = compute_chances(kinds, np.full(count, state, dtype=np.int8), int(people.start.min()), _YEAR)
        risk += share[state] * chances.churn
    return risk[kind]


def give_books(rng: np.random.Generator, people: Population, owners: Owners) -> Ints:
    """Return each account's owner, (n,): some are given sick accounts, and rather the able ones, as companies do."""
    count = len(owners.skill)
    sickness = 0.8 * owners.skill + rng.uniform(0.0, 0.4, count)
    order = np.argsort(compute_given_risk(people) + rng.normal(0.0, _UNLIKE, len(people.start)), kind="stable")
    book = np.empty(len(order), dtype=np.int64)
    book[order] = np.arange(len(order)) * count // len(order)
    return np.argsort(sickness, kind="stable")[book]


def build_table(owners: Owners, people: Population, chunk: int) -> pa.Table:
    """Build one row an owner: skill, and what they were given. Hidden truth."""
    count = len(owners.skill)
    accounts = np.bincount(people.owner, minlength=count)
    risk = np.bincount(people.owner, compute_given_risk(people), minlength=count) / np.maximum(1, accounts)
    return pa.table(
        {
            "owner_email": name_owners(np.arange(count), chunk),
            "skill": owners.skill,
            "acts": owners.acts,
            "load": owners.load,
            "notices": owners.notices,
            "accounts": accounts,
            "given_risk_365d": risk,
        }
    )
