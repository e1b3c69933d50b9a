"""Model why accounts leave or buy more: a Markov chain of hidden states, one step a day, with the risk of each.

Nothing here knows the future or looks at events: a day's step depends on the state of the day before and on
how near a price rise is, which makes the true probabilities of `truth` exact.
"""

from __future__ import annotations

from enum import IntEnum
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int8]


class State(IntEnum):
    """An account's hidden state; only the simulation knows it."""

    SETTLING = 0  # the first weeks, going well
    MISFIT = 1  # the first weeks of an account that should not have been sold to
    STEADY = 2
    GROWING = 3
    FADING = 4  # silent decline: less use, fewer tickets, no complaint
    FADED = 5
    DORMANT = 6
    AGGRIEVED = 7  # since a service failure
    BITTER = 8  # the failure is over, the grievance is not
    PINCHED = 9  # a price rise is announced


# The states of a decline. It is silent where it began with FADING: who reaches FADED otherwise has complained before.
DECLINING = (State.FADING, State.FADED, State.DORMANT)
# What a failure or a price rise brings about, and the states in which it lasts.
STARTS_TROUBLE = (State.AGGRIEVED, State.PINCHED)
TROUBLED = (State.AGGRIEVED, State.BITTER, State.PINCHED)
PLANS = ("basic", "team", "enterprise")
PLAN_LEAVES: Floats = np.array([1.25, 1.0, 0.65])  # factor on the odds of leaving at a term's end
PLAN_EXPANDS: Floats = np.array([0.8, 1.1, 1.3])  # factor on the chance of buying more on a day


def arrange_by_state(**values: float | tuple[float, ...]) -> Floats:
    """Arrange values named by state as one row per state, in the order of `State`; every state must be named."""
    assert set(values) == {state.name.lower() for state in State}
    return np.array([values[state.name.lower()] for state in State], dtype=np.float64)


# Chance a day of moving on; the rest is staying.
_MOVES: MappingProxyType[State, dict[State, float]] = MappingProxyType(
    {
        State.SETTLING: {State.STEADY: 1 / 50, State.GROWING: 1 / 250, State.AGGRIEVED: 1 / 900},
        State.MISFIT: {State.FADED: 1 / 90, State.STEADY: 1 / 220},
        State.STEADY: {State.GROWING: 1 / 400, State.FADING: 1 / 620, State.AGGRIEVED: 1 / 640},
        State.GROWING: {State.STEADY: 1 / 150, State.FADING: 1 / 900, State.AGGRIEVED: 1 / 900},
        State.FADING: {State.FADED: 1 / 60, State.STEADY: 1 / 160},
        State.FADED: {State.DORMANT: 1 / 60, State.STEADY: 1 / 200},
        State.DORMANT: {State.STEADY: 1 / 170},
        State.AGGRIEVED: {State.BITTER: 1 / 40, State.STEADY: 1 / 110},
        State.BITTER: {State.STEADY: 1 / 100, State.FADED: 1 / 130},
        State.PINCHED: {State.STEADY: 1 / 70, State.FADED: 1 / 140},
    }
)
_PINCH = 1 / 65  # chance a day of being pinched while a price rise nears
_PINCHABLE = (State.SETTLING, State.STEADY, State.GROWING)


def _matrix(*, nearing: bool) -> Floats:
    chance = np.zeros((len(State), len(State)))
    for state, moves in _MOVES.items():
        for following, move in moves.items():
            chance[state, following] = move
        if nearing and state in _PINCHABLE:
            chance[state, State.PINCHED] = _PINCH
        chance[state, state] = 1.0 - chance[state].sum()
    return chance


CALM: Floats = _matrix(nearing=False)  # (from, to), chance a day
NEAR: Floats = _matrix(nearing=True)

# Chance of leaving at a term's end on the team plan, by (state, length of the term in `TERMS`).
_LEAVE: Floats = arrange_by_state(
    settling=(0.012, 0.03, 0.05),
    misfit=(0.10, 0.22, 0.40),
    steady=(0.004, 0.010, 0.025),
    growing=(0.002, 0.005, 0.012),
    fading=(0.040, 0.09, 0.17),
    faded=(0.11, 0.24, 0.38),
    dormant=(0.36, 0.60, 0.75),
    aggrieved=(0.11, 0.22, 0.32),
    bitter=(0.17, 0.34, 0.48),
    pinched=(0.09, 0.22, 0.36),
)
_odds = PLAN_LEAVES[None, None, :] * (_LEAVE / (1 - _LEAVE))[:, :, None]
LEAVE: Floats = _odds / (1 + _odds)  # (state, index in TERMS, index in PLANS)

EXPAND: Floats = (
    arrange_by_state(
        settling=0.0005,
        misfit=0.0001,
        steady=0.0002,
        growing=0.0066,
        fading=0.0001,
        faded=0.0,
        dormant=0.0,
        aggrieved=0.0001,
        bitter=0.0,
        pinched=0.0,
    )[:, None]
    * PLAN_EXPANDS
)  # (state, index in PLANS), chance a day of buying more

# Chance a day of giving seats back.
CONTRACT: Floats = arrange_by_state(
    settling=0.0,
    misfit=0.0004,
    steady=0.0001,
    growing=0.0,
    fading=0.0004,
    faded=0.0010,
    dormant=0.0010,
    aggrieved=0.0004,
    bitter=0.0008,
    pinched=0.0180,
)

# Share of the states among accounts that have been with the company for long.
SETTLED: Floats = arrange_by_state(
    settling=0.0,
    misfit=0.0,
    steady=0.62,
    growing=0.20,
    fading=0.06,
    faded=0.03,
    dormant=0.02,
    aggrieved=0.03,
    bitter=0.02,
    pinched=0.02,
)
MISFITS = 0.25  # share of joining accounts


def step_states(state: Codes, nearing: NDArray[np.bool_], draw: Floats) -> Codes:
    """Return each account's state a day later; `draw` holds one uniform number per account."""
    reach = np.where(nearing[:, None], _NEAR_REACH[state], _CALM_REACH[state])
    return (draw[:, None] >= reach[:, :-1]).sum(axis=1).astype(np.int8)


_CALM_REACH, _NEAR_REACH = CALM.cumsum(axis=1), NEAR.cumsum(axis=1)
