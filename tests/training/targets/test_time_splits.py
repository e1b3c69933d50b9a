"""The time plan: no label of an earlier part looks into a later one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from features.core.errors import LabelError
from features.settings import Training
from training.targets import time_splits

BEGAN = datetime(2023, 1, 15, 13, tzinfo=UTC)
UNTIL = datetime(2025, 1, 1, tzinfo=UTC)


def on(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def planned(training, *, days, longest=None, began=BEGAN, until=UNTIL):
    found = time_splits.list_cutoffs(training, all_began=began, data_until=until)
    start = time_splits.find_test_start(training, found, longest=longest or days, data_until=until)
    return time_splits.build_plan(found, days=days, start=start, data_until=until)


@st.composite
def trainings(draw):
    """(training, began, until, horizons) of all sorts, most of them long enough."""
    began = on("2020-01-01") + timedelta(hours=draw(st.integers(0, 24 * 400)))
    days = draw(st.integers(500, 1500))
    test_from = st.none() | st.integers(days * 2 // 3, days).map(lambda d: began + timedelta(days=d, hours=5))
    first = st.none() | st.integers(0, 100).map(lambda d: began + timedelta(days=d))
    training = Training(every=draw(st.sampled_from(["week", "month"])), first=draw(first), test_from=draw(test_from))
    horizons = sorted(draw(st.sets(st.integers(1, 120), min_size=1, max_size=3)))
    return training, began, began + timedelta(days=days), horizons


def plans(given_training):
    training, began, until, horizons = given_training
    try:
        return [planned(training, days=h, longest=horizons[-1], began=began, until=until) for h in horizons]
    except LabelError:
        assume(False)


@given(trainings())
def test_no_label_of_training_looks_into_the_test_of_any_horizon(drawn):
    made = plans(drawn)
    first_test = min(plan.test[0] for plan in made)
    assert all(cutoff + timedelta(days=plan.days) <= first_test for plan in made for cutoff in plan.train)


@given(trainings())
def test_no_label_of_the_early_part_looks_into_the_late_part(drawn):
    for plan in plans(drawn):
        assert all(cutoff + timedelta(days=plan.days) <= plan.late[0] for cutoff in plan.early)


@given(trainings())
def test_every_label_of_a_plan_is_mature(drawn):
    until = drawn[2]
    for plan in plans(drawn):
        assert all(cutoff + timedelta(days=plan.days) <= until for cutoff in (*plan.train, *plan.test))


@given(trainings())
def test_the_parts_are_ascending_and_the_early_and_late_are_of_the_training(drawn):
    for plan in plans(drawn):
        assert plan.early
        assert (*plan.train, *plan.test) == tuple(sorted({*plan.train, *plan.test}))
        assert plan.late == plan.train[-len(plan.late) :]
        assert plan.early == plan.train[: len(plan.early)]


def test_a_label_may_end_just_where_the_test_begins():
    plan = planned(Training(test_from=on("2024-07-01")), days=30)
    assert plan.train[-1] == on("2024-06-01")
    assert planned(Training(test_from=on("2024-07-01")), days=31).train[-1] == on("2024-05-01")


def test_a_label_may_mature_just_when_the_data_end():
    assert planned(Training(), days=31).test[-1] == on("2024-12-01")
    assert planned(Training(), days=32).test[-1] == on("2024-11-01")


def test_the_test_is_the_last_quarter_of_the_cutoffs_that_are_mature_for_the_longest_horizon():
    plan = planned(Training(), days=30, longest=92)
    # May 2023 to October 2024 are mature for 92 days: 18, of which 4 are a quarter.
    assert plan.test[0] == on("2024-07-01")
    assert plan.test[-1] == on("2024-12-01")


def test_a_test_that_begins_between_cutoffs_keeps_labels_out_of_its_first_days():
    plan = planned(Training(test_from=on("2024-07-10")), days=30)
    assert plan.test[0] == on("2024-08-01")
    assert plan.train[-1] == on("2024-06-01")


def test_months_begin_at_midnight_utc_on_the_first():
    found = time_splits.list_cutoffs(Training(first=on("2023-11-02")), all_began=BEGAN, data_until=on("2024-03-01"))
    assert found == (on("2023-12-01"), on("2024-01-01"), on("2024-02-01"), on("2024-03-01"))


def test_weeks_begin_on_mondays_and_month_beginnings_are_there_too():
    training = Training(every="week", first=on("2024-02-20"), last=on("2024-03-04"))
    found = time_splits.list_cutoffs(training, all_began=BEGAN, data_until=UNTIL)
    assert found == (on("2024-02-26"), on("2024-03-01"), on("2024-03-04"))


def test_months_alone_are_tested_on_however_densely_training_looks():
    weekly, monthly = (planned(Training(every=e, test_from=on("2024-07-10")), days=30) for e in ("week", "month"))
    assert weekly.test == monthly.test
    assert {cutoff.day for cutoff in weekly.test} == {1}
    assert len(weekly.train) > 4 * len(monthly.train)
    assert weekly.train[-1] == on("2024-06-10")


def test_a_first_cutoff_that_is_asked_for_is_one_of_them():
    found = time_splits.list_cutoffs(Training(first=on("2023-02-01")), all_began=BEGAN, data_until=UNTIL)
    assert found[0] == on("2023-02-01")


def test_without_a_first_cutoff_they_begin_90_days_after_every_source_has_begun():
    assert time_splits.list_cutoffs(Training(), all_began=on("2023-01-01"), data_until=UNTIL)[0] == on("2023-04-01")
    assert time_splits.list_cutoffs(Training(), all_began=on("2023-01-01") + timedelta(1), data_until=UNTIL)[0] == on(
        "2023-05-01"
    )


def test_there_is_no_cutoff_after_the_data_end():
    training = Training(last=on("2030-01-01"))
    assert time_splits.list_cutoffs(training, all_began=BEGAN, data_until=on("2024-05-20"))[-1] == on("2024-05-01")


def test_too_short_a_history_is_an_error_that_counts_what_there_was():
    with pytest.raises(LabelError) as raised:
        planned(Training(), days=90, until=on("2023-12-01"))
    # May to December are cutoffs; those until September mature; one, May, is past before the test in September.
    there = "8 cutoffs, 5 with mature labels by 2023-12-01, 2 before the test, 0 before the calibration"
    assert raised.value.found == there
    assert "90 days ahead" in raised.value.problem
    assert "training.first" in str(raised.value)


def test_no_cutoff_at_all_is_an_error_too():
    with pytest.raises(LabelError, match="0 cutoffs"):
        time_splits.build_plan((), days=30, start=None, data_until=UNTIL)


def test_a_plan_says_its_parts_in_one_sentence():
    expected = (
        "train 2023-05-01 to 2024-06-01 (14), of which calibrate 2024-03-01 to 2024-06-01 (4), "
        "test 2024-07-01 to 2024-12-01 (6); labels look 30 days ahead"
    )
    assert planned(Training(test_from=on("2024-07-01")), days=30).describe() == expected
