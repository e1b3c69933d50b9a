"""Simulate what it does to accounts that their owner contacts them: most gain, some are woken up and leave.

A contact acts on the hidden state of its day alone, so a life stays a Markov chain and its true chances exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import pyarrow as pa

from features.core.timestamps import DAY
from features.samples.causes import Codes, Floats, State, arrange_by_state
from features.samples.owners import Owners
from features.samples.parts import Rows, concatenate_blocks, to_timestamps
from features.samples.population import Population
from features.samples.terms import Flags, Ints

# What a contact works against; the causes of `definitions.plays`.
CAUSES = ("usage", "contact", "service", "price", "purchases", "renewal", "unknown")
EFFECTS = ("harmed", "none", "saved")
# Chance that a contact saves, by state and cause, for an owner of full skill and an account open to it.
_SAVES = arrange_by_state(
    settling=(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    misfit=(0.65, 0.25, 0.20, 0.05, 0.15, 0.15, 0.20),
    steady=(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    growing=(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    fading=(0.80, 0.65, 0.05, 0.10, 0.20, 0.30, 0.30),
    faded=(0.70, 0.60, 0.05, 0.10, 0.20, 0.30, 0.30),
    dormant=(0.50, 0.55, 0.05, 0.10, 0.10, 0.25, 0.20),
    aggrieved=(0.10, 0.15, 0.80, 0.05, 0.05, 0.25, 0.25),
    bitter=(0.10, 0.20, 0.70, 0.10, 0.05, 0.25, 0.25),
    pinched=(0.10, 0.15, 0.10, 0.85, 0.05, 0.50, 0.25),
)
_PRICE_NAMED = 0.10  # chance that talk of price sets an account thinking that had no thought of it
_WOKEN = 0.35  # chance that a sleeping dog is woken by being contacted
_CARELESS = 0.10  # chance that a contact by an owner without skill does harm
_SLEEPERS = 0.15  # share of accounts that are better let alone, unless the service failed them
_TROUBLED = np.array([bool(row.any()) for row in _SAVES])


@dataclass(frozen=True)
class PlannedContact:
    """A contact that an owner makes.

    Args:
        account_id: Whom.
        day: Since 1970.
        cause: What it works against, one of `CAUSES`.
        episode_id: The alert that it answers.
    """

    account_id: str
    day: int
    cause: str
    episode_id: str


@dataclass
class Care:
    """Everything that owners do for the n accounts of a chunk, day by day.

    `notices` and `skill` are those of each account's owner, (n,). `planned` has the numbers of accounts and of causes
    by day.
    """

    rng: np.random.Generator
    skill: Floats
    notices: Floats
    planned: dict[int, tuple[Ints, Ints]]
    opens: Floats
    sleeps: Flags
    made: list[Rows] = field(default_factory=list)

    @classmethod
    def draw(
        cls, rng: np.random.Generator, people: Population, owners: Owners, planned: Sequence[PlannedContact]
    ) -> Care:
        """Draw how each account takes to being contacted."""
        n = len(people.start)
        number = {account: i for i, account in enumerate(people.ids.to_pylist())} if planned else {}
        days: dict[int, list[tuple[int, int]]] = {}
        for contact in planned:
            if contact.account_id in number:
                pair = (number[contact.account_id], CAUSES.index(contact.cause))
                days.setdefault(contact.day, []).append(pair)
        by_day = {}
        for day, pairs in days.items():
            once = dict(sorted(pairs, reverse=True))  # of two contacts on one day the first counts
            by_day[day] = (np.array([*once]), np.array([*once.values()]))
        return cls(
            rng,
            skill=owners.skill[people.owner],
            notices=owners.notices[people.owner],
            planned=by_day,
            opens=rng.uniform(0.6, 1.0, n),
            sleeps=rng.random(n) < _SLEEPERS,
        )

    def act(self, day: int, state: Codes, in_force: Flags) -> Codes:
        """Return the states after the contacts of a day; as many numbers are drawn whether or not there are any."""
        chance, luck, time = self.rng.random((3, len(state)))
        noticed = in_force & _TROUBLED[state] & (chance < self.notices)
        cause = _SAVES[state].argmax(axis=1)  # who sees it by themself knows what is wrong
        if day in self.planned:
            who, why = self.planned[day]
            noticed[who] = in_force[who]
            cause[who] = why
        who = np.flatnonzero(noticed)
        if not len(who):
            return state
        now, why = state[who], cause[who]
        effect = self._decide(who, now, why, luck[who])
        following = np.where(effect > 0, State.STEADY, np.where(effect < 0, State.BITTER, now)).astype(np.int8)
        after = state.copy()
        after[who] = following
        at = day * DAY + ((8 + 9 * time[who]) * 3600).astype(np.int64) * 10**6
        self.made.append({"account": who, "at": at, "cause": why, "state": now, "effect": effect})
        return after

    def list_made(self) -> Rows:
        """Return the contacts made: account, at (µs), cause, state before, effect (-1, 0, 1)."""
        nothing = {"account": np.empty(0, np.int64), "at": np.empty(0, np.int64), "cause": np.empty(0, np.int64)}
        nothing |= {"state": np.empty(0, np.int8), "effect": np.empty(0, np.int64)}
        return concatenate_blocks([nothing, *[dict(block) for block in self.made]])

    def _decide(self, who: Ints, state: Codes, cause: Ints, luck: Floats) -> Ints:
        """Return 1 where an account is saved, -1 where it is driven away, else 0."""
        saves = self.skill[who] * self.opens[who] * _SAVES[state, cause]
        is_service = cause == CAUSES.index("service")
        is_price = (cause == CAUSES.index("price")) & (state != State.PINCHED)
        harms = _CARELESS * (1 - self.skill[who]) + _PRICE_NAMED * is_price
        harms = np.where(self.sleeps[who] & ~is_service, _WOKEN, harms)
        return np.where(luck < saves, 1, np.where(luck > 1 - np.minimum(harms, 1 - saves), -1, 0))


def build_planned(planned: Sequence[PlannedContact]) -> pa.Table:
    """Build one row a planned contact."""
    kinds = {"account_id": pa.string(), "day": pa.int64(), "cause": pa.string(), "episode_id": pa.string()}
    return pa.Table.from_pylist([asdict(contact) for contact in planned], schema=pa.schema(kinds))


def build_touches(made: Rows, ids: pa.Array) -> pa.Table:
    """Build the contacts made in the form of the data contract's touches."""
    at = to_timestamps(made["at"])
    return pa.table(
        {
            "account_id": ids.take(pa.array(made["account"])).cast(pa.string()),
            "touched_at": at,
            "kind": pa.array(["call"]).take(pa.array(np.zeros(len(made["at"]), dtype=np.int64))),
            "known_at": at,
        }
    )


def build_truth(made: Rows, ids: pa.Array) -> pa.Table:
    """Build one row a contact with what it did: hidden truth."""
    return pa.table(
        {
            "account_id": ids.take(pa.array(made["account"])).cast(pa.string()),
            "at": to_timestamps(made["at"]),
            "cause": pa.array(CAUSES).take(pa.array(made["cause"])),
            "state": pa.array([state.name.lower() for state in State]).take(pa.array(made["state"])),
            "effect": pa.array(EFFECTS).take(pa.array(made["effect"] + 1)),
        }
    )
