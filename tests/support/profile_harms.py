"""Harms of a source, on its profile by day from a day on: as tests/support/harms.py does it on its files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from features.diagnostics.source_profile import SourceProfile

ProfileHarm = Callable[[SourceProfile, int], SourceProfile]


def stop(profile: SourceProfile, since: int) -> SourceProfile:
    gone = {name: _empty(getattr(profile, name), since) for name in ("hours", "accounts", "repeats")}
    return replace(profile, **gone)


def lose_half(profile: SourceProfile, since: int) -> SourceProfile:
    hours = profile.hours.copy()
    hours[since:] = np.random.default_rng(since).binomial(hours[since:], 0.5)
    return replace(profile, hours=hours, accounts=np.minimum(profile.accounts, hours.sum(axis=1)))


def repeat(profile: SourceProfile, since: int) -> SourceProfile:
    repeats = profile.repeats.copy()
    repeats[since:] = repeats[since:] * 2 + profile.rows[since:]
    return replace(double(profile, since), repeats=repeats)


def double(profile: SourceProfile, since: int) -> SourceProfile:
    factor = np.where(np.arange(len(profile.hours)) >= since, 2, 1)
    filled = {column: rows * factor for column, rows in profile.filled.items()}
    return replace(profile, hours=profile.hours * factor[:, None], filled=filled)


def shift(profile: SourceProfile, since: int, *, hours: int) -> SourceProfile:
    flat = profile.hours.ravel()
    moved = flat.copy()
    moved[since * 24 :] = 0
    moved[since * 24 + hours :] = flat[since * 24 : len(flat) - hours]
    return replace(profile, hours=moved.reshape(-1, 24))


def multiply_amounts(profile: SourceProfile, since: int, *, factor: float) -> SourceProfile:
    prices, amounts = profile.prices.copy(), profile.logs["amount"].copy()
    for sums in (prices, amounts):
        sums[0, since:] += np.log(factor) * sums[1, since:]
    return replace(profile, prices=prices, logs={**profile.logs, "amount": amounts})


def recase_ids(profile: SourceProfile, since: int) -> SourceProfile:
    unknown = profile.unknown.copy()
    unknown[since:] += profile.rows[since:]
    return replace(stop(profile, since), unknown=unknown)


def take_from_few(profile: SourceProfile, since: int) -> SourceProfile:
    accounts = profile.accounts.copy()
    accounts[since:] = accounts[since:] // 3
    return replace(profile, accounts=accounts)


def empty_column(profile: SourceProfile, since: int, *, column: str) -> SourceProfile:
    return replace(profile, filled={**profile.filled, column: _empty(profile.filled[column], since)})


def rename_values(profile: SourceProfile, since: int, *, column: str) -> SourceProfile:
    values = {}
    for value, rows in profile.values[column].items():
        values[value] = _empty(rows, since)
        values[f"new {value}"] = rows - values[value]
    return replace(profile, values={**profile.values, column: values})


def freeze(profile: SourceProfile, since: int) -> SourceProfile:
    hours, content = profile.hours.copy(), profile.content.copy()
    hours[since:], content[since:] = hours[since - 1], content[since - 1]
    return replace(profile, hours=hours, content=content)


def _empty(figures: np.ndarray, since: int) -> np.ndarray:
    return np.concatenate([figures[:since], np.zeros_like(figures[since:])])


# By name, the source and what is done to it; and the kind of finding that names it.
PROFILE_HARMS: dict[str, tuple[str, ProfileHarm, str]] = {
    "usage stops": ("usage", stop, "silent"),
    "tickets stop": ("tickets", stop, "silent"),
    "purchases stop": ("purchases", stop, "silent"),
    "half of usage lost": ("usage", lose_half, "halved"),
    "half of tickets lost": ("tickets", lose_half, "halved"),
    "half of purchases lost": ("purchases", lose_half, "halved"),
    "usage delivered twice": ("usage", repeat, "repeated"),
    "purchases twice, new ids": ("purchases", double, "doubled"),
    "usage clock 8 h later": ("usage", partial(shift, hours=8), "shifted"),
    "usage a day later": ("usage", partial(shift, hours=24), "shifted"),
    "amounts times 100": ("purchases", partial(multiply_amounts, factor=100.0), "unit"),
    "dollars for euros": ("purchases", partial(multiply_amounts, factor=1.17), "currency"),
    "usage ids re-cased": ("usage", recase_ids, "ids"),
    "usage of a third of accounts": ("usage", take_from_few, "accounts"),
    "a usage column emptied": ("usage", partial(empty_column, column="feature"), "nulls"),
    "ticket topics renamed": ("tickets", partial(rename_values, column="topic"), "values"),
    "usage frozen": ("usage", freeze, "frozen"),
}
