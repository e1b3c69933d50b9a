"""Simulate the lives of one chunk of accounts, strictly forward: each day depends only on the state before it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from features.core.timestamps import DAY
from features.samples import causes, purchases, tickets, usage
from features.samples.causes import CONTRACT, DECLINING, STARTS_TROUBLE, TROUBLED, State, step_states
from features.samples.contacts import Care
from features.samples.parts import Rows, concatenate_blocks
from features.samples.population import Population, Today
from features.samples.purchases import CHARGE, KINDS
from features.samples.terms import TERMS, Flags, Ints
from features.samples.truth import Moment, Outcomes

_NEW, _RENEWAL, _EXPANSION, _CONTRACTION = range(len(KINDS))


@dataclass(frozen=True)
class SimulatedHistory:
    """The rows that the accounts of a chunk produced, and what only the simulation knows."""

    usage: Rows
    tickets: Rows
    purchases: Rows
    moments: list[Moment]
    outcomes: Outcomes


@dataclass
class _Life:
    """The current condition of each account.

    `rise` is the factor of all price rises so far; `silent` the day on which its silent decline began, -1 without one;
    `trouble` the day on which it became aggrieved or pinched, -1 where it is neither, and `before` its state then.
    """

    people: Population
    seats: Ints
    state: causes.Codes
    in_force: Flags
    rise: causes.Floats
    lapse: Ints
    silent: Ints
    trouble: Ints
    before: causes.Codes
    bought: list[Rows] = field(default_factory=list)
    expansions: list[Ints] = field(default_factory=list)

    def buy(self, who: Ints, day: int | Ints, kind: int | Ints) -> None:
        """Add term starts and charges: all seats, at midnight."""
        if not len(who):
            return
        at = np.broadcast_to(np.asarray(day) * DAY, who.shape)
        kinds = np.broadcast_to(np.asarray(kind), who.shape)
        block = purchases.buy(self.people, who, at=at, kind=kinds, seats=self.seats[who], rise=self.rise[who])
        self.bought.append(block)


def simulate_lives(  # noqa: PLR0913  # all but the first two named
    people: Population,
    streams: dict[str, np.random.Generator],
    *,
    first: int,
    until: int,
    as_ofs: Collection[int],
    care: Care | None = None,
) -> SimulatedHistory:
    """Run the days `[first, until)`, all counted since 1970, looking at the hidden states at each of `as_ofs`.

    Of each day, first a term that ends at its midnight lapses or is renewed, then what is due is charged, then
    owners contact accounts if there is `care`, then the state moves on, and then people use the product, open tickets,
    add or return seats. Each of `streams` (chain, usage, tickets) is drawn from in the order of the days, so a shorter
    run is the start of a longer one.
    """
    n = len(people.start)
    life = _Life(
        people,
        seats=people.seats.copy(),
        state=people.state.copy(),
        in_force=people.start < first,
        rise=np.ones(n),
        lapse=np.full(n, -1),
        silent=np.where(np.isin(people.state, DECLINING), first, -1),
        trouble=np.full(n, -1),
        before=people.state.copy(),
    )
    _past(life, first)
    used, opened, moments = [], [], []
    for day in range(first, until + 1):
        if day in as_ofs:
            who = np.flatnonzero(life.in_force)
            moments.append(Moment(day, who, life.state[who], life.silent[who]))
        if day == until:
            break
        chance = streams["chain"].random((5, n))
        _renew(life, day, chance[0])
        if care is not None:
            life.state = care.act(day, life.state, life.in_force)
        failed = _move(life, day, chance[1])
        _resize(life, day, chance[2:])
        who = np.flatnonzero(life.in_force)
        today = Today(day, who, life.state[who], failed[who], life.before[who], life.trouble[who])
        used.append(usage.emit(streams["usage"], people, today))
        opened.append(tickets.emit(streams["tickets"], people, today))
    expansions = np.concatenate([*life.expansions, np.empty((0, 2), dtype=np.int64)])
    outcomes = Outcomes(life.lapse, expansions, until)
    return SimulatedHistory(
        concatenate_blocks(used), concatenate_blocks(opened), concatenate_blocks(life.bought), moments, outcomes
    )


def _past(life: _Life, first: int) -> None:
    """Add the purchases of the terms that run when the history starts, at their true past dates."""
    people, terms = life.people, life.people.traits.terms
    who = np.flatnonzero(life.in_force)
    begin, _ = purchases.find_term_start(people, who, first - 1)
    life.buy(who, begin, np.where(begin == people.start[who], _NEW, _RENEWAL))
    for day in range(first - 366, first):
        due = terms.charged(day)[who] & (begin < day) & ~people.prepaid[who]
        life.buy(who[due], day, CHARGE)


def _renew(life: _Life, day: int, chance: causes.Floats) -> None:
    """Let terms lapse, renew, be charged or start, where due at the day's midnight."""
    people, terms = life.people, life.people.traits.terms
    due = terms.charged(day) & life.in_force
    ends = terms.ends(day) & due
    term = np.searchsorted(TERMS, terms.length)
    leaves = ends & (chance < causes.LEAVE[life.state, term, people.traits.plan])
    life.lapse[leaves] = day
    life.in_force &= ~leaves
    renews = ends & ~leaves
    life.rise[terms.rises(day) & renews] *= purchases.RISE
    starts = people.start == day
    life.in_force |= starts
    charged = due & ~ends & ~people.prepaid
    for flags, kind in ((starts, _NEW), (renews, _RENEWAL), (charged, CHARGE)):
        life.buy(np.flatnonzero(flags), day, kind)


def _move(life: _Life, day: int, chance: causes.Floats) -> Ints:
    """Move each state a day on; return 1 for the accounts that a failure of the service made aggrieved."""
    following = step_states(life.state, life.people.traits.terms.nearing(day), chance)
    moved = np.where(life.in_force, following, life.state)
    failed = (moved == State.AGGRIEVED) & (life.state != State.AGGRIEVED)
    begins = (moved == State.FADING) & (life.silent < 0)
    life.silent = np.where(begins, day, np.where(np.isin(moved, DECLINING), life.silent, -1))
    starts = np.isin(moved, STARTS_TROUBLE) & (moved != life.state)
    life.before = np.where(starts, life.state, life.before)
    life.trouble = np.where(starts, day, np.where(np.isin(moved, TROUBLED), life.trouble, -1))
    life.state = moved
    return failed.astype(np.int64)


def _resize(life: _Life, day: int, draws: causes.Floats) -> None:
    """Add the seats bought and returned during the day; `draws` decide whether, how many and when."""
    people = life.people
    chance, extent, time = draws
    grows = life.in_force & (chance < causes.EXPAND[life.state, people.traits.plan])
    shrinks = life.in_force & ~grows & (chance > 1 - CONTRACT[life.state]) & (life.seats > 2)
    for flags, kind in ((grows, _EXPANSION), (shrinks, _CONTRACTION)):
        who = np.flatnonzero(flags)
        if not len(who):
            continue
        share = 0.05 + 0.25 * extent[who]
        seats = np.maximum(1, np.rint(life.seats[who] * share)).astype(np.int64)
        seats = seats if kind == _EXPANSION else -seats
        at = day * DAY + (time[who] * 86_400).astype(np.int64) * 10**6
        kinds = np.full(len(who), kind)
        life.bought.append(purchases.buy(people, who, at=at, kind=kinds, seats=seats, rise=life.rise[who]))
        life.seats[who] += seats
    life.expansions.append(np.column_stack([np.flatnonzero(grows), np.full(grows.sum(), day)]))
