"""Open the rows of one account: those of the company's tables, joined with what was recorded since these were read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import duckdb

from features.core.errors import GarrisonError
from features.core.file_value import FileValue
from features.settings import Settings
from features.sources import posted_events
from features.sources.history import History
from features.state.database import Store
from monitoring.lifetime.company_run import CompanyRun
from monitoring.lifetime.purchase_lines import COLUMNS, PurchaseLine
from serving.events import rescoring
from serving.scoring import score_table


@dataclass(frozen=True)
class AccountTables:
    """What the tables hold of one account.

    Args:
        account_id: Of the account.
        number: Its place in the tables, `account_no`.
        record: Its row of the accounts table.
        tables: Names of the canonical tables that there are.
        cursor: To these tables; `events` may be to the account's rows alone, with what was recorded since.
        events: Of tickets, usage, purchases, touches and promises.
        event_number: `account_no` there.
        currency: Of all money.
        run: Of all accounts.
    """

    account_id: str
    number: int
    record: dict[str, Any]
    tables: frozenset[str]
    cursor: duckdb.DuckDBPyConnection
    events: duckdb.DuckDBPyConnection
    event_number: int
    currency: str
    run: CompanyRun

    @cached_property
    def purchases(self) -> list[PurchaseLine]:
        """Return the account's purchases; [] where the company has none."""
        if "purchases" not in self.tables:
            return []
        columns = ", ".join(COLUMNS)
        sql = f"SELECT {columns} FROM purchases WHERE account_no = ?"  # noqa: S608  # our own columns
        return [PurchaseLine(*row) for row in self.events.execute(sql, [self.event_number]).fetchall()]

    def query(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        """Run SQL over the account's events; `$no` is its number. Returns rows by column."""
        return _read_rows(self.events, sql, {"no": self.event_number, **parameters})

    def query_company(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        """Run SQL over all accounts' rows. Returns rows by column."""
        return _read_rows(self.cursor, sql, parameters)


class CompanyTables:
    """The tables that the newest scores were made from; several threads may read them at once.

    Args:
        settings: The company's.
        store: Its state database.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings, self.store = settings, store
        find = partial(score_table.find_newest, settings)
        self.newest = FileValue(find, partial(CompanyRun.read, settings), in_background=True)

    @property
    def history(self) -> History:
        """Return the history of the newest scores, or before there are any, of the tables as they are.

        Raises:
            GarrisonError: The tables can't be read.
        """
        return self.newest.get().history

    def close(self) -> None:
        """Close the history, if it is open."""
        if self.newest.current is not None:
            self.newest.current.history.close()

    @contextmanager
    def open_account(self, account_id: str) -> Iterator[AccountTables]:
        """Open the rows of an account.

        Raises:
            GarrisonError: There is no such account, or the tables can't be read.
        """
        run = self.newest.get()
        history, number = run.history, run.lookup.find_number(account_id)
        if number is None:
            raise GarrisonError(f"there is no account {account_id}", hint="Name it as the accounts table does")
        with history.open_cursor() as cursor:
            [record] = _read_rows(cursor, "SELECT * FROM accounts WHERE account_no = $no", {"no": number})
            del record["account_no"]
            names, currency = frozenset(history.tables), self.settings.company.currency
            recorded = self._read_recorded(history, account_id)
            if recorded is None:
                yield AccountTables(account_id, number, record, names, cursor, cursor, number, currency, run)
                return
            with recorded, recorded.open_cursor() as events:
                yield AccountTables(account_id, number, record, names, cursor, events, 0, currency, run)

    def _read_recorded(self, history: History, account_id: str) -> History | None:
        """Read an account's rows with what was posted or recorded since; None where nothing was."""
        with self.store.reading() as connection:
            until = posted_events.query_log_position(connection)
            if history.cache is None or until <= history.cache.position:
                return None
            revisions = rescoring.read_revisions(connection, history, [account_id], until=until)
        if not revisions.num_rows:
            return None
        rows = rescoring.read_account_rows(self.settings, history, [account_id], revisions)
        return History.from_rows(self.settings, rows, history.catalog)

    def find_survivor(self, account_id: str) -> str:
        """Return the account that another one became a part of, or else the account itself.

        Raises:
            GarrisonError: There is no such account, or the tables can't be read.
        """
        survivor = self.newest.get().lookup.find_survivor(account_id)
        if survivor is None:
            raise GarrisonError(f"there is no account {account_id}", hint="Name it as the accounts table does")
        return survivor


def _read_rows(cursor: duckdb.DuckDBPyConnection, sql: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    rows = cursor.execute(sql, parameters)
    names = [column[0] for column in rows.description or ()]
    return [dict(zip(names, row, strict=True)) for row in rows.fetchall()]
