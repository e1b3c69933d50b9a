"""Simulate the usage rows of one day: how much, by whom and of what, by an account's state and traits."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.core.timestamps import DAY
from features.samples.causes import Floats, arrange_by_state
from features.samples.parts import Rows, to_timestamps
from features.samples.population import Population, Today, draw_columns

FEATURES = ("dashboard", "reports", "search", "export", "automation", "api")
_SECONDS = np.array([40.0, 90.0, 15.0, 60.0, 30.0, 2.0])  # a use takes, by feature

# Factor on the day of the week, Monday first, by rhythm: office, shop, round the clock.
WEEK: Floats = np.array(
    [
        [1.30, 1.35, 1.35, 1.30, 1.20, 0.28, 0.22],
        [0.80, 0.85, 0.90, 1.00, 1.20, 1.30, 0.95],
        [1.02, 1.02, 1.02, 1.02, 1.02, 0.95, 0.95],
    ]
)
_ROWS = arrange_by_state(
    settling=0.85,
    misfit=0.50,
    steady=1.0,
    growing=1.5,
    fading=0.75,
    faded=0.50,
    dormant=0.20,
    aggrieved=0.90,
    bitter=0.70,
    pinched=0.85,
)
_DEPTH = arrange_by_state(
    settling=0.9,
    misfit=0.6,
    steady=1.0,
    growing=1.6,
    fading=0.70,
    faded=0.50,
    dormant=0.45,
    aggrieved=0.9,
    bitter=0.75,
    pinched=0.75,
)
_BREADTH = arrange_by_state(  # share of the account's people who use the product
    settling=0.5,
    misfit=0.25,
    steady=0.6,
    growing=1.0,
    fading=0.42,
    faded=0.3,
    dormant=0.15,
    aggrieved=0.6,
    bitter=0.5,
    pinched=0.5,
)
_ERRORS = arrange_by_state(  # share of uses that fail
    settling=0.02,
    misfit=0.07,
    steady=0.01,
    growing=0.01,
    fading=0.01,
    faded=0.01,
    dormant=0.01,
    aggrieved=0.09,
    bitter=0.02,
    pinched=0.01,
)
_MIX = arrange_by_state(  # leaning towards each of FEATURES
    settling=(3.5, 1.5, 5.0, 0.2, 0.6, 0.2),
    misfit=(6.0, 0.6, 2.0, 0.8, 0.1, 0.1),
    steady=(2.6, 3.4, 2.4, 0.6, 0.9, 0.9),
    growing=(1.6, 2.4, 1.6, 0.4, 3.8, 3.8),
    fading=(5.5, 1.2, 2.0, 2.6, 0.1, 0.1),
    faded=(4.0, 0.6, 0.8, 4.2, 0.05, 0.05),
    dormant=(4.0, 0.6, 0.6, 3.5, 0.1, 0.1),
    aggrieved=(3.0, 3.0, 3.0, 1.6, 0.4, 0.4),
    bitter=(2.0, 1.6, 3.0, 4.5, 0.2, 0.2),
    pinched=(1.0, 7.0, 0.8, 2.0, 0.3, 0.3),
)


def emit(rng: np.random.Generator, people: Population, today: Today) -> Rows:
    """Simulate the rows of a day: one for each person and feature used, with the count of uses."""
    who, state = today.who, today.state
    calm = 1 / people.noise[who] ** 2
    mood = rng.standard_gamma(calm) / calm
    rows = rng.poisson(people.rows[who] * _ROWS[state] * WEEK[people.rhythm[who], today.weekday] * mood)
    who, state = np.repeat(who, rows), np.repeat(state, rows)
    n = len(who)
    feature = draw_columns(rng, people.taste[who] * _MIX[state])
    crowd = np.maximum(1, np.rint(people.users[who] * _BREADTH[state]))
    count = 1 + rng.poisson(people.depth[who] * _DEPTH[state] * rng.standard_gamma(4, n) / 4)
    return {
        "account": who.astype(np.int32),
        "at": today.day * DAY + rng.integers(0, DAY // 10**6, n) * 10**6,
        "user": (rng.random(n) ** 1.5 * crowd).astype(np.int16),
        "feature": feature.astype(np.int8),
        "count": count.astype(np.int32),
        "duration_s": np.rint(count * _SECONDS[feature] * rng.lognormal(0, 0.4, n)).astype(np.int32),
        "errors": rng.binomial(count, _ERRORS[state]).astype(np.int32),
    }


def build_table(rows: Rows, ids: pa.Array) -> pa.Table:
    """Build rows in the form of the data contract."""
    account = ids.take(pa.array(rows["account"]))
    people = pa.array([f"-{number:02d}" for number in range(100)])
    return pa.table(
        {
            "account_id": account,
            "used_at": to_timestamps(rows["at"]),
            "user_id": pc.binary_join_element_wise(account, people.take(pa.array(rows["user"])), ""),
            "feature": pa.array(FEATURES).take(pa.array(rows["feature"])),
            "count": rows["count"],
            "duration_s": rows["duration_s"],
            "errors": rows["errors"],
        }
    )
