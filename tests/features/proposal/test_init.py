"""`python -m features init`: what it writes of a company's files, and what it says where it can't."""

from __future__ import annotations

import json
import sqlite3
import tomllib
from datetime import date, timedelta
from urllib.parse import urlsplit

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.settings.load import load_settings
from features.sources.history import History
from tests.support.commands import run_command

START = date(2023, 1, 2)


def init(folder, *words, out="company.toml"):
    return run_command("features", "init", folder, "--out", folder.parent / out, *words, cwd=folder.parent)


@pytest.fixture
def exports(tmp_path):
    folder = tmp_path / "harbour"
    folder.mkdir()
    return folder


def write(folder, name, header, rows, *, sep=",", encoding="utf-8"):  # noqa: PLR0913
    lines = [sep.join(header), *(sep.join(map(str, row)) for row in rows)]
    (folder / name).write_text("\n".join(lines) + "\n", encoding=encoding)


def write_accounts(folder, *, count=30, **form):
    countries = ["Österreich", "Deutschland", "Schweiz"]
    rows = [
        (
            f"K{n}",
            f"Firma Müller {n}",
            (START + timedelta(n)).strftime("%d.%m.%Y"),
            countries[n % 3],
            f"kunde{n}.example",
        )
        for n in range(count)
    ]
    write(folder, "kunden.csv", ["Kundennr", "Firma", "Angelegt am", "Land", "Website"], rows, **form)


def write_orders(folder, *, count=30, amount="1234.50", **form):
    rows = [
        (f"R{n}-{m}", f"K{n}", (START + timedelta(40 + n + 30 * m)).strftime("%d.%m.%Y"), amount)
        for n in range(count)
        for m in range(15)
    ]
    write(folder, "rechnungen.csv", ["Rechnungsnr", "Kundennr", "Rechnungsdatum", "Betrag"], rows, **form)


def read(exports, out="company.toml"):
    return tomllib.loads((exports.parent / out).read_text(encoding="utf-8"))


def test_the_form_of_files_their_times_and_money_are_found(exports):
    write_accounts(exports, sep=";", encoding="cp1252")
    write_orders(exports, sep=";", amount="1.234,50")
    done = init(exports)
    assert done.returncode == 0, done.stderr
    settings = read(exports)
    assert settings["sources"]["kunden"] == {"path": "harbour/kunden.csv", "encoding": "windows-1252"}
    assert settings["sources"]["rechnungen"]["decimal"] == ","
    assert settings["tables"]["accounts"]["columns"]["created_at"] == {"column": "Angelegt am", "format": "%d.%m.%Y"}
    assert settings["tables"]["purchases"]["columns"]["amount"] == "Betrag"
    assert settings["churn"]["label"] == {"kind": "no_purchase"}
    with History.open(load_settings(exports.parent / "company.toml")) as history:
        assert history.count_rows("purchases") == 450
        assert float(history.query("SELECT sum(amount) AS s FROM purchases")["s"].iloc[0]) == pytest.approx(
            450 * 1234.5
        )
    assert "sources.kunden" in done.stdout
    assert "100.0%" in done.stdout


def test_the_base_rate_of_each_month_is_shown(exports):
    write_accounts(exports)
    write_orders(exports)
    result = exports.parent / "init.json"
    assert init(exports, "--json", result).returncode == 0
    (choice,) = json.loads(result.read_text())["choices"]
    assert choice["cohort"] == {"kind": "active", "within_days": 90}
    assert all(cohort <= 30 and left <= cohort for cohort, left in choice["months"].values())
    assert "# active within 90 days, no_purchase" in (exports.parent / "company.toml").read_text()


def test_a_file_that_exists_is_not_overwritten_without_force(exports):
    write_accounts(exports)
    write_orders(exports)
    (exports.parent / "company.toml").write_text("mine")
    done = init(exports)
    assert done.returncode == 1
    assert "company.toml exists. Name another file with --out, or overwrite it with --force" in done.stderr
    assert (exports.parent / "company.toml").read_text() == "mine"
    assert init(exports, "--force").returncode == 0
    assert read(exports)["company"]["name"] == "Harbour"


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda folder: folder.rmdir(), "there is no folder"),
        (lambda _: None, "holds no file that can be read"),
        (lambda folder: (folder / "a.pdf").write_bytes(b"%PDF"), "a.pdf (no known format)"),
        (lambda folder: (folder / "empty.csv").touch(), "holds no file that can be read"),
        (lambda folder: write(folder, "notes.csv", ["text"], [("hello",), ("world",)]), "no table lists the accounts"),
    ],
)
def test_nothing_to_propose_from_is_said(exports, prepare, message):
    prepare(exports)
    done = init(exports)
    assert done.returncode == 1
    assert message in done.stderr
    assert not (exports.parent / "company.toml").exists()


def test_ids_of_another_system_become_identities(exports):
    write_accounts(exports)
    write_orders(exports)
    people = [(f"c{n}", f"K{n // 2}", f"Person{n}@{'gmail.com' if n % 2 else f'kunde{n}.example'}") for n in range(60)]
    write(exports, "contacts.csv", ["Contact ID", "Kundennr", "Email"], people)
    tickets = [
        (
            f"T{n}",
            f"PERSON{n % 60}@{'gmail.com' if n % 2 else f'kunde{n % 60}.example'}",
            f"2023-0{3 + n % 6}-05 10:00",
            f"P{1 + n % 4}",
        )
        for n in range(120)
    ]
    write(exports, "tickets.csv", ["Key", "Requester Email", "Created", "Prio"], tickets)
    done = init(exports)
    assert done.returncode == 0, done.stderr
    settings = read(exports)
    assert settings["tables"]["tickets"]["system"] == "contacts_email"
    priority = settings["tables"]["tickets"]["columns"]["priority"]
    assert priority["map"] == {"P1": "urgent", "P2": "high", "P3": "normal", "P4": "low"}
    with History.open(load_settings(exports.parent / "company.toml")) as history:
        assert history.count_rows("tickets") == 120
        assert history.query("SELECT DISTINCT account_id FROM tickets").shape[0] == 30


def test_bills_that_are_none_and_answers_stay_out(exports):
    statuses = ["active", "churned"]
    rows = [(n, f"2023-01-{1 + n % 28:02d}", statuses[n % 2], "small" if n % 3 else "large", n * 7) for n in range(40)]
    write(exports, "customers.csv", ["id", "created_at", "status", "size", "orders_count"], rows)
    bills = [
        (f"i{n}", n % 40, f"2023-{1 + n % 12:02d}-15", 100 + n, "void" if n % 10 == 0 else "paid", "usd")
        for n in range(400)
    ]
    write(exports, "invoices.csv", ["id", "customer_id", "date", "total", "status", "currency"], bills)
    done = init(exports)
    assert done.returncode == 0, done.stderr
    text = (exports.parent / "company.toml").read_text()
    settings = read(exports)
    assert "40 of 400 rows are left out: status is void" in text
    assert "Not mapped, since it may be the answer: status" in text
    assert "Not mapped, since it is of the export's day: orders_count" in text
    assert settings["company"]["currency"] == "USD"
    assert set(settings["tables"]["accounts"]["columns"]) == {"account_id", "created_at", "size"}
    with History.open(load_settings(exports.parent / "company.toml")) as history:
        assert history.count_rows("purchases") == 360


def test_without_a_list_of_accounts_each_is_one_from_its_first_event_on(exports):
    rows = {"customer_id": [n % 20 for n in range(200)], "amount": [float(n) for n in range(200)]}
    rows["ordered_at"] = [date(2023, 1, 1) + timedelta(n) for n in range(200)]
    for month in ("2023-01", "2023-02"):
        (exports / "orders" / f"month={month}").mkdir(parents=True)
        pq.write_table(pa.table(rows), exports / "orders" / f"month={month}" / "part-0.parquet")
    done = init(exports)
    assert done.returncode == 0, done.stderr
    settings = read(exports)
    assert settings["sources"] == {"orders": {"path": "harbour/orders"}}
    with History.open(load_settings(exports.parent / "company.toml")) as history:
        assert history.count_rows() == 20


def test_a_database_is_read_by_its_url(exports):
    database = sqlite3.connect(exports.parent / "crm.db")
    database.execute("CREATE TABLE customers (id INTEGER, created_at TEXT)")
    database.execute("CREATE TABLE orders (id INTEGER, customer_id INTEGER, ordered_at TEXT, amount REAL)")
    database.executemany("INSERT INTO customers VALUES (?, '2023-01-01')", [(n,) for n in range(20)])
    orders = [(n, n % 20, f"2023-{1 + n % 12:02d}-03", 10.0) for n in range(100)]
    database.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", orders)
    database.commit()
    database.close()
    out = exports.parent / "company.toml"
    done = run_command("features", "init", f"sqlite:///{exports.parent / 'crm.db'}", "--out", out)
    assert done.returncode == 0, done.stderr
    settings = read(exports)
    assert settings["sources"]["orders"] == {"url": "sqlite:///crm.db", "table": "orders"}
    assert settings["company"]["name"] == "Crm"
    missing = run_command("features", "init", f"sqlite:///{exports.parent / 'none.db'}", "--out", exports / "x.toml")
    assert missing.returncode == 1
    assert "there is no database" in missing.stderr


def test_events_that_find_no_account_are_said_and_no_silent_loss(exports):
    write_accounts(exports)
    write_orders(exports)
    tickets = [(f"T{n}", f"X{n}", "2023-05-01", "urgent") for n in range(50)]
    write(exports, "tickets.csv", ["id", "customer_id", "created_at", "priority"], tickets)
    done = init(exports)
    assert done.returncode == 0, done.stderr
    assert "tickets" not in read(exports)["tables"]
    assert "Left out: tickets of tickets, since no column of it finds the accounts" in done.stdout
    assert "Left out: tickets" in (exports.parent / "company.toml").read_text()


def test_lines_that_cannot_be_read_are_counted(exports):
    write_accounts(exports)
    write_orders(exports)
    with (exports / "rechnungen.csv").open("a") as file:
        file.write("R99,K1,01.05.2023,12,50\n")
    done = init(exports)
    assert done.returncode == 0, done.stderr
    assert "rechnungen: 1 line can't be read, the first is line 452: the line has 5 fields, the header 4" in done.stdout


def test_several_currencies_without_rates_are_to_be_confirmed(exports):
    write_accounts(exports)
    rows = [(f"R{n}", f"K{n % 30}", f"2023-{1 + n % 12:02d}-04", 5, ["EUR", "JPY"][n % 2]) for n in range(120)]
    write(exports, "orders.csv", ["id", "Kundennr", "date", "amount", "currency"], rows)
    done = init(exports)
    assert done.returncode == 0, done.stderr
    assert "amounts are in several currencies (EUR 50%, JPY 50%)" in done.stdout


def test_a_password_stays_out_of_the_file():
    from features.proposal.places import hide_secret

    assert hide_secret("postgresql://me:s3cret@db:5432/crm") == ("postgresql://me:${DB_PASSWORD}@db:5432/crm", "s3cret")
    assert hide_secret("postgresql://db/crm") == ("postgresql://db/crm", None)


def test_tables_of_postgresql_are_read_and_its_password_is_not_written(exports, postgres_url, monkeypatch):
    numbers = "FROM generate_series(1, 200) n"
    with psycopg.connect(postgres_url) as server:
        server.execute("CREATE TABLE customers AS SELECT n AS id, date '2023-01-01' AS created_at " + numbers)
        server.execute(
            "CREATE TABLE orders AS SELECT n AS id, n AS customer_id, 9.5 AS amount, "
            "timestamptz '2023-02-01' + n * interval '1 day' AS ordered_at " + numbers
        )
    out = exports.parent / "company.toml"
    done = run_command("features", "init", postgres_url, "--out", out)
    assert done.returncode == 0, done.stderr
    monkeypatch.setenv("DB_PASSWORD", urlsplit(postgres_url).password or "")
    with History.open(load_settings(out)) as history:
        assert history.count_rows("purchases") == 200


def test_the_commonest_product_features_are_named_for_shares_of_use(exports):
    write_accounts(exports)
    rows = [
        (f"K{n % 30}", START + timedelta(60 + n // 4), ["Berichte", "API", "Export"][n % 7 % 3]) for n in range(900)
    ]
    write(exports, "usage.csv", ["Kundennr", "used_at", "feature"], rows)
    assert init(exports).returncode == 0
    toml = tomllib.loads((exports.parent / "company.toml").read_text(encoding="utf-8"))
    assert toml["tables"]["usage"]["columns"]["feature"] == "feature"
    assert set(toml["catalog"]["shares_of_use"]) == {"Berichte", "API", "Export"}


def test_the_tables_of_a_service_organisation_are_known_by_plain_names_and_no_text_is_shown(exports):
    write_accounts(exports)
    write_orders(exports)
    days = [START + timedelta(60 + n) for n in range(30)]
    secret = "call 138 1234 5678"
    made = {
        "tickets": (
            "ticket_id,Kundennr,opened_at,subject,body,handled_by",
            lambda n, d: (n, d, secret, secret, "s@h.example"),
        ),
        "contacts": ("contact_id,Kundennr,created_at,role,left_at", lambda n, d: (n, d, "champion", d)),
        "contracts": ("contract_id,Kundennr,starts,ends,notice_until", lambda n, d: (n, d, "2026-01-01", "2025-11-01")),
        "surveys": ("Kundennr,at,kind,score,text", lambda _, d: (d, "nps", 9, secret)),
        "promises": ("Kundennr,made_at,due,text,kept_at", lambda _, d: (d, d, secret, d)),
        "staff": ("email,team,rate_per_hour", lambda n, _: (f"s{n}@h.example", "support", 40)),
    }
    for name, (header, row) in made.items():
        names = header.split(",")
        place = names.index("Kundennr") if "Kundennr" in names else None
        rows = [list(row(f"{name[0]}{n}", day)) for n, day in enumerate(days)]
        for n, one in enumerate(rows):
            if place is not None:
                one.insert(place, f"K{n}")
        write(exports, f"{name}.csv", names, rows)
    done = init(exports)
    assert done.returncode == 0, done.stderr
    found = read(exports)["tables"]
    assert {"people", "contracts", "surveys", "promises", "staff"} <= found.keys()
    assert {"subject", "body", "handled_by"} <= found["tickets"]["columns"].keys()
    assert found["people"]["columns"]["until"] == "left_at"
    assert "1234 5678" not in (exports.parent / "company.toml").read_text(encoding="utf-8")
