"""Loops over sorted facts, one account after another: where windows begin and end, and what they hold.

They are plain Python, which `engine.native_code` compiles. So they take flat arrays, as a compiled function does, and
their sizes: a table lies row by row. They call nothing, not even `min`, so that the compiled code needs no Python to
run. Arrays are int64, but `found`. These arguments are the same everywhere:

    starts      (accounts + 1,)     where each account's facts begin; the last is where they end
    t           (facts,)            instants in µs, ascending within an account
    seen_from   (facts,)            the first instant that sees a fact
    seen_until  (facts,) or (1,)    the last one; one for all where `ends` is 0
    as_ofs      (instants,)         ascending
    positions   (accounts, edges)   each account's first fact at or after each edge
    unsure      (accounts, instants)  before it, an instant sees all of an account's facts that have come
    windows     (asks, 2, instants) places in the edges: where each ask's window begins and ends
    found       (asks * instants, stride)  float64, filled; the first columns are the accounts
"""

# ruff: noqa: C901, D417, PLR0912, PLR0913, PLR0917, PLR1730, SIM102  # compiled loops: long, over plain arrays, calling nothing

from __future__ import annotations

import math
from typing import Any

from features.core.timestamps import DAY
from features.engine.native_code import ARRAY, FACTOR, FLOATS, NUMBER

_SEEN = (ARRAY, ARRAY, NUMBER, ARRAY, ARRAY)  # seen_from, seen_until, ends, unsure, as_ofs
_SIZES = (NUMBER, NUMBER, NUMBER, NUMBER)  # accounts, edges, instants, asks


def find_positions(starts: Any, t: Any, edges: Any, accounts: Any, count: Any, positions: Any) -> None:
    """Fill in `positions`, of `count` edges: instants, ascending."""
    for a in range(accounts):
        i, end = starts[a], starts[a + 1]
        for e in range(count):
            edge = edges[e]
            while i < end and t[i] < edge:
                i += 1
            positions[a * count + e] = i


def find_unsure(
    starts: Any,
    t: Any,
    seen_from: Any,
    seen_until: Any,
    ends: Any,
    as_ofs: Any,
    accounts: Any,
    instants: Any,
    unsure: Any,
) -> None:
    """Fill in `unsure`: the first fact that has come by an instant and isn't seen then, or the end of all facts."""
    for a in range(accounts):
        for k in range(instants):
            unsure[a * instants + k] = starts[a + 1]
        after = 0
        for i in range(starts[a], starts[a + 1]):
            while after < instants and as_ofs[after] <= t[i]:
                after += 1
            k = after
            while k < instants and as_ofs[k] < seen_from[i]:
                if i < unsure[a * instants + k]:
                    unsure[a * instants + k] = i
                k += 1
            k = instants - 1
            while k >= after and as_ofs[k] > seen_until[i * ends]:
                if i < unsure[a * instants + k]:
                    unsure[a * instants + k] = i
                k -= 1


def sum_windows(
    positions: Any,
    values: Any,
    counts: Any,
    seen_from: Any,
    seen_until: Any,
    ends: Any,
    unsure: Any,
    as_ofs: Any,
    windows: Any,
    accounts: Any,
    edges: Any,
    instants: Any,
    asks: Any,
    running: Any,
    scale: Any,
    stride: Any,
    found: Any,
) -> None:
    """Add up values in windows, or count facts if `counts` is 1: a difference of two running sums, over `scale`."""
    for a in range(accounts):
        total = 0
        running[0] = positions[a * edges] if counts else 0
        for e in range(1, edges):
            if counts:
                running[e] = positions[a * edges + e]
            else:
                for i in range(positions[a * edges + e - 1], positions[a * edges + e]):
                    total += values[i]
                running[e] = total
        for w in range(asks):
            for k in range(instants):
                begin, end = windows[w * 2 * instants + k], windows[(w * 2 + 1) * instants + k]
                inside = running[end] - running[begin]
                sure = unsure[a * instants + k]
                if sure < positions[a * edges + begin]:
                    sure = positions[a * edges + begin]
                for i in range(sure, positions[a * edges + end]):
                    if not (seen_from[i] <= as_ofs[k] and seen_until[i * ends] >= as_ofs[k]):
                        inside -= 1 if counts else values[i]
                found[(w * instants + k) * stride + a] = float(inside) / scale


def count_days(
    positions: Any,
    t: Any,
    clock: Any,
    seen_from: Any,
    seen_until: Any,
    ends: Any,
    unsure: Any,
    as_ofs: Any,
    windows: Any,
    accounts: Any,
    edges: Any,
    instants: Any,
    asks: Any,
    running: Any,
    stride: Any,
    found: Any,
) -> None:
    """Count the days with a fact; a day begins at `clock`, and so does every window."""
    for a in range(accounts):
        total, running[0] = 0, 0
        for e in range(1, edges):
            before = clock - DAY
            for i in range(positions[a * edges + e - 1], positions[a * edges + e]):
                day = (t[i] - clock) // DAY
                if i == positions[a * edges + e - 1] or day != before:
                    total += 1
                before = day
            running[e] = total
        for w in range(asks):
            for k in range(instants):
                first, last = windows[w * 2 * instants + k], windows[(w * 2 + 1) * instants + k]
                begin, end = positions[a * edges + first], positions[a * edges + last]
                inside = running[last] - running[first]
                i = unsure[a * instants + k]
                if i < begin:
                    i = begin
                # From the first fact of its day on: a day without a fact that is seen doesn't count.
                while begin < i < end and (t[i - 1] - clock) // DAY == (t[i] - clock) // DAY:
                    i -= 1
                while i < end:
                    day, seen = (t[i] - clock) // DAY, 0
                    while i < end and (t[i] - clock) // DAY == day:
                        if seen_from[i] <= as_ofs[k] and seen_until[i * ends] >= as_ofs[k]:
                            seen = 1
                        i += 1
                    inside -= 1 - seen
                found[(w * instants + k) * stride + a] = float(inside)


def count_values(
    positions: Any,
    codes: Any,
    seen_from: Any,
    seen_until: Any,
    ends: Any,
    unsure: Any,
    as_ofs: Any,
    windows: Any,
    accounts: Any,
    edges: Any,
    instants: Any,
    asks: Any,
    by_end: Any,
    place: Any,
    mine: Any,
    last: Any,
    stride: Any,
    found: Any,
) -> None:
    """Count different values.

    Args:
        codes: (facts,) a number from 0 for each value, -1 for none.
        by_end: (asks * instants,) windows in the order of their ends, each as ask * instants + instant.
        place: Scratch, one for each code: of the account's values `mine[:used]`, each is at `place[code]`.
        mine: Scratch, likewise.
        last: Scratch, likewise: the last fact with each value of the account.
        positions, seen_from, seen_until, ends, unsure, as_ofs, windows, accounts, edges, instants, asks, stride, found:
            As everywhere.
    """
    for a in range(accounts):
        used, i = 0, positions[a * edges]
        for order in range(asks * instants):
            w, k = by_end[order] // instants, by_end[order] % instants
            begin = positions[a * edges + windows[w * 2 * instants + k]]
            end = positions[a * edges + windows[(w * 2 + 1) * instants + k]]
            while i < end:
                code = codes[i]
                if code >= 0:
                    at = place[code]
                    if at >= used or mine[at] != code:
                        at = used
                        place[code], mine[at] = at, code
                        used += 1
                    last[at] = i
                i += 1
            count = 0
            for at in range(used):
                if last[at] >= begin:
                    count += 1
            found[(w * instants + k) * stride + a] = float(count)
        for w in range(asks):
            for k in range(instants):
                begin = positions[a * edges + windows[w * 2 * instants + k]]
                end = positions[a * edges + windows[(w * 2 + 1) * instants + k]]
                if unsure[a * instants + k] < end:
                    used = 0
                    for j in range(begin, end):
                        code = codes[j]
                        if code >= 0 and seen_from[j] <= as_ofs[k] and seen_until[j * ends] >= as_ofs[k]:
                            at = place[code]
                            if at >= used or mine[at] != code:
                                place[code], mine[used] = used, code
                                used += 1
                    found[(w * instants + k) * stride + a] = float(used)


def number_values(starts: Any, codes: Any, accounts: Any, place: Any, mine: Any, numbers: Any) -> None:
    """Fill in `numbers`, (facts,): each account's codes from 0 in the order of their first facts; as `count_values`."""
    for a in range(accounts):
        used = 0
        for i in range(starts[a], starts[a + 1]):
            code = codes[i]
            at = -1
            if code >= 0:
                at = place[code]
                if at >= used or mine[at] != code:
                    at = used
                    place[code], mine[at] = at, code
                    used += 1
            numbers[i] = at


def find_extremes(
    positions: Any,
    values: Any,
    of_t: Any,
    least: Any,
    nothing: Any,
    seen_from: Any,
    seen_until: Any,
    ends: Any,
    unsure: Any,
    as_ofs: Any,
    windows: Any,
    accounts: Any,
    edges: Any,
    instants: Any,
    asks: Any,
    scale: Any,
    stride: Any,
    found: Any,
) -> None:
    """Find the least value in windows, or the largest; `values` ascend if `of_t` is 1; `nothing` stands for null."""
    for a in range(accounts):
        for w in range(asks):
            for k in range(instants):
                begin = positions[a * edges + windows[w * 2 * instants + k]]
                end = positions[a * edges + windows[(w * 2 + 1) * instants + k]]
                sure = unsure[a * instants + k]
                if sure < begin:
                    sure = begin
                if sure > end:
                    sure = end
                best = nothing
                if of_t and begin < sure:
                    best = values[begin] if least else values[sure - 1]
                elif not of_t:
                    for i in range(begin, sure):
                        if (values[i] < best) == (least != 0):
                            best = values[i]
                for i in range(sure, end):
                    if seen_from[i] <= as_ofs[k] and seen_until[i * ends] >= as_ofs[k]:
                        if (values[i] < best) == (least != 0):
                            best = values[i]
                found[(w * instants + k) * stride + a] = math.nan if best == nothing else float(best) / scale


KERNELS: dict[Any, tuple[str, ...]] = {
    find_positions: (ARRAY, ARRAY, ARRAY, NUMBER, NUMBER, ARRAY),
    find_unsure: (ARRAY, ARRAY, ARRAY, ARRAY, NUMBER, ARRAY, NUMBER, NUMBER, ARRAY),
    sum_windows: (ARRAY, ARRAY, NUMBER, *_SEEN, ARRAY, *_SIZES, ARRAY, FACTOR, NUMBER, FLOATS),
    count_days: (ARRAY, ARRAY, NUMBER, *_SEEN, ARRAY, *_SIZES, ARRAY, NUMBER, FLOATS),
    count_values: (ARRAY, ARRAY, *_SEEN, ARRAY, *_SIZES, ARRAY, ARRAY, ARRAY, ARRAY, NUMBER, FLOATS),
    number_values: (ARRAY, ARRAY, NUMBER, ARRAY, ARRAY, ARRAY),
    find_extremes: (ARRAY, ARRAY, NUMBER, NUMBER, NUMBER, *_SEEN, ARRAY, *_SIZES, FACTOR, NUMBER, FLOATS),
}
