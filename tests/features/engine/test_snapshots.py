"""Features of small histories, worked out by hand."""

import math
from datetime import UTC, datetime
from decimal import Decimal

import pandas as pd
import pytest

from features import catalog
from features.core.contract import EVENTS, RECORDS
from features.core.errors import GarrisonError, SourceError
from features.engine import snapshots
from features.sources.history import History

NOW = "2024-07-01T00:00"
JUST_BEFORE, JUST_AFTER = "2024-06-30T23:59:59.999999", "2024-07-01T00:00:00.000001"


@pytest.fixture
def one(snapshot):
    """The features of one account."""

    def features(as_of=NOW, **tables):
        return snapshot(tables, as_of).iloc[0]

    return features


def uses(*when, **rest):
    return [{"used_at": t, **rest} for t in when]


def raised(*when, **rest):
    return [{"ticket_id": f"{n}", "opened_at": t, **rest} for n, t in enumerate(when)]


def bought(*when, amount=100, **rest):
    return [{"purchased_at": t, "amount": amount, **rest} for t in when]


def nothing(value):
    return math.isnan(value)


def test_a_window_holds_its_beginning_and_not_its_end(one):
    inside = uses("2024-06-01T00:00", JUST_BEFORE, count=1)
    outside = uses("2024-05-31T23:59:59.999999", NOW, JUST_AFTER, count=100)
    found = one(usage=inside + outside)
    assert found["usage_events_30d"] == 2
    assert found["usage_events_90d"] == 102


def test_an_event_counts_from_the_instant_at_which_it_is_known(one):
    row = uses("2024-06-15", count=1)[0]
    assert one(usage=[row | {"known_at": NOW}])["usage_events_30d"] == 1
    assert one(usage=[row | {"known_at": JUST_AFTER}])["usage_events_30d"] == 0


def test_a_usage_row_without_a_count_is_one_event(one):
    assert one(usage=uses("2024-06-15", "2024-06-15"))["usage_events_30d"] == 2


def test_active_days_are_counted_back_from_as_of_and_not_by_the_calendar(one):
    rows = uses("2024-06-30T11:00", "2024-06-30T13:00")
    assert one(usage=rows, as_of="2024-07-01T00:00")["active_days_7d"] == 1
    assert one(usage=rows, as_of="2024-07-01T12:00")["active_days_7d"] == 2
    assert one(usage=uses("2024-06-29T13:00", "2024-06-30T11:00"), as_of="2024-07-01T12:00")["active_days_7d"] == 1
    assert one(usage=uses("2024-06-24T00:00", JUST_BEFORE))["active_days_7d"] == 2


def test_users_and_product_features_are_counted_once_and_only_where_they_are_known(one):
    rows = uses("2024-06-15", "2024-06-16", user_id="ann", feature="tides") + uses("2024-06-16", user_id="bob")
    found = one(usage=[*rows, *uses("2024-06-20")])
    assert (found["users_30d"], found["usage_breadth_30d"], found["usage_per_user_30d"]) == (2, 1, 2)


def test_a_trend_compares_a_window_with_the_one_before_it(one):
    before = uses("2024-05-02T00:00", "2024-05-31T23:59:59.999999", count=15)
    assert one(usage=before + uses("2024-06-01T00:00", count=10))["usage_trend_30d"] == -0.5
    assert one(usage=before)["usage_trend_30d"] == -1
    assert one(usage=uses(JUST_BEFORE))["usage_trend_30d"] == 1
    assert one(usage=before + uses(JUST_BEFORE, count=30))["usage_trend_30d"] == 0
    assert nothing(one(usage=uses("2024-05-01T23:59"))["usage_trend_30d"])


def test_usage_against_usual_is_1_for_a_steady_account_however_new(one):
    steady = uses(*(f"2024-06-{day:02}T00:00" for day in range(1, 31)))
    assert one(usage=steady)["usage_against_usual_30d"] == 1
    old = uses("2023-07-02T00:00", count=335)  # 365 days ago; then none until the 30 days
    assert one(usage=old + steady)["usage_against_usual_30d"] == pytest.approx(1)
    assert nothing(one()["usage_against_usual_30d"])


def test_errors_and_hours_of_use(one):
    found = one(usage=uses("2024-06-15", count=8, errors=2, duration_s=5400.5) + uses("2024-06-16", count=8))
    assert (found["error_share_30d"], found["usage_hours_30d"]) == (2 / 16, 5400.5 / 3600)


def test_silence_is_a_fall_of_usage_without_a_ticket(one):
    fall = uses("2024-05-15", count=30) + uses("2024-06-15", count=10)
    rise = uses("2024-05-15", count=10) + uses("2024-06-15", count=30)
    assert one(usage=fall)["silence_30d"] == -0.5
    assert one(usage=fall, tickets=raised("2024-05-31"))["silence_30d"] == -0.5
    assert one(usage=fall, tickets=raised("2024-06-01"))["silence_30d"] == 0
    assert one(usage=rise)["silence_30d"] == 0
    assert nothing(one()["silence_30d"])


@pytest.mark.parametrize(
    ("resolved", "lag", "still_open"),
    [
        (None, 0, 1),
        (JUST_AFTER, 0, 1),
        (NOW, 0, 1),
        (JUST_BEFORE, 0, 0),
        ("2024-06-29T23:59", 1, 0),
        ("2024-06-30T00:00", 1, 0),
        ("2024-06-30T00:01", 1, 1),
    ],
)
def test_a_ticket_stands_open_until_its_resolution_has_come_and_is_known(one, resolved, lag, still_open):
    known = f"2024-06-{10 + lag}"
    found = one(tickets=raised("2024-06-10", known_at=known, resolved_at=resolved, priority="urgent", csat=1))
    assert (found["open_tickets"], found["open_urgent_tickets"]) == (still_open, still_open)
    assert found["csat_90d"] == 1 if not still_open else nothing(found["csat_90d"])
    assert found["oldest_open_days"] == 21 if still_open else nothing(found["oldest_open_days"])


def test_what_a_resolution_brought_is_dated_by_it_and_not_by_the_opening(one):
    rows = raised("2024-01-01", resolved_at="2024-06-01", csat=2, escalated=True, reopened=True)
    rows += raised("2024-06-01", resolved_at="2024-06-03", csat=4.5)
    found = one(tickets=rows)
    assert (found["tickets_90d"], found["tickets_365d"]) == (1, 2)
    assert found["resolution_hours_90d"] == (152 + 2) * 24 / 2
    assert found["csat_90d"] == 3.25
    assert (found["escalated_tickets_90d"], found["reopened_tickets_90d"]) == (1, 1)


def test_csat_is_the_mean_of_the_tickets_that_have_one(one):
    rows = raised("2024-06-01", resolved_at="2024-06-02", csat=4) + raised("2024-06-01", resolved_at="2024-06-02")
    assert one(tickets=rows)["csat_90d"] == 4


def test_a_first_answer_counts_before_the_resolution(one):
    found = one(tickets=raised("2024-06-30T00:00", first_response_at="2024-06-30T06:00"))
    assert found["first_response_hours_90d"] == 6
    assert nothing(found["resolution_hours_90d"])


def test_urgent_tickets_are_those_of_high_and_urgent_priority(one):
    rows = [row for p in ("low", "normal", "high", "urgent", None) for row in raised("2024-06-15", priority=p)]
    found = one(tickets=rows)
    assert (found["tickets_30d"], found["urgent_tickets_30d"], found["open_tickets"]) == (5, 2, 5)
    assert found["days_since_ticket"] == 16


def test_lines_of_one_order_are_one_order(one):
    lines = bought("2024-06-15", "2024-06-15", order_id="1") + bought("2024-06-15", amount=50, order_id="2")
    found = one(purchases=[*lines, *bought("2024-06-20", amount=-10, kind="refund")])
    assert (found["orders_30d"], found["spend_30d"], found["orders_in_all"]) == (2, 240, 2)
    assert found["returns_share_365d"] == 1 / 4
    assert (found["order_value_365d"], found["order_value_against_usual"]) == (120, 1)


def test_a_line_that_becomes_known_late_does_not_move_its_orders_past(one):
    line = bought("2024-06-15", order_id="1")[0]
    found = one(purchases=[line, line | {"known_at": JUST_AFTER, "amount": 900}])
    assert (found["orders_30d"], found["spend_30d"]) == (1, 100)


def test_rhythm_and_overdue_go_by_the_accounts_own_gaps(one):
    found = one(purchases=bought("2024-05-02", "2024-05-12", "2024-06-01"))
    assert found["days_between_orders"] == 15
    assert found["days_since_purchase"] == 30
    assert found["days_since_first_purchase"] == 60
    assert found["overdue"] == 2
    assert found["order_rate"] == 4 / 150
    assert nothing(one(purchases=bought("2024-05-02"))["overdue"])


def test_spend_against_usual_takes_the_days_as_a_customer_for_the_year(one):
    found = one(purchases=bought("2024-05-02", amount=300) + bought("2024-06-15", amount=100))
    assert found["spend_against_usual_30d"] == 100 / 400 * (60 / 30)
    assert nothing(one()["spend_against_usual_30d"])


def test_prices_products_and_changes_of_a_contract(one):
    rows = bought("2024-06-15", amount=80, list_price=100, product="berth", kind="expansion")
    rows += bought("2024-06-16", amount=60, product="berth", kind="contraction") + bought("2024-05-01", product="crane")
    found = one(purchases=rows)
    assert found["price_paid_30d"] == 0.8
    assert found["products_90d"] == 2
    assert (found["expansions_90d"], found["contractions_90d"]) == (1, 1)


def term(starts, ends, **rest):
    return bought(starts, amount=rest.pop("amount", 1200), term_starts_at=starts, term_ends_at=ends, **rest)


def test_days_to_renewal_go_to_the_last_end_of_the_terms_in_force(one):
    assert one(purchases=term("2024-01-01", "2024-07-31"))["days_to_renewal"] == 30
    two = term("2024-01-01", "2024-07-11") + term("2024-02-01", "2024-08-10")
    assert one(purchases=two)["days_to_renewal"] == 40


@pytest.mark.parametrize(
    ("starts", "ends", "days"),
    [
        ("2024-01-01", NOW, 0),
        ("2024-01-01", JUST_BEFORE, None),
        (JUST_BEFORE, "2024-07-02", 1),
        (NOW, "2024-07-02", None),
    ],
)
def test_a_term_is_in_force_after_its_start_and_until_its_end_inclusive(one, starts, ends, days):
    found = one(purchases=term(starts, ends))
    assert found["days_to_renewal"] == days if days is not None else nothing(found["days_to_renewal"])
    assert nothing(found["recurring_revenue_year"]) == (days is None)


def test_a_term_bought_ahead_is_in_force_from_its_start_on(one):
    ahead = bought("2024-06-01", term_starts_at="2024-07-01", term_ends_at="2025-07-01")
    assert nothing(one(purchases=ahead)["term_days"])
    assert one(purchases=ahead, as_of="2024-07-02")["term_days"] == 365


def test_recurring_revenue_of_a_term_paid_at_once_is_its_amount_by_the_months_it_covers(one):
    assert one(purchases=term("2024-01-01", "2025-01-01"))["recurring_revenue_year"] == 1200
    assert one(purchases=term("2024-01-01", "2026-01-01", amount=2400))["recurring_revenue_year"] == 1200
    assert one(purchases=term("2024-06-20", "2024-07-04", amount=50))["recurring_revenue_year"] == 600


def test_recurring_revenue_of_a_term_invoiced_monthly_counts_one_invoice_at_a_time(one):
    invoices = [
        row | {"term_ends_at": "2024-12-31", "billing_months": 1}
        for row in bought("2024-05-15", "2024-06-15", amount=100)
    ]
    assert one(purchases=invoices)["recurring_revenue_year"] == 1200
    assert nothing(one(purchases=invoices, as_of="2024-07-16")["recurring_revenue_year"])


def test_a_month_from_the_31st_ends_on_the_last_day_of_the_next_month(one):
    january = bought("2024-01-31", amount=100, term_ends_at="2024-12-31", billing_months=1)
    assert one(purchases=january, as_of="2024-02-29T00:00")["recurring_revenue_year"] == 1200
    assert nothing(one(purchases=january, as_of="2024-02-29T00:00:00.000001")["recurring_revenue_year"])


def test_the_trend_of_recurring_revenue_holds_what_is_in_force_against_what_was(one):
    renewed = term("2023-06-01", "2024-06-01") + term("2024-06-01", "2025-06-01", amount=2400)
    found = one(purchases=renewed)
    assert found["recurring_revenue_trend_30d"] == pytest.approx((200 - 100) / 300, abs=1e-2)
    # At the renewal itself, 30 days ago, the old term alone is in force.
    assert found["recurring_revenue_trend_90d"] == found["recurring_revenue_trend_30d"]
    ended = one(purchases=renewed[:1])
    assert ended["recurring_revenue_trend_90d"] == -1
    assert one(purchases=term("2024-06-15", "2025-06-15"))["recurring_revenue_trend_30d"] == 1
    assert one(purchases=term("2023-01-01", "2025-01-01"))["recurring_revenue_trend_365d"] == 0
    assert nothing(one(purchases=term("2020-01-01", "2021-01-01"))["recurring_revenue_trend_365d"])


def test_recurring_revenue_adds_up_terms_less_what_is_given_back(one):
    rows = term("2024-01-01", "2025-01-01", quantity=10) + term("2024-02-01", "2025-02-01", amount=600, quantity=2)
    rows += term("2024-03-01", "2025-03-01", amount=-300, kind="contraction")
    found = one(purchases=rows)
    assert found["recurring_revenue_year"] == pytest.approx(1500)
    assert (found["seats_in_force"], found["price_a_seat"]) == (10, 12.5)
    assert found["term_days"] == 366


def test_an_account_is_there_from_after_its_creation_on(snapshot):
    accounts = [{"account_id": "A", "created_at": "2024-06-01"}, {"account_id": "B", "created_at": NOW}]
    frame = snapshot({"accounts": accounts}, NOW, "2024-07-02")
    assert frame[["account_id", "tenure_days"]].to_numpy().tolist() == [["A", 30], ["A", 31], ["B", 1]]


def test_a_mapped_column_of_accounts_is_a_feature_by_its_kind(snapshot):
    accounts = [{"created_at": "2024-06-01", "plan": "pro", "seats": 7}]
    frame = snapshot({"accounts": [*accounts, {"account_id": "B", "created_at": "2024-06-01"}]}, NOW)
    assert frame["plan"].tolist()[0] == "pro"
    assert frame["plan"].isna().tolist() == [False, True]
    assert frame["seats"].tolist()[0] == 7
    assert frame["seats"].dtype == "float64"


def test_a_frame_is_sorted_by_as_of_and_account_with_float_columns_in_catalog_order(snapshot):
    accounts = [{"account_id": a, "created_at": "2024-01-01"} for a in "CAB"]
    frame = snapshot({"accounts": accounts}, "2024-07-01", "2024-06-01", "2024-07-01T02:00+02:00")
    alone = [f.name for f in catalog.BUILT_IN.select_account_features((*EVENTS, *RECORDS))]
    assert list(frame.columns) == ["account_id", "as_of", *alone, "plan", "seats"]
    assert frame["account_id"].tolist() == ["A", "B", "C"] * 2
    assert frame["as_of"].dtype == "datetime64[us, UTC]"
    assert frame["as_of"].dt.month.tolist() == [6] * 3 + [7] * 3
    assert set(frame[alone].dtypes) == {pd.Series([0.0]).dtype}


def test_an_instant_without_a_zone_is_refused(company):
    with company.open() as history, pytest.raises(GarrisonError, match="has no time zone"):
        snapshots.build(history, [datetime(2024, 7, 1)])  # noqa: DTZ001  # naive on purpose


def test_features_of_a_source_that_is_missing_are_absent(company):
    with company.open() as history:
        frame = snapshots.build(history, [datetime(2024, 7, 1, tzinfo=UTC)])
    assert "orders_in_all" in frame
    assert not {"usage_events_30d", "open_tickets", "silence_30d"} & set(frame)


def test_an_account_read_from_files_is_the_same_bits_when_posted_alone(company):
    company.table("usage", "account_id,used_at,duration_s", "A,2024-06-15,0.1", "A,2024-06-16,0.7", "B,2024-06-16,3")
    company.table("tickets", "ticket_id,account_id,opened_at,csat,resolved_at", "1,B,2024-06-02,3.3,2024-06-05")
    as_of, settings = datetime(2024, 7, 1, tzinfo=UTC), company.settings()
    with company.open() as history:
        frame = snapshots.build(history, [as_of])
        alone = [
            History.from_rows(settings, {t: history.read_rows(t, account) for t in history.tables})
            for account in ("A", "B")
        ]
    posted = pd.concat([snapshots.build(h, [as_of]) for h in alone], ignore_index=True)
    assert not [c for c in posted if c.startswith(("rank_", "parent_"))]
    pd.testing.assert_frame_equal(posted, frame[list(posted)], check_exact=True)
    for history in alone:
        history.close()


def test_snapshots_are_written_whole(company, tmp_path):
    with company.open() as history:
        table = snapshots.build_table(history, [datetime(2024, 7, 1, tzinfo=UTC)])
    file = tmp_path / "new" / "snapshots.parquet"
    snapshots.write_snapshots(table, file)
    pd.testing.assert_frame_equal(pd.read_parquet(file), table.to_pandas(), check_exact=True)
    assert [f.name for f in file.parent.iterdir()] == ["snapshots.parquet"]


def test_the_latest_as_of_is_the_midnight_that_ends_the_last_day_with_an_event(company):
    with company.open() as history:
        assert snapshots.find_latest_as_of(history) == datetime(2024, 1, 7, tzinfo=UTC)
    company.table("usage", "account_id,used_at", "A,2023-12-01", "A,2024-02-28T23:59:59.999999Z")
    with company.open() as history:
        assert snapshots.find_latest_as_of(history) == datetime(2024, 2, 29, tzinfo=UTC)
        assert history.all_began == datetime(2024, 1, 5, tzinfo=UTC).timestamp() * 1e6


def test_a_company_without_events_has_no_latest_as_of(company):
    company.toml["churn"] = {"cohort": {"kind": "lifetime"}, "label": {"kind": "ended"}}
    company.table("lifetimes", "account_id,started_at", "A,2023-01-01")
    del company.toml["tables"]["purchases"]
    with company.open() as history, pytest.raises(SourceError, match="Map at least one of tickets, usage and purch"):
        snapshots.find_latest_as_of(history)


def test_a_history_has_one_fingerprint_whatever_the_order_of_rows(company):
    def fingerprint(*rows):
        company.table("purchases", "account_id,purchased_at,amount", *rows)
        with company.open() as history:
            return history.compute_fingerprint()

    first = fingerprint("A,2024-01-05,10", "B,2024-01-06,20")
    assert fingerprint("B,2024-01-06,20", "A,2024-01-05,10") == first
    assert fingerprint("B,2024-01-06,20", "A,2024-01-05,10.0001") != first
    assert fingerprint("A,2024-01-05,10", "B,2024-01-06,20", "B,2024-01-06,21") != first


def test_rows_of_an_account_are_those_that_a_history_is_posted_from(company):
    with company.open() as history:
        (row,) = history.read_rows("purchases", "A")
    assert (row["amount"], row["known_at"] - row["purchased_at"]) == (Decimal(10), 0)
