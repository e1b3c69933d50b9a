"""Draw which problem each ticket is about: what failed, what comes back unsettled, or something new."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.core.timestamps import DAY
from features.samples.causes import Floats, State
from features.samples.parts import Rows
from features.samples.service.problems import arrange_shares, find_code, find_topics
from features.samples.terms import Flags, Ints

DRAWS = 3  # random numbers a ticket
RETURN_DAYS = 14
HIT_DAYS = 90
_RETURNS = 0.75  # chance that the next ticket in time, under the same tag, is about what was not settled
_FOLLOWS = (0.45, 0.85)  # chance that a ticket in trouble is about its cause, by whether its tag is the cause's
_NAMES_PRICE = 0.9  # chance that the first ticket about price after a price rise is about the rise


@dataclass(frozen=True)
class TicketProblems:
    """The problems of n tickets.

    Args:
        problem: Code of the problem.
        marks: Whether it tells of what made the account aggrieved or pinched: the first ticket of the cause.
        hit: Whether it is the account's first of its problem in `HIT_DAYS`.
        returned: Whether it is about what the ticket before did not settle.
    """

    problem: Ints
    marks: Flags
    hit: Flags
    returned: Flags


def draw_problems(draws: Floats, rows: Rows, settled: Flags, accounts: int) -> TicketProblems:
    """Draw the problems of tickets, each account's in the order in which they were opened.

    Args:
        draws: Uniform numbers, (n, `DRAWS`).
        rows: Of tickets, in the order of days.
        settled: Whether the first action settled each.
        accounts: Number of accounts.
    """
    usual, failing, topic_of = arrange_shares("usual"), arrange_shares("failing"), find_topics()
    n, count = len(settled), usual.shape[1]
    price, rise = topic_of[find_code("price_rise")], find_code("price_rise")
    found = TicketProblems(np.zeros(n, np.int64), np.zeros(n, bool), np.zeros(n, bool), np.zeros(n, bool))
    last = np.full(accounts, -1)  # each account's ticket before, -1 without one
    begun, cause = np.full(accounts, -1), np.full(accounts, -1)  # the trouble told of, and its problem
    told = np.full((accounts, count), -(10**18))  # when each problem was last told of, µs
    for now in _in_turn(rows["account"]):
        who, topic, state, since = (rows[name][now] for name in ("account", "topic", "state", "since"))
        chance, pick, at = draws[now, 0], draws[now, 1], rows["at"][now]
        before = last[who]
        recent = (before >= 0) & (at - rows["at"][before] < RETURN_DAYS * DAY)
        is_new_trouble = (since >= 0) & (since != begun[who])
        fails = is_new_trouble & rows["failed"][now]
        pinches = is_new_trouble & (state == State.PINCHED) & (topic == price) & (draws[now, 2] < _NAMES_PRICE)
        weights = np.where(fails[:, None], failing[topic], usual[topic])
        anew = recent & settled[before] & ~fails
        rest = np.flatnonzero(anew)
        weights[rest, found.problem[before[rest]]] = 0.0  # what was settled does not come back at once
        reach = weights.cumsum(axis=1)
        problem = (pick[:, None] * reach[:, -1:] >= reach[:, :-1]).sum(axis=1)
        problem = np.where(pinches, rise, problem)
        known = (since >= 0) & (since == begun[who]) & (cause[who] >= 0)
        follows = known & ~anew & (chance < np.where(topic_of[cause[who]] == topic, *reversed(_FOLLOWS)))
        comes_back = recent & ~settled[before] & ~fails & ~pinches & (topic == rows["topic"][before])
        comes_back &= chance < _RETURNS
        problem = np.where(follows, cause[who], problem)
        problem = np.where(comes_back, found.problem[before], problem)
        marks = fails | pinches
        begun[who], cause[who] = np.where(marks, since, begun[who]), np.where(marks, problem, cause[who])
        found.problem[now], found.marks[now], found.returned[now] = problem, marks, comes_back
        found.hit[now] = at - told[who, problem] >= HIT_DAYS * DAY
        told[who, problem], last[who] = at, now
    return found


def _in_turn(account: Ints) -> list[Ints]:
    """Return the rows of every account's first ticket, of every second one, and so on."""
    order = np.argsort(account, kind="stable")
    ordered = account[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    turn = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    by_turn = np.argsort(turn, kind="stable")
    edges = np.flatnonzero(np.diff(turn[by_turn], prepend=-1))
    return np.split(order[by_turn], edges[1:]) if len(order) else []
