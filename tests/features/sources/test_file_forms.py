"""Files as people's tools write them: what is wrong with one line costs that line, and the rest is read."""

import gzip
import json
from decimal import Decimal

import openpyxl
import pandas as pd
import pytest

from features.core.errors import QualityError, SettingsError, SourceError

HEADER = "account_id,purchased_at,amount,product"
SOUND = [f"{'AB'[n % 2]},2024-01-0{n % 9 + 1},{n},Mug" for n in range(40)]


def write_orders(company, text, name="orders.csv", **source):
    """Write the purchases as they are given, and map them by the names of their header."""
    content = text if isinstance(text, bytes) else text.encode()
    (company.folder / name).parent.mkdir(parents=True, exist_ok=True)
    (company.folder / name).write_bytes(content)
    company.toml["sources"]["purchases"] = {"path": name, **source}
    company.toml["tables"]["purchases"]["columns"] = {c: c for c in HEADER.split(",")}
    return company


def read_products(company):
    return [product for (product,) in company.read("purchases", "product")]


def read_lines(company):
    """Return file, line, text and reason of the quarantined lines."""
    file = company.folder / "var" / "harbour" / "quarantine" / "purchases.parquet"
    rows = pd.read_parquet(file, columns=["file", "line", "text", "why"]).dropna()
    return [(name.rpartition("/")[2], *rest) for name, *rest in rows.itertuples(index=False, name=None)]


@pytest.mark.parametrize("last", ['"Mug, blue"', '"Mug\nblue"', '"Mug"', '"a ""b"" c"'])
def test_the_first_quoted_value_may_stand_after_any_number_of_rows(company, last):
    rows = [f"A,2024-01-05,{n},Mug" for n in range(21_500)]
    write_orders(company, "\n".join([HEADER, *rows, f"A,2024-01-06,1,{last}"]) + "\n")
    checked = company.checked("purchases")
    assert (checked.rows, checked.kept) == (21_501, 21_501)
    assert last[1:-1].replace('""', '"') in set(read_products(company))


def test_a_line_of_too_many_or_too_few_fields_is_one_row_of_the_quarantine(company):
    company.toml["quality"] = {"max_quarantine": 0.1}
    lines = [*SOUND[:10], "A,2024-01-05,1,Mug,extra", *SOUND[10:], "B,2024-01-05"]
    write_orders(company, "\n".join([HEADER, *lines]) + "\n")
    checked = company.checked("purchases")
    assert (checked.rows, checked.kept) == (42, 40)
    assert checked.reasons == {"the line has 2 fields, the header 4": 1, "the line has 5 fields, the header 4": 1}
    assert read_lines(company) == [
        ("orders.csv", 12, "A,2024-01-05,1,Mug,extra", "the line has 5 fields, the header 4"),
        ("orders.csv", 43, "B,2024-01-05", "the line has 2 fields, the header 4"),
    ]


@pytest.mark.parametrize("broken", ['A,2024-01-05,1,"Mug', 'A,"2024-01-05,1,Mug', 'A,2024-01-05,1,"Mug" blue'])
def test_a_quote_that_is_not_closed_costs_its_line_and_none_after_it(company, broken):
    lines = [*SOUND[:10], broken, *SOUND[10:], 'A,2024-01-05,1,"Mug\nblue"']
    write_orders(company, "\n".join([HEADER, *lines]) + "\n")
    checked = company.checked("purchases")
    assert (checked.kept, checked.reasons) == (41, {"a quote in the line is not closed": 1})
    assert read_lines(company)[0][:3] == ("orders.csv", 12, broken)


def test_a_line_that_is_longer_than_any_is_read_costs_itself_alone(company):
    long = f'A,2024-01-05,1,"{"x" * 2_100_000}"'
    write_orders(company, "\n".join([HEADER, *SOUND[:20], long, *SOUND[20:]]))
    checked = company.checked("purchases")
    assert (checked.kept, checked.reasons) == (40, {"the line has over 2,000,000 bytes": 1})


def test_a_file_of_mixed_line_ends_is_read(company):
    ends = ["\n", "\r\n", "\r"]
    text = HEADER + "\r\n" + "".join(row + ends[n % 3] for n, row in enumerate(SOUND))
    assert len(read_products(write_orders(company, text))) == 40


@pytest.mark.parametrize("encoding", ["windows-1252", "utf-16", "cp850"])
def test_an_encoding_is_read_by_its_name(company, encoding):
    text = "\n".join([HEADER, *SOUND, "A,2024-01-05,1,Müller & Söhne"])
    write_orders(company, text.encode(encoding), encoding=encoding)
    assert "Müller & Söhne" in read_products(company)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_needs_no_key(company, encoding):
    text = "\n".join([HEADER, *SOUND, "A,2024-01-05,1,Müller"])
    assert "Müller" in read_products(write_orders(company, text.encode(encoding)))


def test_a_file_of_another_encoding_is_refused_with_its_line_and_the_key(company):
    text = "\n".join([HEADER, *SOUND[:3], "A,2024-01-05,1,Müller", *SOUND])
    write_orders(company, text.encode("windows-1252"))
    with pytest.raises(SourceError) as error:
        company.open()
    said = str(error.value)
    assert "orders.csv is not UTF-8. found: line 5" in said
    assert 'sources.purchases.encoding = "windows-1252"' in said


def test_a_header_of_another_encoding_is_refused_likewise(company):
    write_orders(company, "account_id,purchased_at,amount,größe\nA,2024-01-05,1,x\n".encode("latin-1"))
    with pytest.raises(SourceError, match=r"is not UTF-8\. found: line 1 .*encoding"):
        company.open()


@pytest.mark.parametrize("source", [{}, {"encoding": "utf-8"}])
def test_bytes_that_are_no_text_cost_their_line_in_a_file_that_is_utf8(company, source):
    lines = [HEADER, *SOUND, "A,2024-01-05,1,Müller", "B,2024-01-05,1,Sch\x00"]
    text = "\n".join(lines).encode().replace(b"Sch\x00", b"Sch\xc3")
    write_orders(company, text, **source)
    checked = company.checked("purchases")
    assert (checked.kept, checked.reasons) == (41, {"the line is not UTF-8": 1})
    assert read_lines(company) == [("orders.csv", 43, r"B,2024-01-05,1,Sch\xc3", "the line is not UTF-8")]


@pytest.mark.parametrize("nothing", ["N/A", ["NULL", "\\N", "N/A", "None"]])
def test_words_for_nothing_are_nothing(company, nothing):
    company.toml["quality"] = {"max_quarantine": 0}
    write_orders(company, "\n".join([HEADER, *SOUND, "A,2024-01-05,1,N/A"]), nothing=nothing)
    assert read_products(company).count(None) == 1


def test_a_value_that_the_map_makes_nothing_of_is_nothing(company):
    company.toml["quality"] = {"max_quarantine": 0}
    write_orders(company, f"{HEADER},qty\nA,2024-01-05,1,Mug,NULL\nA,2024-01-05,1,Mug,3\nB,2024-01-05,1,Mug,\n")
    company.toml["tables"]["purchases"]["columns"]["quantity"] = {"column": "qty", "map": {"NULL": ""}}
    assert company.read("purchases", "quantity::INT") == [(3,), (None,), (None,)]


@pytest.mark.parametrize(
    ("written", "source", "amounts"),
    [
        ("12,50;1.234,50;-1.234.567,5;3", {"decimal": ","}, ["12.50", "1234.50", "-1234567.5", "3"]),
        ("12,50;1 234,50;1\u00a0234,50", {"decimal": ",", "thousands": " "}, ["12.50", "1234.50", "1234.50"]),
        ("12.50;1,234.50;12,34,567.5", {"thousands": ","}, ["12.50", "1234.50", "1234567.5"]),
        ("12.50;1'234.50", {"thousands": "'"}, ["12.50", "1234.50"]),
    ],
)
def test_numbers_are_read_as_the_source_writes_them(company, written, source, amounts):
    rows = [f"A;2024-01-05;{amount};Mug" for amount in written.split(";")]
    write_orders(company, "\n".join([HEADER.replace(",", ";"), *rows]), **source)
    assert company.read("purchases", "amount") == sorted((Decimal(amount),) for amount in amounts)


def test_a_number_whose_groups_are_not_of_three_digits_is_not_guessed(company):
    company.toml["quality"] = {"max_quarantine": 1}
    write_orders(company, f"{HEADER.replace(',', ';')}\nA;2024-01-05;12.50;Mug\nB;2024-01-05;1,5;Mug\n", decimal=",")
    assert company.checked("purchases").reasons == {"amount is not a number": 1}


def test_where_most_numbers_hold_a_comma_the_error_proposes_the_key(company):
    rows = [f"A;2024-01-05;{n},50;Mug" for n in range(9)]
    write_orders(company, "\n".join([HEADER.replace(",", ";"), *rows]))
    with pytest.raises(QualityError, match=r'amount is not a number.*sources\.purchases\.decimal = ","'):
        company.open()


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_the_delimiter_is_found_from_the_header(company, delimiter):
    rows = [row.replace("Mug", '"Mug, blue; or red"').replace(",", delimiter, 3) for row in SOUND]
    write_orders(company, "\n".join([HEADER.replace(",", delimiter), *rows]), decimal=",")
    assert set(read_products(company)) == {"Mug, blue; or red"}


def test_excels_own_first_line_and_lines_before_the_header_are_passed_over(company):
    text = "\n".join([HEADER, *SOUND]).replace(",", ";")
    assert len(read_products(write_orders(company, f"\ufeffsep=;\n{text}"))) == 40
    assert len(read_products(write_orders(company, f"Orders, all\nof 2024\n\n{text}", skip=2))) == 40


@pytest.mark.parametrize(
    ("text", "source", "product"),
    [
        ("A~2024-01-05~1~'a~b'", {"delimiter": "~", "quote": "'"}, "a~b"),
        ('A,2024-01-05,1,5" pipe', {"quote": ""}, '5" pipe'),
        (r'A,2024-01-05,1,"a \"b\", c"', {"escape": "\\"}, 'a "b", c'),
    ],
)
def test_the_marks_of_a_file_can_be_given(company, text, source, product):
    header = HEADER.replace(",", source.get("delimiter", ","))
    assert read_products(write_orders(company, f"{header}\n{text}\n", **source)) == [product]


def write_parquet(company, *names):
    for name in names:
        (company.folder / name).parent.mkdir(parents=True, exist_ok=True)
        rows = [{"account_id": "A", "purchased_at": "2024-01-05", "amount": 1.5, "product": name}]
        pd.DataFrame(rows).to_parquet(company.folder / name, index=False)


@pytest.mark.parametrize("path", ["lake", "lake/**/*.parquet", "lake/*"])
def test_files_in_folders_of_folders_are_read_and_the_folders_give_columns(company, path):
    write_parquet(company, "lake/month=2024-01/a.parquet", "lake/month=2024-02/a.parquet")
    write_parquet(company, "other/a.parquet")
    company.toml["sources"]["purchases"] = {"path": path}
    company.toml["tables"]["purchases"]["columns"]["product"] = "month"
    assert read_products(company) == ["2024-01", "2024-02"]


def test_what_a_system_keeps_for_itself_in_a_folder_is_no_data(company):
    write_parquet(company, "lake/a.parquet", "lake/_delta_log/b.parquet", "lake/.tmp/c.parquet")
    company.toml["sources"]["purchases"] = {"path": "lake"}
    company.toml["tables"]["purchases"]["columns"]["product"] = "product"
    assert read_products(company) == ["lake/a.parquet"]


def test_a_bad_line_in_one_of_many_files_is_named_with_its_file_and_the_folders_still_give_columns(company):
    company.toml["quality"] = {"max_quarantine": 0.5}
    for name, rows in {"m=1/x.csv": "A,2024-01-05,1,Mug\n", "m=2/x.csv": "A,2024-01-05,1,Mug\nB,1\n"}.items():
        write_orders(company, f"{HEADER}\n{rows}", f"lake/{name}")
    write_orders(company, "product,amount,account_id,purchased_at\nCup,1,A,2024-01-05\n", "lake/m=3/y.csv")
    company.toml["sources"]["purchases"]["path"] = "lake/**/*.csv"
    company.toml["tables"]["purchases"]["columns"]["order_id"] = "m"
    assert company.read("purchases", "product, order_id") == [("Cup", "3"), ("Mug", "1"), ("Mug", "2")]
    assert [line[:3] for line in read_lines(company)] == [("x.csv", 3, "B,1")]


OBJECTS = [
    {"account_id": "A", "purchased_at": "2024-01-05", "amount": 1.5, "more": {"item": "Mug", "tags": ["a"]}},
    {"account_id": 7, "purchased_at": "2024-01-05T10:00:00Z", "amount": "2", "more": None, "extra": True},
]


@pytest.mark.parametrize("name", ["orders.ndjson", "orders.jsonl.gz", "orders.json"])
def test_json_is_read_by_lines_or_as_a_list_and_inner_objects_give_columns(company, name):
    text = json.dumps(OBJECTS) if name == "orders.json" else "\n".join(map(json.dumps, OBJECTS)) + "\n\n"
    write_orders(company, gzip.compress(text.encode()) if name.endswith("gz") else text, name)
    company.table("accounts", "account_id,created_at", "A,2023-01-01", "7,2023-01-01")
    company.toml["tables"]["purchases"]["columns"] |= {"product": "more.item", "paid": "extra", "order_id": "more"}
    rows = company.read("purchases", "account_id, amount, product, paid, order_id")
    assert rows == [
        ("7", Decimal(2), None, True, None),
        ("A", Decimal("1.5"), "Mug", None, '{"item":"Mug","tags":["a"]}'),
    ]


def test_a_line_that_is_no_json_object_is_one_row_of_the_quarantine(company):
    company.toml["quality"] = {"max_quarantine": 0.6}
    sound = json.dumps({c: v for c, v in OBJECTS[0].items() if c != "more"} | {"product": "Mug"})
    write_orders(company, f'{sound}\n{{"account_id": "A",\n5\n{sound.replace("05", "06")}\n', "orders.jsonl")
    assert company.checked("purchases").reasons == {"the line is not a JSON object": 2}
    assert [line[1] for line in read_lines(company)] == [2, 3]


def test_a_workbook_is_read_as_its_cells_say(company):
    book = openpyxl.Workbook()
    for row in (["Orders"], HEADER.split(","), ["A", pd.Timestamp("2024-01-05 10:00"), 12.5, "Mug"], [None] * 4):
        book.active.append(row)
    book.save(company.folder / "orders.xlsx")
    write_orders(company, "", "unused.csv")
    company.toml["sources"]["purchases"] = {"path": "orders.xlsx", "skip": 1}
    assert company.read("purchases", "account_id, amount, product") == [("A", Decimal("12.5"), "Mug")]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"encoding": "klingon"}, "sources.purchases.encoding: 'klingon' is no encoding of text"),
        ({"encoding": "base64"}, "'base64' is no encoding of text"),
        ({"delimiter": ";;"}, "sources.purchases.delimiter: ';;' is not one character"),
        ({"decimal": ",", "thousands": ","}, "decimal and thousands are both ','"),
        ({"decimal": ";"}, "sources.purchases.decimal"),
    ],
)
def test_forms_that_do_not_exist_are_refused_with_their_key(company, source, said):
    company.toml["sources"]["purchases"] |= source
    with pytest.raises(SettingsError) as error:
        company.settings()
    assert said in str(error.value)


def test_what_can_be_said_of_text_files_alone_is_refused_of_others(company):
    company.toml["sources"]["purchases"] = {"url": "sqlite:///x.db", "table": "t", "encoding": "utf-8"}
    with pytest.raises(SettingsError, match="encoding can be said of files alone"):
        company.settings()
    write_parquet(company, "a.parquet")
    company.toml["sources"]["purchases"] = {"path": "a.parquet", "delimiter": ";"}
    with pytest.raises(SourceError, match=r"sources\.purchases: delimiter can be said of text files alone"):
        company.open()
