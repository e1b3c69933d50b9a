from datetime import date, timedelta

import pytest

from features.samples.terms import NEARING

EPOCH = date(1970, 1, 1)


def number(day):
    return (day - EPOCH).days


def days_on_which(what, *, since, until):
    return [since + timedelta(n) for n in range((until - since).days) if what(number(since + timedelta(n)))[0]]


@pytest.mark.parametrize(
    ("months", "ends"),
    [
        (1, [date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31), date(2024, 4, 30)]),
        (3, [date(2024, 2, 29)]),
        (12, []),
    ],
)
def test_terms_end_on_the_same_day_of_the_month_or_its_last(contract, months, ends):
    terms = contract(date(2023, 5, 31), months=months).terms
    found = days_on_which(terms.ends, since=date(2024, 1, 1), until=date(2024, 5, 1))
    assert found == ends


def test_days_left_count_to_the_end_and_are_nought_on_it(contract):
    terms = contract(date(2023, 5, 31), months=3).terms
    assert [terms.days_left(number(date(2024, 2, day)))[0] for day in (27, 28, 29)] == [2, 1, 0]
    assert terms.days_left(number(date(2024, 3, 1)))[0] == (date(2024, 5, 31) - date(2024, 3, 1)).days


def test_a_price_rise_is_near_in_the_days_before_an_anniversary_and_no_longer_on_it(contract):
    terms = contract(date(2023, 5, 31), months=3, indexed=True).terms
    near = days_on_which(terms.nearing, since=date(2024, 1, 1), until=date(2025, 1, 1))
    rises = days_on_which(terms.rises, since=date(2024, 1, 1), until=date(2025, 1, 1))
    assert rises == [date(2024, 5, 31)]
    assert near == [date(2024, 5, 31) - timedelta(n) for n in range(NEARING, 0, -1)]


def test_a_price_that_does_not_rise_is_never_near_to(contract):
    terms = contract(date(2023, 5, 31), months=12).terms
    assert not days_on_which(terms.nearing, since=date(2024, 1, 1), until=date(2025, 1, 1))
