"""A small company on disk whose tables and TOML a test varies, posted rows, and a connection to a real PostgreSQL."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pandas as pd
import psycopg
import pytest

from features.core.contract import EVENTS, RECORDS, TABLES
from features.core.timestamps import from_micros, to_micros
from features.engine import snapshots
from features.settings import Settings
from features.settings.load import load_settings
from features.sources.history import History


class Company:
    """CSV tables and a TOML file: change `toml` and the tables, then load or open it."""

    def __init__(self, folder):
        self.folder, self.file = folder, folder / "garrison.toml"
        self.toml = {
            "company": {"name": "Harbour"},
            "sources": {},
            "tables": {},
            "churn": {"cohort": {"kind": "active"}, "label": {"kind": "no_purchase"}},
            "paths": {"var": str(folder / "var"), "mlruns": str(folder / "mlruns")},
        }
        self.table("accounts", "account_id,created_at", "A,2023-01-01", "B,2023-01-01")
        self.table("purchases", "account_id,purchased_at,amount", "A,2024-01-05,10", "B,2024-01-06,20")

    def table(self, name, header, *rows, columns=None, **spec):
        """Write a CSV table and map it; without `columns` its header's names are the canonical ones."""
        (self.folder / f"{name}.csv").write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
        self.toml["sources"][name] = {"path": f"{name}.csv"}
        mapped = {c: c for c in header.split(",")} if columns is None else columns
        self.toml["tables"][name] = {"source": name, "columns": mapped, **spec}

    def only(self, name, header, *rows, columns=None, **spec):
        """Write and map a CSV table of which all rows may be bad."""
        self.toml["quality"] = {"max_quarantine": 1}
        self.table(name, header, *rows, columns=columns, **spec)

    def write(self):
        """Write the TOML file."""
        self.file.write_text("\n".join(f"{k} = {_toml(v)}" for k, v in self.toml.items()) + "\n", encoding="utf-8")
        return self.file

    def settings(self):
        return load_settings(self.write())

    def open(self):
        return History.open(self.settings())

    def read(self, table, columns="*"):
        """Read the canonical rows as sorted tuples."""
        with self.open() as history:
            return history._connection.execute(f"SELECT {columns} FROM {table} ORDER BY ALL").fetchall()  # noqa: S608  # the test's own words

    def checked(self, table):
        """Return the validation result of a table."""
        with self.open() as history:
            return next(c for c in history.checked if c.table == table)

    def quarantined(self, table):
        """Read the quarantined rows, each with its reason."""
        found = pd.read_parquet(self.folder / "var" / "harbour" / "quarantine" / f"{table}.parquet")
        return sorted(found[["raw", "why"]].itertuples(index=False, name=None), key=repr)


def _toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + " }"
    return json.dumps(value)


@pytest.fixture
def company(tmp_path):
    """Two accounts and a purchase each."""
    return Company(tmp_path)


@pytest.fixture
def postgres_connection(postgres_url):
    """A connection to the empty PostgreSQL database of `postgres_url`."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def snapshot():
    """Posted rows to snapshots: `snapshot(tables, *as_ofs)`.

    Instants are ISO text (UTC without an offset) or microseconds. Rows are of account A unless they say otherwise,
    known when they happen unless they say otherwise; accounts not given are made. All four sources are there.
    """
    mapped = {"source": "s", "columns": {"account_id": "a", "created_at": "c", "plan": "p", "seats": "s"}}
    churn = {"cohort": {"kind": "active"}, "label": {"kind": "no_purchase"}}
    values = {"company": {"name": "x"}, "sources": {"s": {"path": "s.csv"}}, "tables": {"accounts": mapped}}
    settings = Settings.model_validate(values | {"churn": churn})

    def build(tables, *as_ofs):
        rows = {t: [_posted(t, row) for row in tables.get(t, [])] for t in (*EVENTS, *RECORDS)}
        named = {row["account_id"] for found in rows.values() for row in found} or {"A"}
        accounts = tables.get("accounts") or [{"account_id": a, "created_at": "2020-01-01"} for a in sorted(named)]
        rows = {"accounts": [_posted("accounts", row) for row in accounts], **rows}
        with History.from_rows(settings, rows) as history:
            return snapshots.build(history, [from_micros(_micros(a)) for a in as_ofs])

    return build


def _posted(table, values):
    """Build a row as `History.from_rows` takes it."""
    row, kinds = {"account_id": "A", **values}, {c: spec.kind for c, spec in TABLES[table].columns.items()}
    for column, value in row.items():
        if value is not None and kinds[column] in ("time", "decimal"):
            row[column] = _micros(value) if kinds[column] == "time" else Decimal(str(value))
    return row if table == "accounts" else {"known_at": row[TABLES[table].time], **row}


def _micros(when):
    if isinstance(when, int):
        return when
    parsed = datetime.fromisoformat(when)
    return to_micros(parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC))
