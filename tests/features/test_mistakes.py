"""Sixty-odd mistakes in a company's TOML and data, each met by one line: what, where, what was found, what to do.

A case is a healthy company with one thing changed, and runs a command as a user would.
"""

from __future__ import annotations

import itertools
import os
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.commands import run_command

TOML = """\
[company]
name = "Harbour"
timezone = "Europe/Berlin"
currency = "EUR"

[sources]
crm = { path = "crm.csv" }
desk = { path = "desk.csv" }
billing = { path = "billing.csv" }
ids = { path = "ids.csv" }

[tables.accounts]
source = "crm"
[tables.accounts.columns]
account_id = "Id"
created_at = "Created"
owner_email = "Owner"
parent_id = "Parent"

[tables.identities]
source = "ids"
columns = { system = "system", external_id = "id", account_id = "account" }

[tables.tickets]
source = "desk"
system = "desk"
lag = "6h"
[tables.tickets.columns]
ticket_id = "key"
account_id = "org"
opened_at = "opened"
resolved_at = "resolved"
priority = { column = "prio", map = { P1 = "urgent", P2 = "high" } }

[tables.purchases]
source = "billing"
[tables.purchases.columns]
account_id = "customer"
purchased_at = "date"
amount = "net"
currency = "cur"

[churn]
cohort = { kind = "active", within_days = 180 }
label = { kind = "no_purchase" }
horizons = [30, 90]

[quality]
max_quarantine = 0.05

[alerts]
fallback_owner = "success@harbour.example"

[paths]
var = "VAR"
"""
IDENTITIES = TOML[TOML.index("[tables.identities]") : TOML.index("[tables.tickets]")]
MONTHS = ("01", "02", "03", "04", "05", "06")
CRM = ["Id,Created,Owner,Parent", *(f"A{n},2023-0{n}-01,jo@harbour.example," for n in range(1, 7))]
IDS = ["system,id,account", *(f"desk,o{n},A{n}" for n in range(1, 7))]
DESK = [
    "key,org,opened,resolved,prio",
    *(f"T{n}{m},o{n},2024-{m}-0{n} 09:12,2024-{m}-0{n} 11:00,P{1 + n % 2}" for n in range(1, 7) for m in MONTHS),
]
BILLING = [
    "customer,date,net,cur",
    *(f"A{n},2024-{m}-1{n},{n}0.50,EUR" for n in range(1, 7) for m in MONTHS),
]
FILES = {"crm.csv": CRM, "ids.csv": IDS, "desk.csv": DESK, "billing.csv": BILLING}


@dataclass(frozen=True)
class Mistake:
    """A change to the company and the words that the message must have.

    Args:
        says: What must be in the message.
        toml: Old text of the TOML to the new; a text alone replaces the whole file.
        files: Name of a file to its lines, bytes, or None for a file that is not there.
        status: Exit status: 1 where the mistake stops the check, 0 where it costs rows alone.
    """

    says: tuple[str, ...]
    toml: dict[str, str] | str | bytes = field(default_factory=dict)
    files: dict[str, list[str] | bytes | None] = field(default_factory=dict)
    status: int = 1


def of_toml(old, new, *says, **rest):
    """Return a mistake in the TOML; the line of the first changed key must be named."""
    return Mistake(says, {old: new}, **rest)


def of_file(name, content, *says, status=1, **rest):
    return Mistake(says, files={name: content}, status=status, **rest)


def each(lines, change):
    return [lines[0], *(change(line) for line in lines[1:])]


def cells(lines, column, value):
    """Return a table with another value in one column of all rows."""
    place = lines[0].split(",").index(column)
    value = value if callable(value) else (lambda _, v=value: v)
    return each(lines, lambda line: ",".join(value(c) if n == place else c for n, c in enumerate(line.split(","))))


def renamed(lines, old, new):
    return [lines[0].replace(old, new), *lines[1:]]


TURNS = itertools.cycle(["EUR", "USD"])
SOON = datetime.now(UTC) + timedelta(days=400)

MISTAKES = {
    # The TOML as a file
    "no settings file": Mistake(("there is no settings file", "garrison.toml", "--config"), toml=""),
    "not TOML": of_toml('name = "Harbour"', "name = Harbour", "is not TOML", "line 2", "garrison.toml"),
    "a key twice": of_toml('currency = "EUR"', 'currency = "EUR"\ncurrency = "USD"', "is not TOML", "line 5"),
    "a table twice": of_toml("[quality]", '[company]\nname = "x"\n[quality]', "is not TOML", "company", "line 48"),
    "a quote not closed": of_toml('name = "Harbour"', 'name = "Harbour', "is not TOML", "line 2"),
    "settings in Latin-1": Mistake(
        ("is not UTF-8", "line 2", "Save it as UTF-8"),
        TOML.replace('"Harbour"', '"H\xe4fen"').encode("latin-1"),
    ),
    "settings in UTF-16": Mistake(("is not UTF-8", "Save it as UTF-8"), TOML.encode("utf-16")),
    "an empty settings file": Mistake(("company", "sources", "tables", "churn", "missing"), b"\n"),
    "a Windows path in double quotes": of_toml(
        '"crm.csv"', r'"C:\exports\crm.csv"', "is not TOML", "line 7", "single quotes"
    ),
    "an environment variable that is not set": of_toml(
        '"EUR"', '"${OUR_CUR}"', "OUR_CUR", "company.currency", "export"
    ),
    # Keys and values
    "an unknown key": of_toml("timezone =", "time_zone =", "company.time_zone", "timezone", "line 3"),
    "an unknown section": of_toml("[quality]", "[qualty]", "qualty", "quality", "line 48"),
    "a key in the wrong section": of_toml("max_quarantine = 0.05", "horizon = 30", "quality.horizon", "max_quarantine"),
    "a zone that does not exist": of_toml(
        '"Europe/Berlin"', '"CET/Berlin"', "company.timezone", "line 3", "CET/Berlin"
    ),
    "a lag without a unit": of_toml('"6h"', '"6 hours"', "tables.tickets.lag", "line 27", "6 hours", "30m, 6h or 1d"),
    "a share in per cent": of_toml("0.05", "5", "quality.max_quarantine", "line 49", "given: 5"),
    "a number as text": of_toml("[30, 90]", '["ninety"]', "churn.horizons.0", "line 46", "ninety"),
    "a horizon of nothing": of_toml("[30, 90]", "[]", "churn.horizons", "line 46"),
    "a negative horizon": of_toml("[30, 90]", "[-30]", "churn.horizons.0", "line 46", "-30"),
    "a value that is not allowed": of_toml('"no_purchase"', '"no_order"', "churn.label.kind", "line 45", "no_purchase"),
    "a key of another kind": of_toml(
        '"no_purchase"', '"no_purchase", grace_days = 7', "grace_days", "lapse", "line 45"
    ),
    "no churn cohort": of_toml("cohort = {", "cohorts = {", "churn.cohort", "churn.cohorts", "cohort"),
    "no name of the company": of_toml('name = "Harbour"\n', "", "company.name", "line 1"),
    "an empty name": of_toml('"Harbour"', '""', "company.name", "line 2"),
    "a currency that is none": of_toml(
        'currency = "EUR"', 'currency = "Euros"', "company.currency", "line 4", "ISO 4217"
    ),
    "a date without a zone": of_toml(
        "[paths]", '[training]\nfirst = "2024-01-01T09:00"\n[paths]', "training.first", "line 55", "offset or Z"
    ),
    "a date that is none": of_toml(
        "[paths]", '[training]\nfirst = "01.02.2024"\n[paths]', "training.first", "line 55", "ISO date", "01.02.2024"
    ),
    "a test before the training": of_toml(
        "[paths]",
        "[training]\nfirst = 2025-01-01\ntest_from = 2024-01-01\n[paths]",
        "training.test_from",
        "line 56",
        "training.first",
    ),
    "an owner without an address": of_toml(
        '"success@harbour.example"', '"success"', "alerts.fallback_owner", "success"
    ),
    "alerts of another horizon": of_toml("[alerts]", "[alerts]\nhorizon = 60", "alerts.horizon", "line 52", "[30, 90]"),
    # Tables and their columns
    "an unknown table": of_toml("tables.tickets", "tables.ticket", "tables.ticket", "tickets", "line 24"),
    "no accounts": of_toml("tables.accounts", "tables.account", "tables.accounts is missing"),
    "a source that is not there": of_toml(
        'source = "billing"', 'source = "bills"', "tables.purchases.source", "billing", "line 36"
    ),
    "both source and query": of_toml(
        'source = "billing"', 'source = "billing"\nquery = "SELECT 1"', "tables.purchases", "either source or query"
    ),
    "a column that the contract needs": of_toml(
        'amount = "net"\n', "", "tables.purchases.columns.amount", "needs it", "line 37"
    ),
    "a column that is not in the contract": of_toml(
        "amount =", "amout =", "tables.purchases.columns.amout", "amount", "line 40"
    ),
    "a raw column that is not there": of_toml(
        '"net"', '"nett"', "tables.purchases.columns.amount", "'nett'", "net", "line 40"
    ),
    "a raw column in another case": of_toml(
        '"opened"', '"Opened"', "tables.tickets.columns.opened_at", "'Opened'", "opened", "line 31"
    ),
    "a map to a word outside the contract": of_toml('P1 = "urgent"', 'P1 = "hot"', "P1", "hot", "urgent", "line 33"),
    "a wrong SQL expression": of_toml(
        '"net"', '{ sql = "net + (" }', "tables.purchases.columns.amount", "line 40", "sql"
    ),
    "SQL over a source that is not there": of_toml(
        'source = "billing"', 'query = "SELECT * FROM bill"', "tables.purchases.query", "bill", "line 36"
    ),
    "a format that matches nothing": of_toml(
        '"opened"',
        '{ column = "opened", format = "%d/%m/%Y" }',
        "opened_at is not a time",
        "2024-01-01 09:12",
        "format",
        "line 31",
    ),
    "a format that is none": of_toml(
        '"opened"', '{ column = "opened", format = "DD.MM.YYYY" }', "opened_at", "format", "DD.MM.YYYY", "line 31", "%d"
    ),
    "a system without identities": of_toml(IDENTITIES, "", "tables.tickets.system", "[tables.identities]", "line 22"),
    "a system that no identity names": of_toml(
        'system = "desk"', 'system = "zendesk"', "zendesk", "tickets", "o1", "desk"
    ),
    "ids of another system": of_toml(
        'system = "desk"\n', "", "account_id is not in accounts", "tickets", "o1", "system"
    ),
    # Places of sources
    "a file that is not there": of_toml(
        '"billing.csv"', '"bills.csv"', "sources.billing.path", "bills.csv", "line 9", "billing.csv"
    ),
    "a folder without files": of_toml('"billing.csv"', '"exports/"', "sources.billing.path", "exports", "line 9"),
    "a glob that matches nothing": of_toml(
        '"billing.csv"', '"bills_*.csv"', "sources.billing.path", "bills_*.csv", "line 9"
    ),
    "a format that is not known": Mistake(
        ("sources.billing.path", "billing.xml", "CSV", "line 9"),
        {'"billing.csv"': '"billing.xml"'},
        {"billing.xml": ["<a/>"]},
    ),
    "a source with a path and a url": of_toml(
        '"billing.csv"', '"billing.csv", url = "sqlite:///b.db"', "sources.billing", "line 9"
    ),
    "a bad URL": of_toml(
        'path = "billing.csv"',
        'url = "postgres//db/billing", table = "i"',
        "sources.billing",
        "postgres//db/billing",
        "line 9",
    ),
    "a server that does not answer": of_toml(
        'path = "billing.csv"',
        'url = "postgresql://jo:hunter2@127.0.0.1:1/billing", table = "i"',
        "sources.billing",
        "postgresql://jo:***@127.0.0.1:1/billing",
        "refused",
        "line 9",
    ),
    "a database file that is not there": of_toml(
        'path = "billing.csv"', 'url = "sqlite:///b.db", table = "i"', "sources.billing.url", "b.db", "line 9"
    ),
    "a delimiter of two characters": of_toml(
        '"billing.csv"', '"billing.csv", delimiter = ";;"', "sources.billing.delimiter", "line 9"
    ),
    "an encoding that is none": of_toml(
        '"billing.csv"', '"billing.csv", encoding = "utf-9"', "sources.billing.encoding", "utf-9", "line 9"
    ),
    "an encoding that it is not": of_toml(
        '"billing.csv"', '"billing.csv", encoding = "utf-16"', "sources.billing.encoding", "billing.csv", "line 9"
    ),
    "a delimiter that it has not": of_toml(
        '"billing.csv"', '"billing.csv", delimiter = "|"', "'customer'", "sources.billing.delimiter", "line 38"
    ),
    "an empty path": of_toml('"billing.csv"', '""', "sources.billing.path is empty", "line 9"),
    "a state database of another kind": of_toml(
        "[company]", 'state_url = "mysql://x"\n[company]', "state_url", "sqlite:///", "postgresql://", "line 1"
    ),
    "a format with a code that is none": of_toml(
        '"date"', '{ column = "date", format = "%Q" }', "purchases.columns.purchased_at", "%Q", "strptime", "line 39"
    ),
    "SQL that fails at a row": of_toml(
        '"net"', '{ sql = "CAST(cur AS INT)" }', "tables.purchases.columns.amount", "TRY_CAST", "'EUR'", "line 40"
    ),
    "identities without a column": of_file(
        "ids.csv", ["system,id", "desk,o1"], "tables.identities.columns.account_id", "'account'", "line 22"
    ),
    # The data
    "an empty file": of_file("billing.csv", b"", "sources.billing", "billing.csv", "header"),
    "a header alone": of_file("billing.csv", BILLING[:1], "tables.purchases", "no rows", "line 35"),
    "a file without a header": of_file(
        "billing.csv", BILLING[1:], "tables.purchases.columns.account_id", "'customer'", "A1"
    ),
    "a file that may not be read": of_file("billing.csv", BILLING, "sources.billing", "billing.csv", "ermission"),
    "a folder in the place of a file": of_file("billing.csv", None, "sources.billing.path", "billing.csv"),
    "a Parquet file that is none": Mistake(
        ("sources.billing.path", "billing.parquet", "line 9"),
        {'"billing.csv"': '"billing.parquet"'},
        {"billing.parquet": b"PAR1 no"},
    ),
    "a gzip file that is none": Mistake(
        ("sources.billing", "billing.csv.gz", "line 9"),
        {'"billing.csv"': '"billing.csv.gz"'},
        {"billing.csv.gz": BILLING},
    ),
    "JSON that is none": Mistake(
        ("sources.billing", "billing.jsonl", "JSON", "line 9"),
        {'"billing.csv"': '"billing.jsonl"'},
        {"billing.jsonl": BILLING},
    ),
    "an Excel file that is none": Mistake(
        ("sources.billing", "billing.xlsx", "line 9"), {'"billing.csv"': '"billing.xlsx"'}, {"billing.xlsx": BILLING}
    ),
    "a file in Latin-1": of_file(
        "crm.csv",
        "\n".join(cells(CRM, "Owner", "j\xf6@harbour.example")).encode("latin-1"),
        "sources.crm",
        "encoding",
        "crm.csv",
    ),
    "a byte-order mark, a header with blanks and one ragged line": of_file(
        "billing.csv",
        "\n".join([*renamed(BILLING, "net", " net "), "A1,2024-03-01,5,EUR,x"]).encode("utf-8-sig"),
        "the line has 5 fields, the header 4 (1)",
        status=0,
    ),
    "ragged lines": of_file(
        "billing.csv",
        each(BILLING, lambda line: line + ",x"),
        "the line has 5 fields, the header 4",
        "36 of 36",
        "billing.csv, line 2",
        "delimiter",
    ),
    "dates of another form": of_file(
        "billing.csv",
        cells(BILLING, "date", "31.12.2023"),
        "purchased_at is not a time",
        "'31.12.2023'",
        "first in billing.csv, line 2",
        "format",
        "line 39",
    ),
    "dates as numbers of Excel": of_file(
        "billing.csv", cells(BILLING, "date", "45321"), "purchased_at is not a time", "'45321'"
    ),
    "dates in the future": of_file(
        "billing.csv", cells(BILLING, "date", f"{SOON:%Y-%m-%d}"), "purchased_at is in the future", f"{SOON:%Y-%m-%d}"
    ),
    "stand-in dates": of_file(
        "billing.csv", cells(BILLING, "date", "1970-01-01"), "purchased_at is the stand-in date 1970-01-01"
    ),
    "a decimal comma": of_file(
        "billing.csv",
        [line.replace(",", ";").replace(".50", ",50") for line in BILLING],
        "amount is not a number",
        "'10,50'",
        "decimal",
    ),
    "a sign of the currency": of_file(
        "billing.csv", cells(BILLING, "net", "€ 10.50"), "amount is not a number", "'€ 10.50'"
    ),
    "amounts that are missing": of_file("billing.csv", cells(BILLING, "net", ""), "amount is missing", "36 of 36"),
    "words for nothing": of_file(
        "billing.csv", cells(BILLING, "net", "N/A"), "amount is not a number", "'N/A'", "sources.billing.nothing"
    ),
    "ids that don't match": of_file(
        "billing.csv", cells(BILLING, "customer", lambda c: f"0{c}"), "account_id is not in accounts", "'0A1'"
    ),
    "ids with other cases": of_file(
        "billing.csv", cells(BILLING, "customer", str.lower), "account_id is not in accounts", "'a1'"
    ),
    "several currencies": of_file(
        "billing.csv",
        cells(BILLING, "cur", lambda _: next(TURNS)),
        "company.currency EUR",
        "USD in 18 rows",
        "[tables.rates]",
    ),
    "another currency": of_file(
        "billing.csv",
        cells(BILLING, "cur", "USD"),
        "company.currency EUR",
        "USD in 36 rows",
        'company.currency = "USD"',
    ),
    "groups of digits": of_file(
        "billing.csv", cells(BILLING, "net", '"1,234.50"'), "'1,234.50'", 'sources.billing.thousands = ","', "line 9"
    ),
    "a column in the place of a list": of_toml("[30, 90]", "90", "churn.horizons", "should be a list", "line 46"),
    "accounts twice": of_file(
        "crm.csv", [*CRM, *cells(CRM, "Created", "2022-01-01")[1:]], "accounts", "account_id", "version"
    ),
    "accounts of nobody": of_file("crm.csv", cells(CRM, "Id", ""), "account_id is missing", "accounts", "6 of 6"),
    "a circle of parents and an unknown one": of_file(
        "crm.csv",
        [CRM[0], "A1,2023-01-01,,A2", "A2,2023-01-01,,A1", "A3,2023-01-01,,Z9", *CRM[4:]],
        "2 accounts whose parents form a circle: A1, A2",
        "1 accounts whose parent is not in accounts: A3",
        status=0,
    ),
    "answers before questions": of_file(
        "desk.csv", cells(DESK, "resolved", "2023-01-01 09:00"), "resolved_at is before opened_at", "36 of 36"
    ),
    "priorities without a map": of_file(
        "desk.csv", cells(DESK, "prio", "Sev 1"), "tickets.priority", "'Sev 1'", "map", "line 33"
    ),
    "tickets twice": of_file("desk.csv", [*DESK, *cells(DESK, "org", "o1")[1:]], "tickets", "ticket_id"),
    "an id of two accounts": of_file("ids.csv", [*IDS, "desk,o1,A2"], "several accounts", "o1"),
}


# What a mistake in the other tables does not need; without it the company is read in half the time.
SPARED = re.compile(
    r"(?ms)^\[tables\.(identities|tickets)\].*?(?=^\[tables\.(tickets|purchases)\]$)|^(desk|ids) = .*?$"
)


def spare(mistake):
    """Return the TOML without tickets and identities where the mistake is not in them; lines keep their numbers."""
    touched = " ".join([*mistake.files, *mistake.toml, *mistake.says])
    if re.search("desk|ids|ticket|identit|org|opened|resolved|P1", touched):
        return TOML
    return SPARED.sub(lambda part: "\n" * part[0].count("\n"), TOML)


def write(folder, mistake):
    is_changed = isinstance(mistake.toml, dict)
    toml = (spare(mistake) if is_changed else TOML).replace("VAR", str(folder / "var"))
    if not is_changed:
        toml = mistake.toml or None
    else:
        for old, new in mistake.toml.items():
            assert old in toml
            toml = toml.replace(old, new)
    if toml is not None:
        (folder / "garrison.toml").write_bytes(toml if isinstance(toml, bytes) else toml.encode())
    for name, content in (FILES | mistake.files).items():
        if content is not None:
            data = content if isinstance(content, bytes) else ("\n".join(content) + "\n").encode()
            (folder / name).write_bytes(data)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_with_its_place_what_was_found_and_what_to_do(tmp_path, name):
    mistake = MISTAKES[name]
    write(tmp_path, mistake)
    if name == "a file that may not be read":
        (tmp_path / "billing.csv").chmod(0)
        if os.access(tmp_path / "billing.csv", os.R_OK):
            pytest.skip("the superuser may read any file")
    if name == "a folder in the place of a file":
        (tmp_path / "billing.csv").mkdir()
    # What the check finds stops any other command with the same words, and sooner.
    words = ("build", "--as-of", "2024-07-01", "--out", "out.parquet") if mistake.status else ("check",)
    done = run_command("features", *words, "--config", tmp_path / "garrison.toml", cwd=tmp_path)
    text = done.stdout + done.stderr
    # The company is too small to train, which the check says too.
    assert done.returncode == 1 or not mistake.status, text
    assert "Traceback" not in text
    for word in mistake.says:
        assert word in (done.stderr if mistake.status else text)
    if mistake.status:
        assert re.fullmatch(r"error: .+\.\n", done.stderr)
        assert "garrison.toml" in done.stderr


def test_the_healthy_company_passes(tmp_path):
    write(tmp_path, Mistake(()))
    words = ("--as-of", "2024-07-01", "--out", "out.parquet", "--config", tmp_path / "garrison.toml")
    assert run_command("features", "build", *words, cwd=tmp_path).returncode == 0
    assert len(MISTAKES) >= 60
