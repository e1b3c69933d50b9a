"""BG/NBD on buyers that were simulated by it: the parameters come back, and its forecasts come true."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from training import bgnbd
from training.bgnbd import BgNbd, Buyers

TRUE = BgNbd(r=0.9, alpha=60.0, a=0.8, b=2.5)
DAYS = 90.0


@pytest.fixture(scope="module")
def simulated():
    """(buyers, alive at as_of, orders in the next 90 days) of 12,000 accounts."""
    random, size = np.random.default_rng(1), 12_000
    rate, leaves = random.gamma(TRUE.r, 1 / TRUE.alpha, size), random.beta(TRUE.a, TRUE.b, size)
    age = random.uniform(100, 700, size)
    repeats, last, ahead, now = (np.zeros(size) for _ in range(4))
    alive, still = np.ones(size, dtype=bool), np.ones(size, dtype=bool)
    while still.any():
        now = now + random.exponential(1 / rate)
        still &= now < age + DAYS
        past = still & (now < age)
        repeats[past] += 1
        last[past] = now[past]
        ahead[still & ~past] += 1
        still &= random.random(size) > leaves
        alive[past] = still[past]
    return Buyers(repeats, last, age), alive, ahead


@pytest.fixture(scope="module")
def model(simulated):
    return bgnbd.fit(simulated[0])


def test_the_parameters_come_back(model):
    assert model.r == pytest.approx(TRUE.r, rel=0.06)
    assert model.alpha == pytest.approx(TRUE.alpha, rel=0.08)
    assert model.a / (model.a + model.b) == pytest.approx(TRUE.a / (TRUE.a + TRUE.b), rel=0.08)


@pytest.mark.parametrize("fifth", range(5))
def test_forecasts_come_true_from_the_likeliest_to_the_least(model, simulated, fifth):
    buyers, alive, ahead = simulated
    rows = np.array_split(np.argsort(model.silent(buyers, DAYS)), 5)[fifth]
    assert model.silent(buyers, DAYS)[rows].mean() == pytest.approx((ahead[rows] == 0).mean(), abs=0.03)
    assert model.expected(buyers, DAYS)[rows].mean() == pytest.approx(ahead[rows].mean(), rel=0.1, abs=0.02)
    assert model.alive(buyers)[rows].mean() == pytest.approx(alive[rows].mean(), abs=0.03)


def test_figures_by_hand():
    simple, buyers = BgNbd(1.0, 1.0, 1.0, 1.0), Buyers(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.array([3.0, 3.0]))
    # a / (b + x - 1) = 1, ((alpha + T) / (alpha + t_x)) ** (r + x) = 2 ** 2.
    assert simple.alive(buyers).tolist() == pytest.approx([1.0, 1 / 5])
    assert simple.silent(buyers, 4.0).tolist() == pytest.approx([4 / 8, 1 - 1 / 5 * (1 - 1 / 4)])


def test_a_longer_horizon_is_less_silent_and_expects_more(model, simulated):
    buyers = simulated[0]
    assert (model.silent(buyers, 30) > model.silent(buyers, 90)).all()
    assert (model.expected(buyers, 30) < model.expected(buyers, 90)).all()


def test_columns_of_snapshots_are_read_as_buyers():
    frame = pd.DataFrame(
        {
            "orders_in_all": [1.0, 5.0, 3.0],
            "days_since_first_purchase": [40.0, 100.0, 20.0],
            "days_since_purchase": [40.0, 10.0, 20.0],
        }
    )
    found = Buyers.of(frame)
    assert found.repeats.tolist() == [0.0, 4.0, 0.0]  # three orders in one instant are one visit
    assert found.last.tolist() == [0.0, 90.0, 0.0]
    assert found.age.tolist() == [40.0, 100.0, 20.0]


@pytest.mark.parametrize(
    "buyers",
    [
        Buyers(np.zeros(60), np.zeros(60), np.full(60, 50.0)),
        Buyers(np.full(60, 900.0), np.full(60, 49.0), np.full(60, 50.0)),
        Buyers(np.array([0.0, 2000.0]), np.array([0.0, 3000.0]), np.array([1e-5, 3650.0])),
    ],
)
def test_strange_buyers_still_give_finite_numbers(buyers):
    model = bgnbd.fit(buyers)
    silent, expected = model.silent(buyers, 90), model.expected(buyers, 90)
    assert ((silent >= 0) & (silent <= 1)).all()
    assert (np.isfinite(expected) & (expected >= 0)).all()
