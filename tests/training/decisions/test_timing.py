"""When accounts leave and when they buy next, by cases worked out by hand and by simulation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from training.decisions.timing import (
    PurchaseRhythm,
    compute_days_to_sale,
    estimate_time_to_churn,
    fit_rhythm,
    predict_next_sale,
)

NOW = datetime(2024, 3, 1, tzinfo=UTC)
US = timedelta(microseconds=1)
NAN = np.nan


def days(number):
    return timedelta(days=number)


def test_the_curve_of_leaving_never_falls():
    found = estimate_time_to_churn([30, 60, 90], np.array([[0.2, 0.1, 0.3]]))
    assert found.curve.tolist() == [[0.2, 0.2, 0.3]]
    assert found.days.tolist() == [30, 60, 90]


def test_expected_and_median_days_are_read_off_the_curve():
    found = estimate_time_to_churn([30, 90], np.array([[0.2, 0.8], [0.5, 0.5], [0.1, 0.4], [0.0, 0.0]]))
    # Of 0.8, 0.2 leave by day 30, at 15 on average, and 0.6 between 30 and 90, at 60 on average.
    assert found.expected.tolist() == pytest.approx(
        [(0.2 * 15 + 0.6 * 60) / 0.8, 15, (1.5 + 18) / 0.4, NAN], nan_ok=True
    )
    assert found.median.tolist() == pytest.approx([60, 30, NAN, NAN], nan_ok=True)


def test_nobody_leaves_before_the_lead_is_over():
    found = estimate_time_to_churn([30], np.array([[1.0]]), lead=14)
    assert found.days.tolist() == [44]
    assert (found.expected[0], found.median[0]) == (29, 29)


@pytest.mark.parametrize("order", [-1, 0])
def test_chances_that_do_not_add_up_to_a_time_tell_none(order):
    found = estimate_time_to_churn([30, 90], np.array([[0.9, 0.6]]), order=order)
    assert found.curve.tolist() == [[0.9, 0.6]]
    assert np.isnan([found.expected[0], found.median[0]]).all()


def test_the_next_sale_counts_from_as_of_and_only_within_the_days_looked_at(posted):
    at = {"A": NOW - US, "B": NOW, "C": NOW + days(2), "D": NOW + days(10) - US, "E": NOW + days(10)}
    history = posted(purchases=[*at.items(), ("A", NOW + days(1), {"amount": -5}), ("C", NOW + days(3))])
    rows = pd.DataFrame({"account_id": [*at], "as_of": pd.Timestamp(NOW)})
    found = compute_days_to_sale(history, rows, within=10, data_until=NOW + days(10))
    assert found.tolist() == pytest.approx([np.inf, 0, 2, 10, np.inf])
    assert np.isnan(compute_days_to_sale(history, rows, within=10, data_until=NOW + days(10) - US)).all()


def accounts(gaps, orders, since):
    frame = pd.DataFrame(
        {"days_between_orders": gaps, "orders_in_all": orders, "days_since_purchase": since}, dtype="float64"
    )
    return frame.assign(account_id=[f"A{i}" for i in range(len(frame))], as_of=pd.Timestamp(NOW))


def test_an_accounts_own_gaps_weigh_against_the_companys_by_their_number():
    frame = accounts([10, 10, NAN, NAN], [2, 41, 1, 0], [0, 0, 10, NAN])
    found = predict_next_sale(frame, PurchaseRhythm(gap=30, weight=4, scale=0.5))
    # (4 * 30 + n * 10 + silence) / (4 + n), halved.
    wanted = [0.5 * 130 / 5, 0.5 * 520 / 44, 0.5 * 130 / 4, NAN]
    assert found.days.tolist() == pytest.approx(wanted, nan_ok=True)


def test_a_sale_is_overdue_when_the_silence_is_longer_than_the_usual_gap():
    # That is 520 / 44, or 11.82 days.
    found = predict_next_sale(
        accounts([10, 10, NAN], [41, 41, 0], [11.8, 11.9, NAN]), PurchaseRhythm(gap=30, weight=4, scale=1)
    )
    assert found.overdue.tolist() == [False, True, False]


def test_gap_and_weight_come_from_the_moments_of_the_accounts_means():
    rhythm = fit_rhythm(accounts([10, 50, NAN], [3, 5, 1], [1, 1, 1]), np.full(3, NAN))
    noise = (1 / 2 + 1 / 4) / 2
    varied = (400 - 900 * noise) / (1 + noise)
    assert rhythm == PurchaseRhythm(gap=30, weight=pytest.approx(1 + 900 / varied), scale=1.0)


def test_each_account_counts_once_with_its_newest_snapshot():
    old, new = accounts([90, 90], [2, 2], [1, 1]), accounts([10, 50], [3, 5], [1, 1])
    both = pd.concat([new, old.assign(as_of=pd.Timestamp(NOW - days(30)))])
    assert fit_rhythm(both, np.full(4, NAN)).gap == 30


def test_the_scale_makes_as_many_sales_come_before_as_after():
    frame = accounts([10] * 5, [3] * 5, [0] * 5)
    actual = np.array([1.0, 2.0, 20.0, np.inf, np.inf])
    rhythm = fit_rhythm(frame, actual)
    assert predict_next_sale(frame, rhythm).days == pytest.approx(20)
    assert fit_rhythm(frame, np.full(5, np.inf)).scale == 1.0


def test_there_is_no_rhythm_where_nobody_ordered_twice():
    assert fit_rhythm(accounts([NAN, NAN], [1, 0], [5, NAN]), np.array([1.0, NAN])) is None


def test_of_accounts_that_buy_at_random_it_foretells_more_than_their_own_mean_gap():
    random = np.random.default_rng(11)
    mean = 1 / random.gamma(3.0, 1 / 60, 4000)
    number = random.integers(1, 6, 4000)
    gaps = np.array([random.exponential(m, n).mean() for m, n in zip(mean, number, strict=True)])
    frame = accounts(gaps, number + 1, random.exponential(mean))
    actual = random.exponential(mean)
    actual[actual >= 120] = np.inf
    rhythm = fit_rhythm(frame.iloc[:2000], actual[:2000])
    later, came = frame.iloc[2000:], actual[2000:]
    foretold = predict_next_sale(later, rhythm).days
    own_gap = np.maximum(later["days_between_orders"] - later["days_since_purchase"], 0)

    def error(days):
        """The median error in days, of those looked at."""
        return np.median(np.abs(np.minimum(days, 120) - np.minimum(came, 120)))

    assert error(foretold) < error(own_gap)
    assert 0.45 < (came < foretold).mean() < 0.55
