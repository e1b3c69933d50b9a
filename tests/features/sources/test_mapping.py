"""Wherever the rows lie and however they are written, the same canonical rows come out, or one clear error."""

import csv
import gzip
import sqlite3
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.core.errors import SourceError
from features.core.timestamps import to_micros

BERLIN = ZoneInfo("Europe/Berlin")
MAPPED = {
    "account_id": "customer",
    "purchased_at": "bought",
    "amount": "net",
    "known_at": "booked",
    "product": "item",
    "billing_months": "months",
    "paid": "paid",
    "term_ends_at": "until",
}
ROWS = [
    {
        "customer": "A",
        "bought": datetime(2024, 7, 1, 10, 30, 0, 250_000, tzinfo=BERLIN),
        "net": Decimal("1234.5678"),
        "booked": datetime(2024, 7, 2, 0, 0),  # noqa: DTZ001  # naive on purpose: local to the company's zone
        "item": 'a "large", blå\nbuoy',
        "months": 12,
        "paid": True,
        "until": date(2025, 7, 1),
    },
    {
        "customer": "B",
        "bought": datetime(2024, 1, 1, 10, 30, tzinfo=BERLIN),
        "net": Decimal("-0.1000"),
        "booked": None,
        "item": None,
        "months": None,
        "paid": False,
        "until": None,
    },
]


def at(text):
    return to_micros(datetime.fromisoformat(text))


CANONICAL = [
    (
        "A",
        at("2024-07-01T08:30:00.250Z"),
        Decimal("1234.5678"),
        at("2024-07-01T22:00Z"),
        'a "large", blå\nbuoy',
        12,
        True,
        at("2025-06-30T22:00Z"),
    ),
    ("B", at("2024-01-01T09:30Z"), Decimal("-0.1000"), at("2024-01-01T09:30Z"), None, None, False, None),
]


def as_csv(company, _, opener=open, name="sales.csv"):
    with opener(company.folder / name, "wt", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS)
    return {"path": name}


def as_zipped_csv(company, request):
    return as_csv(company, request, gzip.open, "sales.csv.gz")


def as_csv_parts(company, request):
    as_csv(company, request, name="sales-1.csv")
    text = (company.folder / "sales-1.csv").read_text(encoding="utf-8")
    head, rest = text.split("\n", 1)
    first, second = rest.split("B,", 1)
    (company.folder / "sales-1.csv").write_text(f"{head}\n{first}", encoding="utf-8")
    (company.folder / "sales-2.csv").write_text(f"{head}\nB,{second}", encoding="utf-8")
    return {"path": "sales-*.csv"}


def parquet(rows, file):
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.Table.from_pylist(ROWS).schema), file)


def as_parquet(company, _):
    parquet(ROWS, company.folder / "sales.parquet")
    return {"path": "sales.parquet"}


def as_parquet_parts(company, _):
    (company.folder / "sales").mkdir()
    for number, row in enumerate(ROWS):
        parquet([row], company.folder / "sales" / f"part-{number}.parquet")
    return {"path": "sales"}


def as_sqlite(company, _):
    kinds = "customer TEXT, bought TIMESTAMP, net DECIMAL(18, 4), booked DATETIME, item, months INTEGER, paid BOOLEAN"
    values = [[str(v) if isinstance(v, Decimal | date) else v for v in row.values()] for row in ROWS]
    connection = sqlite3.connect(company.folder / "sales.db")
    connection.execute(f"CREATE TABLE sales ({kinds}, until DATE)")
    connection.executemany("INSERT INTO sales VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
    connection.commit()
    connection.close()
    return {"url": "sqlite:///sales.db", "table": "sales"}


def as_postgres(_, request):
    url, connection = request.getfixturevalue("postgres_url"), request.getfixturevalue("postgres_connection")
    kinds = "customer text, bought timestamptz, net numeric, booked timestamp, item text, months int, paid boolean"
    unused = "id uuid DEFAULT gen_random_uuid(), tags text[] DEFAULT '{a}', more jsonb DEFAULT '{}'"
    connection.execute(f"CREATE TABLE sales ({kinds}, until date, {unused})")
    for row in ROWS:
        connection.execute("INSERT INTO sales VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", list(row.values()))
    return {"url": url, "table": "sales"}


@pytest.mark.parametrize(
    "write",
    [as_csv, as_zipped_csv, as_csv_parts, as_parquet, as_parquet_parts, as_sqlite, as_postgres],
    ids=lambda write: write.__name__.removeprefix("as_"),
)
def test_every_kind_of_source_gives_the_same_canonical_rows(company, request, write):
    company.toml["company"]["timezone"] = "Europe/Berlin"
    company.table("purchases", "unused", columns=MAPPED)
    company.toml["sources"]["purchases"] = write(company, request)
    assert company.read("purchases", ", ".join(MAPPED)) == CANONICAL


def refused(company):
    with pytest.raises(SourceError) as error:
        company.open()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("path", ["none.csv", "none-*.parquet", "none"])
def test_a_file_that_is_not_there_is_named_with_its_key(company, path):
    company.toml["sources"]["purchases"]["path"] = path
    assert f"sources.purchases.path names no file. found: {company.folder / path}." in refused(company)


def test_a_folder_without_parquet_is_no_source(company):
    (company.folder / "empty").mkdir()
    company.toml["sources"]["purchases"]["path"] = "empty"
    assert "sources.purchases.path names no file" in refused(company)


def test_a_format_that_is_not_known_is_refused(company):
    (company.folder / "sales.ods").write_text("x")
    company.toml["sources"]["purchases"]["path"] = "sales.ods"
    said = refused(company)
    assert "sources.purchases.path has no known format" in said
    assert "Use CSV, CSV.gz, JSON lines, Excel (.xlsx) or Parquet" in said


def test_a_file_that_is_not_what_its_name_says_is_refused(company):
    (company.folder / "sales.parquet").write_text("account_id,purchased_at,amount\n")
    company.toml["sources"]["purchases"]["path"] = "sales.parquet"
    assert "sources.purchases.path can't be read" in refused(company)


def test_a_missing_column_is_named_with_the_nearest(company):
    company.toml["tables"]["purchases"]["columns"]["amount"] = "amuont"
    said = refused(company)
    assert "tables.purchases.columns.amount: the source has no column 'amuont'. Did you mean amount?" in said


def test_a_broken_query_is_named_with_its_table(company):
    del company.toml["tables"]["purchases"]["source"]
    company.toml["tables"]["purchases"]["query"] = "SELECT * FROM purchase"
    assert "tables.purchases can't be read as its query and sql say. found: Catalog Error" in refused(company)


def test_a_broken_expression_is_named_with_its_table(company):
    company.toml["tables"]["purchases"]["columns"]["amount"] = {"sql": "amount +"}
    assert "tables.purchases can't be read as its query and sql say. found: Parser Error" in refused(company)


def test_a_time_format_that_does_not_exist_is_named(company):
    company.toml["tables"]["purchases"]["columns"]["purchased_at"] = {"column": "purchased_at", "format": "%Q"}
    said = refused(company)
    assert "tables.purchases can't be read" in said
    assert "%Q" in said


def test_a_sqlite_file_that_is_not_there_is_named_and_not_made(company):
    company.toml["sources"]["purchases"] = {"url": "sqlite:///none.db", "table": "t"}
    assert "sources.purchases.url names no file" in refused(company)
    assert not (company.folder / "none.db").exists()


def test_a_database_table_that_is_not_there_is_named(company):
    sqlite3.connect(company.folder / "sales.db").close()
    company.toml["sources"]["purchases"] = {"url": "sqlite:///sales.db", "table": "sales"}
    assert "sources.purchases: table 'sales' can't be read from sqlite:///" in refused(company)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://reader:hunter2@127.0.0.1:1/sales",
        "postgresql://reader:hunter2@evil@127.0.0.1:1/sales",
        "postgresql://127.0.0.1:1/sales?user=reader&password=hunter2",
    ],
)
def test_a_database_that_does_not_answer_is_named_without_the_password(company, url):
    company.toml["sources"]["purchases"] = {"url": url, "table": "t"}
    said = refused(company)
    assert "sources.purchases: table 't' can't be read from postgresql://" in said
    assert "127.0.0.1:1/sales" in said
    assert "hunter2" not in said
    assert "evil" not in said


def test_a_missing_table_of_a_real_server_is_named_without_the_password(company, postgres_url):
    url = postgres_url.replace("postgres:", "postgres:hunter2")
    assert "hunter2" in url
    company.toml["sources"]["purchases"] = {"url": url, "table": "sales"}
    said = refused(company)
    assert "table 'sales' can't be read from postgresql://" in said
    assert "hunter2" not in said


def test_one_odd_value_of_a_database_costs_its_row_and_not_the_table(company):
    connection = sqlite3.connect(company.folder / "sales.db")
    connection.execute("CREATE TABLE sales (account_id TEXT, purchased_at TIMESTAMP, amount NUMERIC, quantity INTEGER)")
    rows = [("A", "2024-01-05 00:00:00", 10, 1), ("A", "soon", 10, 1), ("B", "2024-01-05", "ten", 1)]
    connection.executemany("INSERT INTO sales VALUES (?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()
    company.toml["quality"] = {"max_quarantine": 1}
    company.toml["sources"]["purchases"] = {"url": "sqlite:///sales.db", "table": "sales"}
    reasons = company.checked("purchases").reasons
    assert reasons == {"purchased_at is not a time": 1, "amount is not a number": 1}


def test_a_value_map_renames_what_it_names_and_leaves_the_rest(company):
    columns = {"ticket_id": "t", "account_id": "a", "opened_at": "o", "priority": {"column": "p"}}
    columns["priority"]["map"] = {"P1": "urgent", "it's": "low"}
    rows = ("1,A,2024-01-01,P1", "2,A,2024-01-01,it's", "3,A,2024-01-01,high", "4,A,2024-01-01,")
    company.table("tickets", "t,a,o,p", *rows, columns=columns)
    assert company.read("tickets", "ticket_id, priority") == [("1", "urgent"), ("2", "low"), ("3", "high"), ("4", None)]


def test_a_constant_stands_in_every_row(company):
    columns = {"account_id": "account_id", "purchased_at": "purchased_at", "amount": {"value": 9.5}}
    columns |= {"product": {"value": "O'Buoy"}, "billing_months": {"value": 12}, "paid": {"value": True}}
    company.toml["tables"]["purchases"]["columns"] = columns
    expected = [(account, Decimal("9.5"), "O'Buoy", 12, True) for account in "AB"]
    assert company.read("purchases", "account_id, amount, product, billing_months, paid") == expected


def test_an_expression_sees_the_sources_own_columns(company):
    columns = company.toml["tables"]["purchases"]["columns"]
    columns["list_price"] = {"sql": "CAST(amount AS DOUBLE) * 1.5"}
    columns["kind"] = {"sql": "CASE WHEN account_id = 'A' THEN 'first' END", "map": {"first": "new"}}
    expected = [("A", Decimal(15), "new"), ("B", Decimal(30), None)]
    assert company.read("purchases", "account_id, list_price, kind") == expected


def test_a_query_joins_sources_by_their_names(company):
    company.table("prices", "item,price", "buoy,3", "rope,4")
    company.table("lines", "a,t,i", "A,2024-01-01,rope", "B,2024-01-01,buoy")
    del company.toml["tables"]["prices"], company.toml["tables"]["lines"]
    company.toml["tables"]["purchases"] = {
        "query": "SELECT * FROM lines JOIN prices ON item = i",
        "columns": {"account_id": "a", "purchased_at": "t", "amount": "price"},
    }
    assert company.read("purchases", "account_id, amount") == [("A", 4), ("B", 3)]


def times(company, *raw, zone="UTC", **spec):
    """What a text time becomes, in the order of the rows; None where it is no time."""
    company.toml["company"]["timezone"] = zone
    columns = {"account_id": "n", "created_at": {"column": "t", **spec}}
    company.only("accounts", "n,t", *(f'{n},"{t}"' for n, t in enumerate(raw)), columns=columns)
    company.only("purchases", "n,at", "0,2024-01-01", columns={"account_id": "n", "purchased_at": "at", "amount": "n"})
    found = dict(company.read("accounts", "account_id::INT, created_at"))
    return [found.get(n) for n in range(len(raw))]


def test_iso_times_are_read_with_any_offset(company):
    written = {
        "2024-07-01T10:30:00Z": "2024-07-01T10:30Z",
        "2024-07-01T10:30:00z": "2024-07-01T10:30Z",
        "2024-07-01 10:30": "2024-07-01T08:30Z",
        "2024-07-01T10:30:00.123456": "2024-07-01T08:30:00.123456Z",
        "2024-07-01T10:30:00+05:30": "2024-07-01T05:00Z",
        "2024-07-01T10:30:00-0800": "2024-07-01T18:30Z",
        "2024-07-01 10:30:00+02": "2024-07-01T08:30Z",
        "2024-07-01 10:30:00 -08:00": "2024-07-01T18:30Z",
        "2024-07-01 10:30:00 UTC": "2024-07-01T10:30Z",
        "2024-07-01": "2024-06-30T22:00Z",
        " 2024-01-01 ": "2023-12-31T23:00Z",
    }
    assert times(company, *written, zone="Europe/Berlin") == [at(instant) for instant in written.values()]


def test_what_is_not_wholly_an_iso_time_is_refused_and_never_guessed(company):
    odd = ["2024-02-30", "01.02.2024", "1704067200", "2024", "soon", "now", "infinity", "2024-07-01T25:00"]
    odd += ["2024-07-01 10:30 PM", "2024-07-01 10:30:00 EST", "2024-07-01 10:30 Europe/Berlin", "2024-07-01 (BC)"]
    assert times(company, "2024-01-01", *odd) == [at("2024-01-01T00:00Z")] + [None] * len(odd)


def test_a_format_reads_times_that_are_not_iso(company):
    found = times(company, "31.12.2023 23:30", "2023-12-31", zone="Europe/Berlin", format="%d.%m.%Y %H:%M")
    assert found == [at("2023-12-31T22:30Z"), None]


def test_a_format_with_an_offset_gives_that_instant_in_any_zone(company):
    found = times(company, "31.12.2023 23:30 +0530", zone="America/New_York", format="%d.%m.%Y %H:%M %z")
    assert found == [at("2023-12-31T18:00Z")]


def test_numbers_are_not_guessed_to_be_times(company):
    parquet_rows = [{"account_id": "A", "created_at": 1_704_067_200}]
    pq.write_table(pa.Table.from_pylist(parquet_rows), company.folder / "accounts.parquet")
    company.toml["sources"]["accounts"]["path"] = "accounts.parquet"
    company.toml["quality"] = {"max_quarantine": 1}
    assert company.checked("accounts").reasons == {"created_at is not a time": 1}
    company.toml["tables"]["accounts"]["columns"]["created_at"] = {"sql": "to_timestamp(created_at)"}
    assert company.read("accounts", "created_at") == [(at("2024-01-01T00:00Z"),)]


@pytest.mark.parametrize(
    ("form", "written"),
    [("epoch", "1704067200.25"), ("epoch_ms", "1704067200250"), ("epoch_us", "1704067200250000")],
)
def test_a_format_says_what_a_number_since_1970_counts(company, form, written):
    instant = at("2024-01-01T00:00:00.250Z")
    assert times(company, written, "soon", "1e40", zone="Europe/Berlin", format=form) == [instant, None, None]
    rows = [{"account_id": "A", "created_at": float(written) if "." in written else int(written)}]
    pq.write_table(pa.Table.from_pylist(rows), company.folder / "accounts.parquet")
    company.only("purchases", "account_id,purchased_at,amount", "A,2024-01-05,10")
    company.toml["sources"]["accounts"]["path"] = "accounts.parquet"
    columns = {"account_id": "account_id", "created_at": {"column": "created_at", "format": form}}
    company.toml["tables"]["accounts"]["columns"] = columns
    assert company.read("accounts", "created_at") == [(instant,)]


def test_a_local_time_that_the_clocks_skip_is_read_as_if_they_had_not(company):
    assert times(company, "2024-03-31 02:30", zone="Europe/Berlin") == [at("2024-03-31T01:30Z")]


def test_of_a_local_time_that_comes_twice_the_later_is_meant(company):
    # The later of the two can't bring an event before an as_of that it came after.
    assert times(company, "2024-10-27 02:30", zone="Europe/Berlin") == [at("2024-10-27T01:30Z")]


def test_a_tables_own_zone_goes_before_the_companys(company):
    company.toml["company"]["timezone"] = "Europe/Berlin"
    company.toml["tables"]["purchases"]["timezone"] = "America/New_York"
    assert company.read("purchases", "purchased_at")[0] == (at("2024-01-05T05:00Z"),)
    assert company.read("accounts", "created_at")[0] == (at("2022-12-31T23:00Z"),)


def test_an_event_is_known_when_it_happens_unless_a_lag_is_set(company):
    assert company.read("purchases", "known_at - purchased_at") == [(0,), (0,)]
    company.toml["tables"]["purchases"]["lag"] = "6h"
    assert company.read("purchases", "known_at - purchased_at") == [(6 * 3_600_000_000,)] * 2


def test_a_mapped_known_at_goes_before_the_lag_which_fills_its_gaps(company):
    rows = ("A,2024-01-05,10,2024-02-01T12:00Z", "B,2024-01-05,10,")
    company.table("purchases", "account_id,purchased_at,amount,known_at", *rows, lag="1d")
    assert company.read("purchases", "known_at") == [(at("2024-01-06T00:00Z"),), (at("2024-02-01T12:00Z"),)]
