"""BG/NBD on buyers that were simulated by it: the parameters come back, and its forecasts come true."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from training.models import bg_nbd
from training.models.bg_nbd import BgNbd, Buyers

TRUE = BgNbd(r=0.9, alpha=60.0, a=0.8, b=2.5)
DAYS, LEAD = 90.0, 30.0


@pytest.fixture(scope="module")
def simulated():
    """(buyers, alive at as_of, orders in the next 90 days, those after the first 30) of 12,000 accounts."""
    random, size = np.random.default_rng(1), 12_000
    rate, leaves = random.gamma(TRUE.r, 1 / TRUE.alpha, size), random.beta(TRUE.a, TRUE.b, size)
    age = random.uniform(100, 700, size)
    repeats, last, ahead, led, now = (np.zeros(size) for _ in range(5))
    alive, still = np.ones(size, dtype=bool), np.ones(size, dtype=bool)
    while still.any():
        now = now + random.exponential(1 / rate)
        still &= now < age + DAYS
        past = still & (now < age)
        repeats[past] += 1
        last[past] = now[past]
        ahead[still & ~past] += 1
        led[still & (now >= age + LEAD)] += 1
        still &= random.random(size) > leaves
        alive[past] = still[past]
    return Buyers(repeats, last, age), alive, ahead, led


@pytest.fixture(scope="module")
def model(simulated):
    return bg_nbd.fit_bg_nbd(simulated[0])


def test_the_parameters_come_back(model):
    assert model.r == pytest.approx(TRUE.r, rel=0.06)
    assert model.alpha == pytest.approx(TRUE.alpha, rel=0.08)
    assert model.a / (model.a + model.b) == pytest.approx(TRUE.a / (TRUE.a + TRUE.b), rel=0.08)


@pytest.mark.parametrize("fifth", range(5))
def test_forecasts_come_true_from_the_likeliest_to_the_least(model, simulated, fifth):
    buyers, alive, ahead, _ = simulated
    rows = np.array_split(np.argsort(model.estimate_silence(buyers, DAYS)), 5)[fifth]
    assert model.estimate_silence(buyers, DAYS)[rows].mean() == pytest.approx((ahead[rows] == 0).mean(), abs=0.03)
    assert model.estimate_orders(buyers, DAYS)[rows].mean() == pytest.approx(ahead[rows].mean(), rel=0.1, abs=0.02)
    assert model.estimate_alive(buyers)[rows].mean() == pytest.approx(alive[rows].mean(), abs=0.03)


@pytest.mark.parametrize("fifth", range(5))
def test_forecasts_after_a_lead_come_true(model, simulated, fifth):
    buyers, _, _, led = simulated
    silent, expected = (f(buyers, DAYS - LEAD, lead=LEAD) for f in (model.estimate_silence, model.estimate_orders))
    rows = np.array_split(np.argsort(silent), 5)[fifth]
    assert silent[rows].mean() == pytest.approx((led[rows] == 0).mean(), abs=0.02)
    assert expected[rows].mean() == pytest.approx(led[rows].mean(), rel=0.1, abs=0.02)


def test_a_lead_leaves_time_to_leave_for_good(model, simulated):
    buyers = simulated[0]
    for days in (30, 90):
        assert (model.estimate_silence(buyers, days, lead=30) >= model.estimate_silence(buyers, days)).all()
        assert (model.estimate_silence(buyers, days, lead=30) >= model.estimate_silence(buyers, days + 30)).all()
        both = model.estimate_orders(buyers, 30) + model.estimate_orders(buyers, days, lead=30)
        assert both == pytest.approx(model.estimate_orders(buyers, days + 30))


def test_with_a_lead_silence_is_what_drawing_rates_and_dropouts_gives():
    model, random = BgNbd(r=0.9, alpha=60.0, a=0.8, b=2.5), np.random.default_rng(3)
    buyers = Buyers(np.array([0.0, 5.0, 900.0]), np.array([0.0, 200.0, 400.0]), np.array([100.0, 250.0, 400.5]))
    posterior = zip(model.r + buyers.repeats, model.alpha + buyers.age, model.b + buyers.repeats, strict=True)
    orders = []
    for shape, rate, stayed in posterior:
        buys, leaves = random.gamma(shape, 1 / rate, 400_000), random.beta(model.a, stayed, 400_000)
        orders.append((np.exp(-buys * leaves * 365) * -np.expm1(-buys * 30)).mean())
    assert model.estimate_silence(buyers, 30, lead=365) == pytest.approx(
        1 - model.estimate_alive(buyers) * orders, abs=2e-3
    )


def test_figures_by_hand():
    simple, buyers = BgNbd(1.0, 1.0, 1.0, 1.0), Buyers(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.array([3.0, 3.0]))
    # a / (b + x - 1) = 1, ((alpha + T) / (alpha + t_x)) ** (r + x) = 2 ** 2.
    assert simple.estimate_alive(buyers).tolist() == pytest.approx([1.0, 1 / 5])
    assert simple.estimate_silence(buyers, 4.0).tolist() == pytest.approx([4 / 8, 1 - 1 / 5 * (1 - 1 / 4)])


def test_a_longer_horizon_is_less_silent_and_expects_more(model, simulated):
    buyers = simulated[0]
    assert (model.estimate_silence(buyers, 30) > model.estimate_silence(buyers, 90)).all()
    assert (model.estimate_orders(buyers, 30) < model.estimate_orders(buyers, 90)).all()


def test_columns_of_snapshots_are_read_as_buyers():
    frame = pd.DataFrame(
        {
            "orders_in_all": [1.0, 5.0, 3.0],
            "days_since_first_purchase": [40.0, 100.0, 20.0],
            "days_since_purchase": [40.0, 10.0, 20.0],
        }
    )
    found = Buyers.from_snapshots(frame)
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
    model = bg_nbd.fit_bg_nbd(buyers)
    for lead in (0, 30):
        silent, expected = model.estimate_silence(buyers, 90, lead=lead), model.estimate_orders(buyers, 90, lead=lead)
        assert ((silent >= 0) & (silent <= 1)).all()
        assert (np.isfinite(expected) & (expected >= 0)).all()
