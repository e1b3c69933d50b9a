"""Draw what was done first about each ticket, whether that settled it, and how long the work took.

Who chooses looks at the tag, the priority, the channel and the size of the account, and often chooses otherwise: every
action has a chance of 4 % at least, so that inverse-propensity weights work.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from features.core.contract import FIRST_ACTIONS
from features.samples.causes import Floats
from features.samples.parts import Rows
from features.samples.terms import Flags, Ints
from features.samples.tickets import CHANNELS, TOPICS

DRAWS = 4  # random numbers a ticket
REWORK = 200.0  # mean minutes of work on what the first action did not settle
MINUTES: Floats = np.array([6.0, 18.0, 35.0, 60.0, 180.0])  # mean minutes of each first action
_SPREAD = 0.35
_EVEN = 0.2  # share of tickets whose action is drawn without a look at them
# Leanings towards an action (log odds), in the order of `FIRST_ACTIONS`.
_BY_TOPIC = np.array([[0.3, 0.4, 0.0, -0.3, -1.6]] * len(TOPICS))
_BY_PRIORITY = np.array(
    [[0.8, 0.2, -0.3, -0.8, -0.5], [0.0] * 5, [-0.6, 0.0, 0.4, 0.5, 0.2], [-1.2, -0.3, 0.6, 1.0, 0.6]]
)
_BY_CHANNEL = np.array(
    [[0.0, 0.5, 0.0, 0.0, 0.0], [0.8, 0.0, 0.0, 0.0, 0.0], [0.3, 0.3, 0.0, 0.0, 0.0], [-0.8, 0.0, 1.5, 0.2, 0.0]]
)
_BY_SIZE = np.array([[0.2, 0.0, 0.0, 0.0, -0.6], [0.0] * 5, [-0.2, 0.0, 0.3, 0.2, 1.0]])
# Chance that an action settles a ticket of normal priority at once, by tag.
_SETTLES = np.array(
    [
        (0.90, 0.88, 0.90, 0.70, 0.90),  # how-to: an article does it
        (0.12, 0.35, 0.40, 0.92, 0.70),  # bug: engineers
        (0.10, 0.40, 0.88, 0.70, 0.75),  # outage: a call
        (0.35, 0.90, 0.88, 0.80, 0.80),  # billing: a written answer
        (0.10, 0.35, 0.88, 0.55, 0.92),  # price: a call
        (0.20, 0.35, 0.50, 0.92, 0.90),  # integration: engineers
        (0.70, 0.92, 0.90, 0.60, 0.80),  # idea: a written answer
    ]
)
_HARDER = np.array([0.4, 0.0, -0.3, -0.7])  # log odds of settling, by priority
TEAMS = ("support", "success", "engineering", "field", "finance")
RATES: Floats = np.array([35.0, 42.0, 52.0, 50.0, 38.0])  # mean money an hour, by team


@dataclass(frozen=True)
class Actions:
    """What was done about n tickets.

    Args:
        action: Index in `FIRST_ACTIONS`, (n,).
        chances: The chances with which it was drawn, (n, actions).
        settles: The chance that each action would have settled the ticket at once, (n, actions).
        settled: Whether the one taken did.
        minutes: Of work in all.
    """

    action: Ints
    chances: Floats
    settles: Floats
    settled: Flags
    minutes: Floats


def draw_actions(draws: Floats, rows: Rows, size: Ints) -> Actions:
    """Draw what was done about tickets.

    Args:
        draws: Uniform numbers, (n, `DRAWS`).
        rows: Of tickets.
        size: Of each ticket's account, an index in `population.SIZES`.
    """
    topic, priority = rows["topic"], rows["priority"]
    leaning = _BY_TOPIC[topic] + _BY_PRIORITY[priority] + _BY_CHANNEL[rows["channel"]] + _BY_SIZE[size]
    weight = np.exp(leaning)
    chances = (1 - _EVEN) * weight / weight.sum(axis=1, keepdims=True) + _EVEN / len(FIRST_ACTIONS)
    action = (draws[:, :1] >= chances.cumsum(axis=1)[:, :-1]).sum(axis=1)
    odds = _SETTLES / (1 - _SETTLES)
    odds = odds[topic] * np.exp(_HARDER[priority])[:, None]
    settles = odds / (1 + odds)
    settled = draws[:, 1] < settles[np.arange(len(action)), action]
    noise = np.exp(_SPREAD * ndtri(draws[:, 2:4]) - _SPREAD**2 / 2)
    minutes = MINUTES[action] * noise[:, 0] + np.where(settled, 0.0, REWORK * noise[:, 1])
    return Actions(action, chances, settles, settled, np.round(minutes, 1))


def find_team(topic: Ints, action: Ints) -> Ints:
    """Return who does an action, an index in `TEAMS`: finance answers what is about money."""
    by_action = np.array([0, 0, 1, 2, 3])[action]
    is_money = np.isin(topic, [TOPICS.index("billing"), TOPICS.index("price")]) & (
        action <= FIRST_ACTIONS.index("answer")
    )
    return np.where(is_money, TEAMS.index("finance"), by_action)


def expect_costs(topic: Ints, settles: Floats) -> Floats:
    """Return the mean money that each action costs on tickets, rework included, (n, actions)."""
    team = np.stack([find_team(topic, np.full(len(topic), a)) for a in range(len(FIRST_ACTIONS))], axis=1)
    return (MINUTES + (1 - settles) * REWORK) * RATES[team] / 60


assert len(CHANNELS) == len(_BY_CHANNEL)
