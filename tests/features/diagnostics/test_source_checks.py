"""Decisions on profiles of simulated companies: healthy ones are let through, each harm is held and named."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from features.diagnostics.source_health import check_source
from features.diagnostics.source_profile import SourceProfile
from tests.support.daily_company import COMPANIES, simulate_company
from tests.support.profile_harms import PROFILE_HARMS, lose_half, repeat, shift, take_from_few

DAYS, SINCE = 800, 770
NEW_YEAR = (date(2024, 1, 1) - date(1970, 1, 1)).days


@pytest.fixture(scope="module")
def companies():
    return {name: simulate_company(company, accounts=1000, days=DAYS, seed=3) for name, company in COMPANIES.items()}


def judge(profiles, source, day=DAYS):
    others = [profile.until(day) for table, profile in profiles.items() if table != source]
    return list(check_source(profiles[source].until(day), others))


def holds(profiles, source, day=DAYS):
    return [finding for finding in judge(profiles, source, day) if finding.severity == "hold"]


def even(days, rows=40, first=NEW_YEAR, **rest):
    """A source with the same rows each day, half of them at 9, half at 15 o'clock."""
    hours = np.zeros((days, 24), np.int64)
    hours[:, 9] = hours[:, 15] = rows // 2
    empty = np.zeros(days, np.int64)
    figures = {"accounts": empty + rows // 2, "repeats": empty, "content": np.arange(days), "unknown": empty}
    return SourceProfile("usage", first, first + days, first + days - 1, hours, **figures, **rest)


@pytest.mark.parametrize("name", COMPANIES)
def test_a_healthy_company_is_let_through_on_every_night_looked_at(companies, name):
    nights = range(DAYS - 150, DAYS + 1, 30)
    assert [f for table in companies[name] for night in nights for f in holds(companies[name], table, night)] == []


@pytest.mark.parametrize("name", PROFILE_HARMS)
def test_each_harm_of_a_month_is_held_with_its_source_and_kind(companies, name):
    source, harm, kind = PROFILE_HARMS[name]
    profiles = companies["steady"]
    harmed = profiles | {source: harm(profiles[source], SINCE)}
    assert kind in [finding.kind for finding in holds(harmed, source)]
    assert {finding.source for finding in holds(harmed, source)} == {source}
    # The others are not blamed for it.
    assert [f for table in profiles if table != source for f in holds(harmed, table)] == []


def test_a_cause_is_named_instead_of_what_follows_from_it(companies):
    profiles = companies["steady"]
    twice = profiles | {"usage": repeat(profiles["usage"], SINCE)}
    assert [finding.kind for finding in judge(twice, "usage")] == ["repeated"]
    _, recase, _ = PROFILE_HARMS["usage ids re-cased"]
    unknown = profiles | {"usage": recase(profiles["usage"], SINCE)}
    assert [finding.kind for finding in judge(unknown, "usage")] == ["ids"]


def test_findings_say_their_figure_and_the_usual_one():
    usage = even(700)
    (halved,) = check_source(lose_half(usage, 672))
    assert halved.text == (
        "21 rows a day in the last 28 days, 51% of the 8 weeks before; in 23 months it was between 100% and 100%"
    )
    (repeated,) = check_source(repeat(usage, 672))
    assert repeated.text == "50% of the rows of the last 28 days are exact repeats; usual are 0%"
    (shifted,) = check_source(shift(usage, 672, hours=4))
    assert "4 hours later" in shifted.text
    (few,) = check_source(take_from_few(usage, 672))
    assert few.text.startswith("6.0 accounts a day in the last 28 days, for as many rows 30% of the 8 weeks before")


def test_repeats_that_reading_dropped_are_named_too():
    dropped = np.zeros(400, np.int64)
    dropped[372:] = 40
    (finding,) = check_source(even(400, dropped=dropped))
    assert (finding.kind, finding.severity) == ("repeated", "hold")
    assert "are exact repeats, and are counted once" in finding.text


def test_a_young_source_is_judged_by_its_silence_alone():
    assert list(check_source(lose_half(even(110), 80))) == []
    silent = even(110)
    silent.hours[80:] = 0
    assert [finding.kind for finding in check_source(silent.until(110))] == ["silent"]


def test_a_silent_christmas_week_like_that_of_last_year_is_usual_and_in_another_month_it_is_not():
    days = 800  # from the New Year of 2024 on
    usage = even(days)
    for christmas in (358, 358 + 365):
        usage.hours[christmas : christmas + 8] = 0
    night = usage.until(358 + 365 + 8)
    assert [finding for finding in check_source(night) if finding.severity == "hold"] == []
    usage.hours[500:520] = 0
    assert [f.kind for f in check_source(usage.until(520)) if f.severity == "hold"] == ["silent"]


def test_growth_is_no_change_however_fast():
    weeks = np.arange(60)
    usage = even(420)
    usage.hours[:, 9] = np.repeat((20 * 1.08**weeks).astype(int), 7)
    assert [finding for finding in check_source(usage) if finding.severity == "hold"] == []


def test_a_new_currency_is_held_and_a_new_product_is_watched():
    old, new = np.full(400, 40), np.zeros(400, np.int64)
    old[380:], new[380:] = 10, 30
    (held,) = check_source(even(400, values={"currency": {"EUR": old, "USD": new}}))
    assert (held.kind, held.severity) == ("currency", "hold")
    assert held.text == "75% of the values of currency in the last 7 days were not seen before 2024-12-24: 'USD'"
    old[380:], new[380:] = 28, 12
    (watched,) = check_source(even(400, values={"product": {"tea": old, "coffee": new}}))
    assert (watched.kind, watched.severity) == ("values", "watch")


def test_rows_that_come_days_later_are_to_be_watched():
    delays = np.stack([np.full(400, 4.0), np.full(400, 40.0)])
    delays[0, 393:] = 200.0
    (finding,) = check_source(even(400, delays=delays))
    assert (finding.kind, finding.severity) == ("late", "watch")
    assert finding.text == "rows that came in the last 7 days were known after 5.0 days; usual are 0.1"


def test_days_that_may_not_be_complete_are_left_out():
    usage = even(400)
    assert usage.end == 400
    assert replace(usage, settled=2).end == 398
    # The newest event is some days old: the source may have stopped in the middle of that day.
    assert replace(usage, newest=usage.newest - 3).end == 396
