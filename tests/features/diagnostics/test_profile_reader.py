"""The profile of a table, read from a company's files: its figures by day, as they could be seen at an instant."""

from datetime import UTC, datetime

import numpy as np
import pytest

from features.diagnostics.profile_reader import read_profile

AS_OF = datetime(2024, 1, 5, tzinfo=UTC)


@pytest.fixture
def shop(company):
    """Purchases of two accounts over four days, some known late, one twice, and two of nobody."""
    company.table(
        "purchases",
        "account_id,purchased_at,known_at,amount,product,quantity",
        "A,2024-01-01T09:00:00Z,2024-01-01T10:00:00Z,10,tea,1",
        "A,2024-01-01T10:30:00Z,2024-01-03T10:30:00Z,20,tea,2",
        "B,2024-01-01T23:00:00Z,2024-01-01T23:00:00Z,30,,",
        "A,2024-01-03T00:00:00Z,2024-01-03T00:00:00Z,40,coffee,4",
        "A,2024-01-03T00:00:00Z,2024-01-03T00:00:00Z,41,coffee,4",
        "A,2024-01-03T00:00:00Z,2024-01-03T00:00:00Z,40,coffee,4",
        "B,2024-01-04T12:00:00Z,2024-01-06T00:00:00Z,50,tea,5",
        "Z,2024-01-02T12:00:00Z,2024-01-02T12:00:00Z,60,tea,5",
        "z,2024-01-02T13:00:00Z,2024-01-02T13:00:00Z,60,tea,5",
    )
    company.toml["quality"] = {"max_quarantine": 1}
    return company


def read(company, as_of=AS_OF, table="purchases"):
    with company.open() as history:
        return read_profile(company.settings(), history, table, as_of=as_of)


def test_figures_are_those_of_each_day_until_the_night(shop):
    profile = read(shop)
    assert [profile.date_of(n).isoformat() for n in (0, 3)] == ["2024-01-01", "2024-01-04"]
    assert (profile.today - profile.first, profile.newest - profile.first) == (4, 2)
    # One of the three rows of the 3rd is a repeat, which reading drops or keeps; the row known on the 6th is unseen.
    assert (profile.rows + profile.dropped).tolist() == [3, 0, 3, 0]
    assert (profile.repeats + profile.dropped).tolist() == [0, 0, 1, 0]
    assert profile.accounts.tolist() == [2, 0, 1, 0]
    assert profile.unknown.tolist() == [0, 2, 0, 0]
    assert np.flatnonzero(profile.hours[0]).tolist() == [9, 10, 23]
    assert (profile.rows - profile.filled["product"]).tolist() == [1, 0, 0, 0]
    assert profile.values["product"]["tea"].tolist() == [2, 0, 0, 0]
    assert profile.logs["quantity"][:, 0] == pytest.approx([np.log(2), 2])
    # Those of the 1st came on the 1st, but one on the 3rd, two days later.
    assert profile.delays[:, 0].tolist() == [0, 2]
    assert profile.delays[0].tolist() == [0, 0, 2, 0]


def test_what_is_known_later_is_seen_later(shop):
    assert read(shop, datetime(2024, 1, 3, tzinfo=UTC)).rows.tolist() == [2, 0]
    assert read(shop, datetime(2024, 1, 7, tzinfo=UTC)).rows[3] == 1
    assert read(shop, datetime(2023, 12, 1, tzinfo=UTC)) is None


def test_prices_are_against_what_the_same_account_usually_pays(company):
    months = [f"2023-{month:02}-05" for month in range(1, 13)]
    company.table(
        "purchases",
        "account_id,purchased_at,amount,quantity",
        *(f"A,{day},{10 * n},{n}" for n, day in enumerate(months, start=1)),
        *(f"B,{day},{1000 * (1 + (day > '2023-12'))},1" for day in months),
    )
    sums, counts = read(company, datetime(2024, 1, 1, tzinfo=UTC)).prices
    assert counts.sum() == 24
    assert np.flatnonzero(np.abs(sums) > 1e-9).tolist() == [334]
    assert sums[334] == pytest.approx(np.log(2))


def test_the_longest_silence_is_the_most_that_an_earlier_night_found(company):
    company.table("usage", "account_id,used_at", *(f"A,2024-01-{day:02}" for day in (1, 2, 3, 10, 11)))
    assert read(company, datetime(2024, 1, 20, tzinfo=UTC), "usage").longest == 6
    late = [f"A,2024-01-{day:02},2024-01-{day + 3:02}" for day in (1, 2, 3, 4)]
    company.table("usage", "account_id,used_at,known_at", *late)
    profile = read(company, datetime(2024, 1, 20, tzinfo=UTC), "usage")
    assert (profile.longest, profile.settled) == (3, 3)
