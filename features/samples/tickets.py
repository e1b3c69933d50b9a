"""Simulate the support tickets of one day: how many, about what, and how well they are answered, by state."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from features.core.timestamps import DAY
from features.samples.causes import arrange_by_state
from features.samples.parts import Rows, number_ids, to_timestamps
from features.samples.population import Population, Today, draw_columns
from features.samples.usage import WEEK

PRIORITIES = ("low", "normal", "high", "urgent")
TOPICS = ("how-to", "bug", "outage", "billing", "price", "integration", "idea")
CHANNELS = ("e-mail", "web", "chat", "phone")
_HOUR_US = 3_600_000_000
_PRIORITY_SPEED = np.array([1.6, 1.0, 0.6, 0.35])  # factor on the hours to answer
_ANSWERED = 0.4  # share of resolved tickets with a CSAT

_OPENED = arrange_by_state(  # factor on the account's tickets a day
    settling=1.8,
    misfit=2.4,
    steady=1.0,
    growing=1.2,
    fading=0.6,
    faded=0.35,
    dormant=0.12,
    aggrieved=4.0,
    bitter=2.4,
    pinched=3.0,
)
_PRIORITY = arrange_by_state(
    settling=(0.3, 0.5, 0.15, 0.05),
    misfit=(0.25, 0.45, 0.22, 0.08),
    steady=(0.3, 0.5, 0.15, 0.05),
    growing=(0.35, 0.5, 0.12, 0.03),
    fading=(0.35, 0.5, 0.12, 0.03),
    faded=(0.4, 0.5, 0.08, 0.02),
    dormant=(0.5, 0.45, 0.04, 0.01),
    aggrieved=(0.05, 0.2, 0.4, 0.35),
    bitter=(0.1, 0.35, 0.35, 0.2),
    pinched=(0.2, 0.5, 0.25, 0.05),
)
_TOPIC = arrange_by_state(
    settling=(0.55, 0.1, 0.02, 0.08, 0.0, 0.2, 0.05),
    misfit=(0.3, 0.26, 0.04, 0.06, 0.04, 0.3, 0.0),
    steady=(0.3, 0.25, 0.04, 0.15, 0.02, 0.12, 0.12),
    growing=(0.25, 0.13, 0.02, 0.08, 0.02, 0.25, 0.25),
    fading=(0.35, 0.25, 0.04, 0.2, 0.04, 0.08, 0.04),
    faded=(0.3, 0.2, 0.04, 0.34, 0.08, 0.03, 0.01),
    dormant=(0.2, 0.15, 0.04, 0.5, 0.1, 0.01, 0.0),
    aggrieved=(0.07, 0.45, 0.33, 0.08, 0.02, 0.05, 0.0),
    bitter=(0.12, 0.4, 0.15, 0.18, 0.08, 0.05, 0.02),
    pinched=(0.08, 0.08, 0.02, 0.22, 0.57, 0.02, 0.01),
)
_RESOLVED = arrange_by_state(  # median hours to resolve a ticket of normal priority
    settling=20.0,
    misfit=30.0,
    steady=20.0,
    growing=18.0,
    fading=22.0,
    faded=24.0,
    dormant=24.0,
    aggrieved=90.0,
    bitter=48.0,
    pinched=26.0,
)
_CSAT = arrange_by_state(  # mean before rounding and clipping to 1 to 5
    settling=4.3,
    misfit=3.3,
    steady=4.2,
    growing=4.5,
    fading=3.9,
    faded=3.6,
    dormant=3.4,
    aggrieved=1.8,
    bitter=2.2,
    pinched=3.0,
)
_REOPENED = arrange_by_state(
    settling=0.05,
    misfit=0.12,
    steady=0.04,
    growing=0.03,
    fading=0.05,
    faded=0.05,
    dormant=0.05,
    aggrieved=0.35,
    bitter=0.22,
    pinched=0.06,
)
_ESCALATED = arrange_by_state(
    settling=0.02,
    misfit=0.06,
    steady=0.02,
    growing=0.01,
    fading=0.02,
    faded=0.02,
    dormant=0.02,
    aggrieved=0.35,
    bitter=0.2,
    pinched=0.08,
)


def emit(rng: np.random.Generator, people: Population, today: Today) -> Rows:
    """Simulate the tickets opened on a day; a failure of the service causes one or more at once.

    How a ticket will be answered is drawn as it is opened, from the state of that day alone. What `samples.service`
    makes of the tickets needs the hidden state, and what brought it about.
    """
    who, state = today.who, today.state
    week = WEEK[people.rhythm[who], today.weekday]
    opened = rng.poisson(people.tickets[who] * _OPENED[state] * week)
    opened += today.failed * (1 + rng.poisson(0.6, len(who)))
    failed, before, since = (np.repeat(values, opened) for values in (today.failed, today.before, today.since))
    who, state = np.repeat(who, opened), np.repeat(state, opened)
    n = len(who)
    priority = draw_columns(rng, _PRIORITY[state])
    hours = _RESOLVED[state] * _PRIORITY_SPEED[priority] * rng.lognormal(0, 0.8, n)
    at = today.day * DAY + rng.integers(0, DAY // 10**6, n) * 10**6
    csat = np.clip(np.rint(rng.normal(_CSAT[state], 0.8)), 1, 5)
    return {
        "account": who,
        "at": at,
        "answered": at + (hours * rng.uniform(0.05, 0.4, n) * _HOUR_US).astype(np.int64) + 10**6,
        "resolved": at + (hours * _HOUR_US).astype(np.int64) + 2 * 10**6,
        "priority": priority,
        "topic": draw_columns(rng, _TOPIC[state]),
        "channel": rng.choice(len(CHANNELS), n, p=(0.4, 0.3, 0.2, 0.1)),
        "csat": np.where(rng.random(n) < _ANSWERED, csat, 0).astype(np.int8),
        "reopened": rng.random(n) < _REOPENED[state],
        "escalated": rng.random(n) < _ESCALATED[state],
        "state": state,
        "failed": failed.astype(bool),
        "before": before,
        "since": since,
    }


def build_table(rows: Rows, ids: pa.Array, *, chunk: int, until: int) -> pa.Table:
    """Build rows in the form of the data contract; what happens on or after day `until` is unknown, so null."""
    end = until * DAY
    resolved = rows["resolved"]
    return pa.table(
        {
            "ticket_id": number_ids("K", chunk, len(resolved)),
            "account_id": ids.take(pa.array(rows["account"])),
            "opened_at": to_timestamps(rows["at"]),
            "first_response_at": to_timestamps(rows["answered"], absent=rows["answered"] >= end),
            "resolved_at": to_timestamps(resolved, absent=resolved >= end),
            "priority": pa.array(PRIORITIES).take(pa.array(rows["priority"])),
            "topic": pa.array(TOPICS).take(pa.array(rows["topic"])),
            "channel": pa.array(CHANNELS).take(pa.array(rows["channel"])),
            "csat": pa.array(rows["csat"], mask=(rows["csat"] == 0) | (resolved >= end)),
            "reopened": rows["reopened"],
            "escalated": rows["escalated"],
        }
    )
