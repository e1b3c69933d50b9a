"""A bad row goes to quarantine with its reason: it never stops a run and never vanishes, unless too many are bad."""

import json
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from features.core.errors import QualityError, SourceError
from features.core.timestamps import to_micros
from features.settings import parse_instant
from tests.support.commands import run_command

BOUGHT = "account_id,purchased_at,amount"
USED = "account_id,used_at,count,duration_s"
RAISED = "ticket_id,account_id,opened_at,resolved_at,priority,reopened"
KINDS = "new, renewal, expansion, contraction, refund"

BAD = {
    "purchases": (
        f"{BOUGHT},kind,paid,term_ends_at",
        {
            "A,soon,10,,,": "purchased_at is not a time",
            "A,,10,,,": "purchased_at is missing",
            "A,2024-01-01,,,,": "amount is missing",
            "A,2024-01-01,ten,,,": "amount is not a number",
            "A,2024-01-01,nan,,,": "amount is not a number",
            "A,2024-01-01,1e30,,,": "amount is not a number",
            ",2024-01-01,10,,,": "account_id is missing",
            "C,2024-01-01,10,,,": "account_id is not in accounts",
            "A,1970-01-01,10,,,": "purchased_at is the stand-in date 1970-01-01",
            "A,1900-01-01T00:00:00+02:00,10,,,": "purchased_at is the stand-in date 1900-01-01",
            "A,0001-01-01,10,,,": "purchased_at is the stand-in date 0001-01-01",
            "A,9999-12-31 23:59:59,10,,,": "purchased_at is the stand-in date 9999-12-31",
            "A,2024-01-01,10,gift,,": f"kind is not one of {KINDS}",
        },
    ),
    "usage": (
        f"{USED},known_at",
        {
            "A,2024-01-01,3.7,,": "count is not a whole number",
            "A,2024-01-01,many,,": "count is not a whole number",
            "A,2024-01-01,-1,,": "count is below 0",
            "A,2024-01-01,1,1,later": "known_at is not a time",
            "A,2424-01-01,1,1,": "used_at is in the future",
        },
    ),
    "tickets": (
        RAISED,
        {
            "1,A,2024-01-02,2024-01-01,,": "resolved_at is before opened_at",
            ",A,2024-01-01,,,": "ticket_id is missing",
        },
    ),
}
GOOD = {
    "purchases": (
        f"{BOUGHT},paid",
        "amount, paid",
        {"A,2024-01-01,-12.50,": (Decimal("-12.5"), None), "A,2024-01-01, 1e3 ,yes": (Decimal(1000), True)},
    ),
    "usage": (
        USED,
        "count, duration_s",
        {"A,2024-01-01,3.0,": (3, None), "A,2024-01-01,0,0": (0, Decimal(0)), "A,2024-01-01,,": (None, None)},
    ),
    "tickets": (
        RAISED,
        "ticket_id, resolved_at - opened_at, priority, reopened",
        {"1,A,2024-01-01,2024-01-01,,": ("1", 0, None, None), "2,A,2024-01-01,,low,f": ("2", None, "low", False)},
    ),
}


@pytest.mark.parametrize("table", BAD)
def test_a_bad_row_is_quarantined_as_it_came_with_the_reason(company, table):
    header, bad = BAD[table]
    company.only(table, header, *bad)
    checked = company.checked(table)
    assert (checked.rows, checked.kept) == (len(bad), 0)
    found = {tuple(raw.values()): why for raw, why in company.quarantined(table)}
    assert found == {tuple(value or None for value in row.split(",")): why for row, why in bad.items()}
    assert checked.reasons == Counter(bad.values())


@pytest.mark.parametrize("table", GOOD)
def test_a_row_at_the_edge_of_what_is_allowed_is_kept(company, table):
    header, columns, rows = GOOD[table]
    company.table(table, header, *rows)
    assert company.checked(table).reasons == {}
    assert sorted(company.read(table, columns), key=repr) == sorted(rows.values(), key=repr)


def test_only_the_first_of_several_reasons_is_counted(company):
    company.only("purchases", BOUGHT, "C,soon,ten", "A,soon,10", "A,2024-01-01,ten", "A,2024-01-01,10")
    checked = company.checked("purchases")
    assert checked.reasons == {"purchased_at is not a time": 2, "amount is not a number": 1}
    assert (checked.rows, checked.kept) == (4, 1)


UNREADABLE = {
    "purchases": (f"{BOUGHT},paid,term_ends_at", ["A,2024-01-01,10,perhaps,", "A,2024-01-01,11,yes,never"]),
    "usage": (USED, ["A,2024-01-01,1,-0.5", "A,2024-01-01,1,long"]),
    "tickets": (RAISED, ["1,A,2024-01-01,,P1,maybe", "2,A,2024-01-01,1970-01-01,,"]),
    "accounts": (
        "account_id,created_at,seats,parent_id",
        ["A,2023-01-01,-1,", "B,2023-01-01,many,", "C,2023-01-01,3,"],
    ),
}


@pytest.mark.parametrize(
    ("table", "unread"),
    [
        ("purchases", {"paid": 1, "term_ends_at": 1}),
        ("usage", {"duration_s": 2}),
        ("tickets", {"priority": 1, "reopened": 1, "resolved_at": 1}),
        ("accounts", {"seats": 2}),
    ],
)
def test_an_optional_value_that_can_not_be_read_costs_its_cell(company, table, unread):
    header, rows = UNREADABLE[table]
    company.only(table, header, *rows)
    checked = company.checked(table)
    assert (checked.kept, checked.reasons, checked.unread) == (len(rows), {}, unread)
    (empty,) = company.read(table, ", ".join(f"count({c}) < count(*)" for c in unread))
    assert all(empty)


def test_an_account_with_an_attribute_that_can_not_be_read_keeps_its_events(company):
    columns = {"account_id": "account_id", "created_at": "created_at", "rank": {"column": "rank", "kind": "decimal"}}
    rows = ("A,2023-01-01,high", "B,2023-01-01,1.5")
    company.table("accounts", "account_id,created_at,rank", *rows, columns=columns)
    checked = company.checked("accounts")
    assert (checked.unread, checked.values["rank"]) == ({"rank": 1}, ["high"])
    assert company.read("accounts", "account_id, rank") == [("A", None), ("B", Decimal("1.5"))]
    assert company.read("purchases", "account_id") == [("A",), ("B",)]


def test_a_column_of_which_most_values_can_not_be_read_stops_the_run_and_shows_them(company):
    rows = [f"A,2024-01-0{n},{n},NULL" for n in range(1, 4)]
    company.table("purchases", f"{BOUGHT},quantity", *rows, "A,2024-01-05,1,2")
    with pytest.raises(QualityError) as error:
        company.open()
    assert "3 of 4 values of purchases.quantity can't be read. found: 'NULL'" in str(error.value)
    assert 'sources.purchases.nothing = ["NULL"]' in str(error.value)


def test_the_report_tells_rows_reasons_dates_and_the_file(company):
    rows = ("A,2024-01-05T12:00Z,10", "B,2024-03-01,20", "A,soon,10", "C,2024-05-01,1", "D,2024-05-01,1")
    company.only("purchases", BOUGHT, *rows)
    checked = company.checked("purchases")
    assert (checked.rows, checked.kept) == (5, 2)
    assert list(checked.reasons.items()) == [("account_id is not in accounts", 2), ("purchased_at is not a time", 1)]
    assert (checked.first, checked.last) == (datetime(2024, 1, 5, 12, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC))
    assert checked.quarantine == company.folder / "var" / "harbour" / "quarantine" / "purchases.parquet"
    plain = json.loads(json.dumps(checked.as_dict()))
    assert plain["first"] == "2024-01-05T12:00:00+00:00"
    assert plain["quarantine"] == str(checked.quarantine)


def test_dates_before_every_calendar_are_reported_as_its_beginning(company):
    company.toml["company"]["timezone"] = "Europe/Berlin"  # where 0001-01-01 began in the year before 1
    company.table("accounts", "account_id,created_at", "A,0001-01-01", "B,2023-01-01")
    assert company.checked("accounts").first == datetime.min.replace(tzinfo=UTC)


def test_columns_of_the_source_may_be_called_as_ours_are(company):
    columns = {"account_id": "why", "purchased_at": "raw", "amount": "why_one"}
    company.only("purchases", "why,raw,why_one,amount", "A,2024-01-05,10,x", "A,soon,10,y", columns=columns)
    raw = {"why": "A", "raw": "soon", "why_one": "10", "amount": "y"}
    assert company.checked("purchases").reasons == {"purchased_at is not a time": 1}
    assert company.quarantined("purchases") == [(raw, "purchased_at is not a time")]


def test_more_bad_rows_than_allowed_stop_the_run_and_are_filed_all_the_same(company):
    company.toml["quality"] = {"max_quarantine": 0.5}
    company.table("purchases", BOUGHT, "A,soon,10", "A,later,10", "B,2024-01-06,ten", "B,2024-01-06,20")
    with pytest.raises(QualityError) as error:
        company.open()
    said = str(error.value)
    assert "3 of 4 rows of purchases are bad, more than quality.max_quarantine allows" in said
    assert "2 times: purchased_at is not a time" in said
    assert "purchases.parquet" in said
    assert len(company.quarantined("purchases")) == 3


def test_as_many_bad_rows_as_allowed_do_not_stop_the_run(company):
    company.toml["quality"] = {"max_quarantine": 0.5}
    company.table("purchases", BOUGHT, "A,soon,10", "A,later,10", "B,2024-01-06,10", "B,2024-01-06,20")
    assert company.checked("purchases").kept == 2


def test_a_run_renews_the_quarantine_of_the_one_before(company):
    company.only("purchases", BOUGHT, "A,soon,10", "A,later,10")
    company.checked("purchases")
    company.only("purchases", BOUGHT, "A,2024-01-05,10", "A,2024-01-05,ten")
    company.checked("purchases")
    ((raw, why),) = company.quarantined("purchases")
    assert (raw["amount"], why) == ("ten", "amount is not a number")


def test_a_run_without_bad_rows_leaves_no_quarantine_of_the_one_before(company):
    company.only("purchases", BOUGHT, "A,soon,10")
    file = company.checked("purchases").quarantine
    assert file.exists()
    company.only("purchases", BOUGHT, "A,2024-01-05,10")
    assert company.checked("purchases").quarantine is None
    assert not file.exists()


def test_a_table_without_rows_is_refused_with_what_to_do(company):
    company.table("usage", USED)
    with pytest.raises(SourceError, match=r"tables\.usage has no rows\. Take \[tables\.usage\] out"):
        company.open()


def test_a_table_whose_rows_are_all_bad_has_no_dates(company):
    company.only("usage", USED, "A,soon,,")
    checked = company.checked("usage")
    assert (checked.kept, checked.first, checked.last) == (0, None, None)


def test_a_bad_row_does_not_displace_a_good_one_of_the_same_key(company):
    company.only("tickets", RAISED, "1,A,2024-01-01,2023-01-01,high,", "1,A,2024-01-02,,low,")
    assert company.checked("tickets").kept == 1
    assert company.read("tickets", "priority") == [("low",)]


def identified(company, *identities):
    company.only("identities", "system,external_id,account_id", *identities)
    company.table("usage", "account_id,used_at", "t1,2024-01-01", "t2,2024-01-01", system="tenant")
    return company


def test_ids_of_a_system_become_those_of_the_accounts(company):
    identified(company, "tenant,t1,A", "tenant,t2,B", "billing,t1,B")
    assert company.read("usage", "account_id") == [("A",), ("B",)]


def test_an_id_that_no_identity_knows_is_quarantined(company):
    identified(company, "tenant,t1,A", "billing,t2,B")
    assert company.checked("usage").reasons == {"account_id is not among the identities of tenant": 1}
    assert company.quarantined("usage")[0][0]["account_id"] == "t2"


def test_an_id_that_names_two_accounts_is_believed_of_neither(company):
    identified(company, "tenant,t1,A", "tenant,t1,B", "tenant,t2,B")
    assert company.checked("identities").reasons == {"names several accounts": 2}
    assert company.checked("usage").reasons == {"account_id names several accounts in tenant": 1}
    assert company.read("usage", "account_id") == [("B",)]


def test_an_identity_told_twice_counts_once(company):
    identified(company, "tenant,t1,A", "tenant,t1,A", "tenant,t2,B")
    checked = company.checked("identities")
    assert (checked.reasons, checked.repeated) == ({}, 1)
    assert company.read("usage", "account_id") == [("A",), ("B",)]


def test_an_identity_of_an_unknown_account_is_quarantined(company):
    identified(company, "tenant,t1,A", "tenant,t2,Z")
    assert company.checked("identities").reasons == {"account_id is not in accounts": 1}
    assert company.read("usage", "account_id") == [("A",)]


def test_a_mistyped_date_long_before_all_others_is_not_where_the_history_begins(company):
    rows = [f"A,2024-{1 + n % 9:02}-05,{n}" for n in range(300)]
    company.table("purchases", BOUGHT, *rows, "B,1924-03-01,5", "B,2003-03-01,5")
    with company.open() as history:
        assert history.all_began == to_micros(parse_instant("2024-01-05"))
    company.table("purchases", BOUGHT, *rows[:20], "B,2003-03-01,5")
    with company.open() as history:
        assert history.all_began == to_micros(parse_instant("2003-03-01"))


def test_where_no_event_is_left_the_error_names_the_commonest_reason(company):
    company.only("purchases", BOUGHT, "Z,2024-01-05,1", "Z,2024-01-06,1", "A,soon,1")
    finished = run_command("features", "check", "--config", company.write(), cwd=company.folder)
    assert finished.returncode == 1
    (line,) = finished.stderr.strip().splitlines()
    assert line.startswith("error: no event is left. found: 2 rows of purchases: account_id is not in accounts")
    assert (company.folder / "var" / "harbour" / "check.html").exists()


def test_the_check_goes_through_all_tables_and_then_stops(company):
    company.table("purchases", BOUGHT, "A,soon,1", "A,2024-01-05,2")
    company.table("usage", "account_id,used_at,count", "A,never,1", "A,2024-01-05,2", "A,2024-01-05,2")
    finished = run_command("features", "check", "--config", company.write(), cwd=company.folder)
    assert finished.returncode == 1
    for said in ("used_at is not a time (1)", "purchased_at is not a time (1)", "usage: 1 rows repeat another row"):
        assert said in finished.stdout
    assert "1 of 3 rows of usage are bad" in finished.stderr
    assert "(and so are purchases: see the check)" in finished.stderr
    page = (company.folder / "var" / "harbour" / "check.html").read_text(encoding="utf-8")
    assert "usage: 1 rows repeat another row exactly" in page


def test_columns_that_several_tables_lack_are_named_at_once(company):
    company.table("usage", "account_id,at", "A,2024-01-05", columns={"account_id": "account_id", "used_at": "time"})
    company.toml["tables"]["purchases"]["columns"]["amount"] = "amuont"
    with pytest.raises(
        SourceError, match=r"2 tables can't be read: .*tables\.usage\..*; .*tables\.purchases\.columns\.amount"
    ):
        company.open()
