"""Repeats count once, of versions the newest counts, and contradictions are settled by no order of values."""

import pytest

from features.core.errors import SettingsError, SourceError
from features.core.timestamps import to_micros
from features.settings import parse_instant

BOUGHT = "account_id,purchased_at,amount,order"
ACCOUNTS = "account_id,created_at,owner_email,updated"


def test_an_event_that_came_again_to_the_last_character_counts_once(company):
    company.table("purchases", BOUGHT, *["A,2024-01-05,10,1"] * 3, "A,2024-01-05,10,2", "B,2024-01-05,10,3")
    company.table("usage", "account_id,used_at", "A,2024-01-05", "A,2024-01-06", "A,2024-01-05")
    company.toml["tables"]["purchases"]["columns"].pop("order")
    checked = company.checked("purchases")
    assert (checked.rows, checked.kept, checked.repeated, checked.reasons) == (5, 3, 2, {})
    assert company.read("purchases", "account_id") == [("A",), ("A",), ("B",)]
    assert company.checked("usage").repeated == 1


def test_rows_that_are_equal_but_for_a_column_that_is_not_mapped_are_several_events(company):
    columns = {"account_id": "account_id", "used_at": "used_at"}
    company.table("usage", "account_id,used_at,click", "A,2024-01-05,1", "A,2024-01-05,2", columns=columns)
    assert (company.checked("usage").kept, company.checked("usage").repeated) == (2, 0)


def test_when_and_how_a_loader_delivered_an_event_makes_it_no_other(company):
    columns = {"account_id": "account_id", "used_at": "used_at"}
    header = "account_id,used_at,_airbyte_emitted_at,_fivetran_synced"
    rows = ("A,2024-01-05,2024-02-01,1", "A,2024-01-05,2024-02-02,2", "A,2024-01-06,2024-02-02,2")
    company.table("usage", header, *rows, columns=columns)
    assert (company.checked("usage").kept, company.checked("usage").repeated) == (2, 1)


@pytest.mark.parametrize(("repeats", "kept", "alike"), [("auto", 6, 2), ("drop", 4, 0), ("keep", 6, 0)])
def test_equal_lines_that_no_column_tells_apart_are_kept_and_reported_until_the_company_settles_it(
    company, repeats, kept, alike
):
    # Two products of one price in an invoice, in an export without the product.
    rows = ["A,2024-01-05,10,1"] * 2 + ["A,2024-01-05,20,1", "B,2024-01-06,10,2"] + ["B,2024-01-06,20,2"] * 2
    company.table("purchases", BOUGHT, *rows, repeats=repeats)
    company.toml["tables"]["purchases"]["columns"].pop("order")
    checked = company.checked("purchases")
    assert (checked.kept, checked.alike, checked.repeated) == (kept, alike, 6 - kept)


def test_a_whole_copy_is_dropped_whatever_tells_its_rows_apart(company):
    rows = ["A,2024-01-05,10,1", "A,2024-01-05,20,1", "B,2024-01-06,10,2", "B,2024-01-06,20,2"]
    company.table("purchases", BOUGHT, *rows * 3)
    company.toml["tables"]["purchases"]["columns"].pop("order")
    assert (company.checked("purchases").kept, company.checked("purchases").repeated) == (4, 8)


def test_a_company_may_keep_its_repeats(company):
    company.table("usage", "account_id,used_at", *["A,2024-01-05"] * 3, repeats="keep")
    assert (company.checked("usage").kept, company.checked("usage").repeated) == (3, 0)


def test_by_its_id_an_event_counts_once_whatever_else_came_with_it(company):
    columns = {"event_id": "id", "account_id": "account_id", "purchased_at": "purchased_at", "amount": "amount"}
    rows = ("e1,A,2024-01-05,10,x", "e1,A,2024-01-05,10,y", "e2,A,2024-01-05,10,x", "e3,B,2024-01-06,5,x")
    company.table("purchases", "id,account_id,purchased_at,amount,batch", *rows, columns=columns)
    checked = company.checked("purchases")
    assert (checked.kept, checked.repeated, checked.reasons) == (3, 1, {})


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("versions", [("2023-09-01", "2024-01-01", "2024-06-01T10:00:00Z"), ("9", "10", "11")])
def test_of_several_versions_the_newest_counts_whatever_the_order_of_rows_and_values(company, order, versions):
    rows = [f"A,2023-01-01,{owner}@x,{at}" for owner, at in zip("abc", versions, strict=True)]
    rows += [f"B,2023-01-01,{owner}@x,{at}" for owner, at in zip("cba", versions, strict=True)]
    company.table("accounts", ACCOUNTS, *(rows[n] for k in (0, 3) for n in (k + i for i in order)), version="updated")
    company.toml["tables"]["accounts"]["columns"].pop("updated")
    checked = company.checked("accounts")
    assert (checked.kept, checked.superseded, checked.reasons) == (2, 4, {})
    assert company.read("accounts", "account_id, owner_email") == [("A", "c@x"), ("B", "a@x")]


@pytest.mark.parametrize("turned", [False, True])
def test_without_a_version_cells_that_rows_contradict_each_other_in_are_empty(company, turned):
    rows = ["A,2023-01-02,a@x,west", "A,2023-01-01,b@x,west", "B,2023-01-01,b@x,", "B,2023-01-01,,west"]
    company.only("accounts", "account_id,created_at,owner_email,segment", *(rows[::-1] if turned else rows))
    checked = company.checked("accounts")
    assert checked.reasons == {"another row of this account_id says otherwise": 2}
    assert checked.contested == {"owner_email": 1}
    kept = company.read("accounts", "account_id, created_at, owner_email, segment")
    start = to_micros(parse_instant("2023-01-01"))
    assert kept == [("A", start, None, "west"), ("B", start, "b@x", "west")]


def test_rows_that_contradict_each_other_in_what_they_must_have_are_all_bad(company):
    header = "ticket_id,account_id,opened_at,topic"
    company.only("tickets", header, "1,B,2024-01-01,x", "1,A,2024-01-02,a", "2,A,2024-01-01,x")
    assert company.checked("tickets").reasons == {"rows of this ticket_id contradict each other in account_id": 2}
    assert company.read("tickets", "ticket_id") == [("2",)]


def test_each_fact_of_a_ticket_is_known_from_the_first_version_that_has_it(company):
    rows = (
        "1,A,2024-01-01,,low,2024-01-02,1",
        "1,A,2024-01-01,2024-01-05,low,2024-01-06,2",
        "1,A,2024-01-01,2024-01-05,high,2024-01-09,3",
    )
    header = "ticket_id,account_id,opened_at,resolved_at,priority,known_at,v"
    company.table("tickets", header, *rows, columns={c: c for c in header.split(",")[:-1]}, version="v")
    ((priority, *known),) = company.read("tickets", "priority, known_at, resolved_known_at, first_response_known_at")
    assert priority == "high"
    assert known == [to_micros(parse_instant("2024-01-02")), to_micros(parse_instant("2024-01-06")), None]


def test_a_version_that_is_neither_a_time_nor_a_number_is_quarantined(company):
    company.only("accounts", ACCOUNTS, "A,2023-01-01,a@x,soon", "A,2023-01-01,b@x,2024-01-01", version="updated")
    company.toml["tables"]["accounts"]["columns"].pop("updated")
    assert company.checked("accounts").reasons == {"version is not a time or a number": 1}


def test_a_version_needs_a_key_and_a_column(company):
    company.toml["tables"]["purchases"]["version"] = "purchased_at"
    with pytest.raises(SettingsError, match=r"tables\.purchases\.version is set, but .* map event_id"):
        company.settings()
    del company.toml["tables"]["purchases"]["version"]
    company.toml["tables"]["accounts"]["version"] = "created"
    with pytest.raises(SourceError, match=r"tables\.accounts\.version: the source has no column 'created'\. Did you"):
        company.open()


@pytest.mark.parametrize("written", ["100000.0", "100000.00"])
def test_an_id_that_went_through_a_float_names_the_same_account(company, written):
    company.table("accounts", "account_id,created_at", "100000,2023-01-01", "v1.0,2023-01-01")
    company.table("purchases", "account_id,purchased_at,amount", f"{written},2024-01-05,1", "v1.0,2024-01-05,1")
    assert company.read("purchases", "account_id") == [("100000",), ("v1.0",)]
