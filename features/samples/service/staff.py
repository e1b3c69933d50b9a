"""Make the people who serve, and say who worked on which ticket and what that cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.core.timestamps import DAY
from features.samples.causes import Floats
from features.samples.parts import pad_numbers
from features.samples.service.actions import RATES, TEAMS
from features.samples.terms import Ints

_SERVED = np.array([250, 500, 400, 900, 700])  # accounts a member, by team
_ZONES = ("Europe/Berlin", "America/New_York", "Asia/Shanghai")
_COUNTRIES = ("DE", "US", "CN")
_GRADES = ((1.0, 0.9, 1.1), ("agent", "junior agent", "senior agent"))


@dataclass(frozen=True)
class Staff:
    """The k people who serve the accounts of a chunk.

    Args:
        emails: Their addresses.
        team: Index in `TEAMS`, in order.
        rate: Money an hour.
        first: The first of each team, and how many it has.
    """

    emails: pa.Array
    team: Ints
    rate: Floats
    first: Ints
    count: Ints


def hire_staff(accounts: int, chunk: int) -> Staff:
    """Make the staff for so many accounts; nothing is drawn."""
    count = np.maximum(2, np.rint(accounts / _SERVED)).astype(np.int64)
    team = np.repeat(np.arange(len(TEAMS)), count)
    first = count.cumsum() - count
    grade = (np.arange(len(team)) - first[team]) % 3
    numbers = pad_numbers(np.arange(len(team)), 3)
    emails = pc.binary_join_element_wise(f"agent-{chunk:02d}-", numbers, "@tidewater.example", "")
    rate = np.round(RATES[team] * np.array(_GRADES[0])[grade], 2)
    return Staff(emails, team, rate, first, count)


def assign_tickets(staff: Staff, team: Ints, draw: Floats) -> Ints:
    """Return who works on each ticket: anyone of the team, (n,)."""
    return staff.first[team] + (draw * staff.count[team]).astype(np.int64)


def build_table(staff: Staff) -> pa.Table:
    """Build the chunk's rows of `staff`, in the form of the data contract."""
    place = np.arange(len(staff.team)) - staff.first[staff.team]
    region = pa.array(place % 3)
    return pa.table(
        {
            "email": staff.emails,
            "team": pa.array(TEAMS).take(pa.array(staff.team)),
            "role": pa.array(_GRADES[1]).take(pa.array(place % 3)),
            "manager": staff.emails.take(pa.array(staff.first[staff.team])),
            "timezone": pa.array(_ZONES).take(region),
            "country": pa.array(_COUNTRIES).take(region),
            "rate_per_hour": pa.array(staff.rate).cast(pa.decimal128(18, 2)),
        }
    )


def build_payroll(staff: Staff, who: Ints, at: Ints, minutes: Floats) -> pa.Table:
    """Build one row a member and month: the minutes of work on the tickets opened in it, and what is paid for them."""
    month = (at // DAY).astype("M8[D]").astype("M8[M]").astype(np.int64)
    code, place = np.unique(month * 10_000 + who, return_inverse=True)
    worked = np.bincount(place, minutes, minlength=len(code))
    member = code % 10_000
    return pa.table(
        {
            "month": pa.array((code // 10_000).astype("M8[M]").astype("M8[D]")),
            "email": staff.emails.take(pa.array(member)),
            "team": pa.array(TEAMS).take(pa.array(staff.team[member])),
            "minutes": worked,
            "paid": worked / 60 * staff.rate[member],
        }
    )
