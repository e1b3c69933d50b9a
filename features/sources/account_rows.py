"""Canonical rows of a few accounts: by account as they are, and as Arrow tables for what needs a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from operator import itemgetter
from typing import Any

import duckdb
import pyarrow as pa

from features.core.contract import TABLES, arrow_type, arrow_type_of
from features.sources import money
from features.sources.mapping import quote_identifier

Row = Mapping[str, Any]


class AccountRows:
    """Rows of a few accounts, whose numbers are their places in the order of their ids.

    Args:
        tables: Canonical rows by table: instants in whole µs, decimals as Decimal.
        attributes: The mapped columns that describe an account, each with its stored type.

    Attributes:
        tables: The same, accounts in the order of their ids, refunds as money back.
    """

    def __init__(self, tables: Mapping[str, Sequence[Row]], attributes: tuple[tuple[str, str], ...]) -> None:
        accounts = sorted(tables["accounts"], key=itemgetter("account_id"))
        self.tables: dict[str, Sequence[Row]] = {**tables, "accounts": accounts}
        if "purchases" in tables:
            self.tables["purchases"] = [money.sign_refund(row) for row in tables["purchases"]]
        self._attributes = attributes
        self._arrow: dict[str, pa.Table] = {}

    @cached_property
    def by_account(self) -> list[dict[str, list[Row]]]:
        """Return each account's rows by table; those of nobody's, and of accounts that aren't here, are left out."""
        each: list[dict[str, list[Row]]] = [{table: [] for table in self.tables} for _ in self.tables["accounts"]]
        for table, rows in self.tables.items():
            for row in rows:
                number = self._numbers.get(row.get("account_id"))
                if number is not None:
                    each[number][table].append(row)
        return each

    def read_arrow(self, table: str) -> pa.Table:
        """Return a table with the columns of the contract, the attributes of accounts, and the accounts' numbers."""
        if table not in self._arrow:
            rows, kinds = self.tables[table], {c: arrow_type(column) for c, column in TABLES[table].columns.items()}
            kinds |= {c: arrow_type_of(kind) for c, kind in self._attributes} if table == "accounts" else {}
            columns = {c: pa.array([row.get(c) for row in rows], kind) for c, kind in kinds.items()}
            numbers = [self._numbers.get(row.get("account_id")) for row in rows]
            self._arrow[table] = pa.table(columns | {"account_no": pa.array(numbers, pa.int32())})
        return self._arrow[table]

    def load(self) -> duckdb.DuckDBPyConnection:
        """Load the rows into a database in memory."""
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'; SET threads = 1")
        for table in self.tables:
            connection.register("posted", self.read_arrow(table))
            order = quote_identifier(TABLES[table].time or next(iter(TABLES[table].columns)))
            connection.execute(f"CREATE TABLE {table} AS SELECT * FROM posted ORDER BY account_no, {order}")
        connection.unregister("posted")
        return connection

    @cached_property
    def _numbers(self) -> dict[Any, int]:
        return {row["account_id"]: number for number, row in enumerate(self.tables["accounts"])}
