"""Features of the catalog on small histories, worked out by hand; none is ever infinite."""

import math
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st

from features.catalog import BUILT_IN
from features.core.contract import EVENTS
from features.core.timestamps import DAY, to_micros
from tests.support.property_tests import examples

AS_OF = to_micros(datetime(2024, 7, 1, tzinfo=UTC))


@pytest.fixture
def one(snapshot):
    """The features of one account, its facts dated by days ago."""

    def features(**tables):
        dated = {t: [{c: when(c, v) for c, v in row.items()} for row in rows] for t, rows in tables.items()}
        return snapshot(dated, AS_OF).iloc[0]

    return features


def when(column, value):
    return AS_OF - round(value * DAY) if column.endswith("_at") and value is not None else value


def uses(*days, **rest):
    return [{"used_at": d, **rest} for d in days]


def raised(*days, **rest):
    return [{"ticket_id": f"{rest}{n}", "opened_at": d, **rest} for n, d in enumerate(days)]


def bought(*days, amount=100, **rest):
    return [{"purchased_at": d, "amount": amount, **rest} for d in days]


def touched(*days, kind="call"):
    return [{"touched_at": d, "kind": kind} for d in days]


def nothing(value):
    return math.isnan(value)


def test_the_slope_of_usage_is_that_of_least_squares_over_its_mean(one):
    weeks = [row for i in range(12) for row in uses(7 * i + 3, count=24 - 2 * i)]
    found = one(usage=weeks)
    assert found["usage_slope_84d"] == pytest.approx(2 / 13)  # two more each week, 13 a week on average
    line = np.polyfit(range(12), [2 + 2 * i for i in range(12)], 1)[0] / 13
    assert found["usage_slope_84d"] == pytest.approx(line)
    assert one(usage=uses(1))["usage_slope_84d"] == pytest.approx(6 / 13)
    assert nothing(one(usage=uses(85))["usage_slope_84d"])


def test_the_variation_of_usage_is_the_standard_deviation_over_the_mean_of_whole_histories(one):
    counts = [5, 0, 7, 7, 0, 3, 9, 1, 1, 0, 2, 8]
    found = one(usage=[row for i, n in enumerate(counts) if n for row in uses(7 * i + 3, count=n)])
    assert found["usage_variation_84d"] == pytest.approx(np.std(counts) / np.mean(counts))
    assert found["idle_weeks_84d"] == 3
    even = one(usage=uses(*(7 * i + 3 for i in range(12)), count=4))
    assert (even["usage_variation_84d"], even["idle_weeks_84d"], even["usage_slope_84d"]) == (0, 0, 0)
    young = one(usage=uses(70, 3))
    assert nothing(young["usage_variation_84d"])
    assert nothing(young["idle_weeks_84d"])


def test_spend_is_held_against_the_accounts_own_earlier_windows(one):
    # Weeks 0 to 11, the latest first; 4 weeks a window, so 8 earlier ones, each a week further back.
    weeks = [10, 0, 0, 0, 0, 40, 0, 0, 0, 0, 0, 90]
    found = one(purchases=[row for i, money in enumerate(weeks) if money for row in bought(7 * i + 3, amount=money)])
    earlier = [sum(weeks[i : i + 4]) for i in range(1, 9)]
    assert earlier == [0, 40, 40, 40, 40, 0, 0, 90]
    assert found["windows_with_more_28d"] == pytest.approx((5 + 0.2) / 9)
    assert found["spend_against_highest_28d"] == pytest.approx(11 / 91)
    assert found["spend_against_own_mean_28d"] == pytest.approx(11 / (250 / 8 + 1))
    assert found["spend_against_typical_28d"] == pytest.approx(11 / (np.mean(np.sqrt(earlier)) ** 2 + 1))


def test_windows_before_the_first_order_are_not_counted(one):
    young = one(purchases=bought(40, 3))
    # Three have their middle, 21, 28 and 35 days ago, after the first order; the first of them is empty.
    assert young["windows_with_more_28d"] == pytest.approx(0.2 / 4)
    assert young["spend_against_own_mean_28d"] == pytest.approx(101 / (200 / 3 + 1))
    new = one(purchases=bought(3))
    assert new["windows_with_more_90d"] == 0.2
    assert new["spend_against_highest_90d"] == 101


def test_usage_is_held_against_its_best_30_days_of_the_year_and_the_year_before(one):
    found = one(usage=uses(10, count=30) + uses(100, count=120) + uses(361, count=999) + uses(380, count=90))
    assert found["usage_against_peak_360d"] == 0.25
    assert found["usage_against_last_year_30d"] == -0.5


def test_the_gap_between_active_days_says_when_the_next_use_is_overdue(one):
    found = one(usage=uses(50, 40, 40, 20))
    assert (found["usage_gap_90d"], found["usage_overdue_90d"]) == (15, pytest.approx(20 / 15))
    assert nothing(one(usage=uses(20, 20))["usage_gap_90d"])
    assert one(usage=uses(5.2, 4.9))["usage_overdue_90d"] == pytest.approx(4.9)  # a gap is taken as a day or more


def test_usage_is_set_against_seats_users_and_active_days(one):
    term = bought(200, quantity=8, term_ends_at=-165)
    rows = uses(5, 10, user_id="ann", count=6, duration_s=1800) + uses(10, user_id="bob", count=4, errors=2)
    found = one(usage=[*rows, *uses(100, user_id="eve"), *uses(40, errors=1, count=8)], purchases=term)
    assert (found["seats_used_30d"], found["usage_per_seat_30d"]) == (2 / 8, 2)
    assert (found["hours_per_user_30d"], found["usage_per_active_day_30d"]) == (0.5, 8)
    assert found["users_kept_180d"] == 2 / 3
    assert found["error_share_trend_30d"] == pytest.approx((2 / 16 - 1 / 8) / (2 / 16 + 1 / 8))
    assert nothing(one(usage=rows)["seats_used_30d"])


def test_topics_tell_faults_from_what_is_asked_again(one):
    found = one(tickets=raised(1, 2, 3, topic="Outage") + raised(4, topic="how-to") + raised(5))
    assert found["fault_tickets_90d"] == 3
    assert found["repeat_share_365d"] == 0.5  # two of the four with a topic came back to one
    assert nothing(one(tickets=raised(5))["repeat_share_365d"])


@pytest.mark.parametrize(
    ("opened", "resolved", "week", "month"),
    [
        (7, None, 0, 0),
        (7.001, None, 1, 0),
        (30, None, 1, 0),
        (30.001, None, 1, 1),
        (40, 0, 1, 1),
        (40, 0.001, 0, 0),
        (40, 39, 0, 0),
    ],
)
def test_a_ticket_ages_while_it_stands_open(one, opened, resolved, week, month):
    found = one(tickets=raised(opened, resolved_at=resolved))
    assert (found["open_over_a_week"], found["open_over_a_month"]) == (week, month)


def test_a_ticket_is_unanswered_until_it_is_answered_or_resolved(one):
    rows = raised(5) + raised(4, first_response_at=3) + raised(3, first_response_at=0) + raised(2, resolved_at=1)
    found = one(tickets=rows)
    assert (found["unanswered_tickets"], found["unanswered_share"]) == (2, 2 / 3)
    assert nothing(one(tickets=raised(2, resolved_at=1))["unanswered_share"])


def test_service_is_held_against_the_accounts_own_past(one):
    rows = raised(10, first_response_at=9.5, resolved_at=8, csat=2, reopened=True)
    rows += raised(200, first_response_at=199.75, resolved_at=199, csat=4)
    found = one(tickets=rows)
    assert found["resolution_against_usual_90d"] == pytest.approx(2 / 1.5)
    assert found["first_response_against_usual_90d"] == pytest.approx(0.5 / 0.375)
    assert found["csat_against_usual_90d"] == pytest.approx(2 / 3)
    assert (found["rated_share_365d"], found["reopened_share_365d"], found["difficulty_365d"]) == (1, 0.5, 0.5)
    assert found["escalated_share_365d"] == 0


def test_tickets_after_an_event_of_the_contract_count_for_60_days(one):
    rows = raised(5, 20)
    ended = bought(400, term_ends_at=59)
    assert one(tickets=rows)["tickets_after_contract_event_30d"] == 0
    assert one(tickets=rows, purchases=ended)["tickets_after_contract_event_30d"] == 2
    assert one(tickets=rows, purchases=bought(10, kind="renewal"))["tickets_after_contract_event_30d"] == 2
    assert one(tickets=rows, purchases=bought(61, kind="renewal"))["tickets_after_contract_event_30d"] == 0


def test_an_accounts_usual_number_of_tickets_goes_by_its_time_with_us(one):
    found = one(tickets=raised(10, 50, 60, 120))
    assert found["tickets_against_usual_30d"] == pytest.approx(1 / 4 * 120 / 30)
    assert found["tickets_overdue_365d"] == pytest.approx(10 / (110 / 3))


def test_the_course_of_spend_is_held_against_life_peak_and_season(one):
    rows = bought(10, amount=50) + bought(100, amount=200) + bought(300, amount=150) + bought(380, amount=100)
    found = one(purchases=rows)
    assert found["spend_against_lifetime_30d"] == pytest.approx(50 / 500 * 380 / 30)
    assert found["spend_against_peak_360d"] == 0.25
    assert found["spend_against_last_year_30d"] == (50 - 100) / 150
    assert found["season_rise_90d"] == (150 - 100) / 250  # 365 to 275 days ago, against the 90 days before
    assert found["season_ahead_90d"] == (150 - 50) / 200
    assert found["months_bought_360d"] == 3
    assert (found["weeks_bought_84d"], found["spend_56d"], found["orders_14d"]) == (1, 50, 1)
    months = [50, 0, 0, 200, 0, 0, 0, 0, 0, 0, 150, 0]
    assert found["spend_variation_360d"] == pytest.approx(np.std(months) / np.mean(months))
    assert (found["spend_trend_30d"], found["spend_trend_90d"]) == (1, (50 - 200) / 250)


def test_refunds_beyond_what_was_bought_count_as_nothing_bought(one):
    found = one(purchases=bought(10, amount=-80) + bought(40, amount=60))
    assert found["spend_trend_30d"] == -1
    assert found["returned_money_share_365d"] == 1
    assert nothing(found["spend_against_lifetime_30d"])


def test_the_rhythm_of_orders_says_how_many_are_missed(one):
    found = one(purchases=bought(100, 80, 60))
    assert found["overdue_lately_365d"] == 3
    assert found["orders_missed"] == pytest.approx(3 * 0.6)
    assert found["buying_life"] == 0.4
    assert found["order_value_in_all"] == 100


def test_prices_are_held_against_list_and_the_accounts_own_year(one):
    rows = bought(10, amount=90, list_price=100, quantity=3, product="berth")
    found = one(purchases=[*rows, *bought(100, amount=100, list_price=100, quantity=5, product="crane")])
    assert found["price_paid_against_usual_90d"] == pytest.approx(0.9 / 0.95)
    assert found["discounted_share_365d"] == 0.5
    assert found["unit_price_against_usual_90d"] == pytest.approx(30 / (190 / 8))
    assert found["units_trend_90d"] == (3 - 5) / 8
    assert found["products_trend_90d"] == 0


def test_changes_and_ends_of_contracts_are_counted_so_far(one):
    rows = bought(700, kind="renewal", term_ends_at=335, product="berth")
    rows += bought(335, kind="renewal", term_ends_at=-30, product="berth") + bought(
        300, term_ends_at=-90, product="crane"
    )
    rows += bought(200, kind="expansion", amount=500) + bought(100, kind="contraction", amount=-200)
    found = one(purchases=rows)
    assert (found["renewals_in_all"], found["expansions_in_all"], found["contractions_in_all"]) == (2, 1, 1)
    assert found["net_expansion_365d"] == 300
    assert (found["days_to_next_end"], found["days_to_renewal"], found["days_since_term_end"]) == (30, 90, 335)
    assert found["products_in_force"] == 2


def test_what_an_account_is_worth_and_owes(one):
    rows = bought(20, paid=False, margin=30) + bought(100, 120, paid=True, margin=20) + bought(130, paid=False)
    rows += bought(140, kind="refund", amount=-10, paid=True)
    found = one(purchases=rows, tickets=raised(5, 6, 7))
    assert (found["margin_365d"], found["margin_share_365d"]) == (70, pytest.approx(70 / 300))
    assert found["paid_share_365d"] == 0.75  # the youngest may yet be paid
    assert found["integrity_365d"] == 0.5
    assert found["revenue_per_ticket_365d"] == 390 / 4
    assert nothing(one(purchases=bought(20))["margin_365d"])


def test_touches_are_told_by_kind_and_missed_where_they_matter(one):
    rows = touched(10, 40, 70) + touched(20, kind="Campaign") + touched(35, kind="play: talk_price")
    term = bought(300, term_ends_at=-60)
    found = one(touches=rows, purchases=term)
    assert (found["touches_30d"], found["touches_90d"], found["personal_touches_90d"]) == (2, 5, 3)
    assert (found["plays_done_90d"], found["campaign_share_365d"]) == (1, 0.2)
    assert (found["days_since_touch"], found["touch_overdue_365d"]) == (10, pytest.approx(10 / 15))
    assert found["touches_before_renewal_90d"] == 5
    assert nothing(one(touches=rows)["touches_before_renewal_90d"])
    urgent = raised(3, priority="urgent")
    assert one(tickets=urgent, touches=touched(31))["urgent_without_touch_30d"] == 1
    assert one(tickets=urgent, touches=touched(29))["urgent_without_touch_30d"] == 0


@pytest.mark.parametrize(("created", "days"), [(10, 355.25), (365, 0.25), (400, 34.75), (730.5, 0)])
def test_an_anniversary_is_near_before_and_after_it(snapshot, created, days):
    accounts = [{"account_id": "A", "created_at": AS_OF - round(created * DAY)}]
    assert snapshot({"accounts": accounts}, AS_OF)["days_to_anniversary"][0] == pytest.approx(days)


ages = st.sampled_from([1e-11, 1e-6, 0.5, 1, 29, 30, 31, 83, 364, 366, 390, 900])
amounts = st.sampled_from(["-999999999.9999", "-0.0001", "0", "0.0001", "12.5", "999999999.9999"])
whole = st.sampled_from([None, 0, 1, 2**40])
later = st.none() | ages | st.just(-5)
histories = st.fixed_dictionaries(
    {
        "usage": st.fixed_dictionaries({"used_at": ages, "count": whole, "errors": whole, "user_id": st.just("ann")}),
        "tickets": st.fixed_dictionaries(
            {
                "ticket_id": st.uuids().map(str),
                "opened_at": ages,
                "first_response_at": later,
                "resolved_at": later,
                "csat": st.none() | amounts,
                "priority": st.just("urgent"),
                "topic": st.sampled_from([None, "bug"]),
            }
        ),
        "purchases": st.fixed_dictionaries(
            {
                "purchased_at": ages,
                "amount": amounts,
                "quantity": st.none() | amounts,
                "list_price": st.none() | amounts,
                "margin": st.none() | amounts,
                "kind": st.sampled_from([None, "refund", "expansion", "contraction"]),
                "term_ends_at": later,
                "paid": st.sampled_from([None, True, False]),
            }
        ),
        "touches": st.fixed_dictionaries({"touched_at": ages, "kind": st.sampled_from(["call", "campaign"])}),
    }
)
lists = st.lists(histories, max_size=4).map(lambda rows: {t: [row[t] for row in rows] for t in EVENTS})


@examples(15, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(accounts=st.lists(lists, min_size=8, max_size=8))
def test_no_feature_is_ever_infinite(snapshot, accounts):
    tables = {t: [] for t in EVENTS}
    tables["accounts"] = [{"account_id": f"a{n}", "created_at": AS_OF - 1000 * DAY} for n in range(len(accounts))]
    for n, history in enumerate(accounts):
        for t, rows in history.items():
            tables[t] += [{"account_id": f"a{n}", **{c: when(c, v) for c, v in row.items()}} for row in rows]
    frame = snapshot(tables, AS_OF)
    assert [f.name for f in BUILT_IN.select_account_features(EVENTS) if np.isinf(frame[f.name]).any()] == []
