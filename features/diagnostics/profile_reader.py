"""Read the profile of an event table from a history, in a few passes of SQL."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd

from features.core.contract import DECIMAL, TABLES, TEXT, WHOLE
from features.core.sql_text import SqlText
from features.core.timestamps import to_micros
from features.definitions.feature import DAY
from features.definitions.visibility_rule import is_visible
from features.diagnostics.source_profile import Counts, Days, SourceProfile, measure_longest_gap
from features.settings import Settings
from features.sources import identity
from features.sources.history import History
from features.sources.mapping import quote_literal
from features.sources.posted_events import LATER, OUTCOME
from features.sources.staging import UNKNOWN_ACCOUNT
from features.sources.validation import QUARANTINED, REPEATS

_HOUR = DAY // 24
# Older days say nothing about what is usual today.
_MOST_DAYS = 3 * 366
# Columns with more values than this are names or ids, whose shares say nothing.
_MOST_VALUES = 40
# Columns that are filled after the event, so that the newest rows lack them or hold other values than older ones.
_FILLED_LATER = (*LATER, *OUTCOME, "paid", "margin")
_NEVER_PROFILED = ("account_id", "known_at", "first_known_at", "event_id")
# Amounts of an account for a product, and days since the first of them, that say what it usually pays.
_LEAST_PRICES, _PAST_DAYS = 3, 35
_NAMES = ("ticket_id", "order_id", "user_id")


def read_profile(settings: Settings, history: History, table: str, *, as_of: datetime) -> SourceProfile | None:
    """Read the profile of an event table as of an instant; None where no event was visible then."""
    reader = _ProfileReader(settings, history, table, to_micros(as_of))
    return reader.read()


class _ProfileReader:
    """The queries of one table's profile."""

    def __init__(self, settings: Settings, history: History, table: str, as_of: int) -> None:
        self._history, self._table = history, table
        self._time = str(TABLES[table].time)
        self._day, self._today = f"{self._time} // {DAY}", as_of // DAY
        self._system = settings.tables[table].system if history.checked else None
        mapped = settings.tables[table].columns if table in settings.tables else {}
        kinds = {
            c: k.kind
            for c, k in TABLES[table].columns.items()
            if c in mapped and c not in _NEVER_PROFILED and not k.prose
        }
        self._columns = [c for c in kinds if c not in _FILLED_LATER and c != self._time]
        self._numbers = [c for c in self._columns if kinds[c] in {DECIMAL, WHOLE}]
        self._texts = [c for c in self._columns if kinds[c] == TEXT and c not in _NAMES]
        self._content = [c for c in kinds if c not in {*_FILLED_LATER, *_NAMES}]
        # Facts of one event: a row that comes twice is equal in all of them.
        self._identity = [c for c in kinds if c not in _FILLED_LATER]
        # Older days are not read; a copy that a merge made of an event is no row of the source.
        least = (as_of // DAY - _MOST_DAYS) * DAY
        visible = is_visible(SqlText(self._time), SqlText("known_at"), as_of)
        self._rows = f"FROM {table} WHERE first_known_at IS NULL AND {visible} AND {self._time} >= {least}"

    def read(self) -> SourceProfile | None:
        figures = self._history.query(self._select_figures())
        if not len(figures):
            return None
        event_day, n = figures["day"].to_numpy(np.int64), figures["n"].to_numpy(np.int64)
        self._first, self._days = int(event_day.min()), self._today - int(event_day.min())
        delay = figures["delay"].to_numpy(np.int64)
        arrivals = figures.assign(day=event_day + delay, total=n * delay)
        known = pd.Series(event_day).groupby(event_day + delay).max().cummax()
        accounts, ties = self._read_accounts()
        return SourceProfile(
            self._table,
            first=self._first,
            today=self._today,
            newest=int(event_day.max()),
            hours=self._read_hours(),
            accounts=accounts,
            repeats=self._read_repeats() if ties.any() else np.zeros(self._days, np.int64),
            dropped=self._read_kept_counts(REPEATS),
            content=self._count(figures, "content"),
            filled={c: self._count(figures, f"filled {c}") for c in self._columns},
            logs={c: np.stack([self._sum(figures, f"{what} {c}") for what in ("log", "n")]) for c in self._numbers},
            prices=self._read_prices(),
            values={c: shares for c in self._texts if (shares := self._read_values(c))},
            unknown=self._read_unknown(),
            delays=np.stack([self._sum(arrivals, "total"), self._sum(arrivals, "n")]),
            settled=_find_settled(delay, n),
            # Where a whole past was loaded on one day, nights before it saw nothing: the gaps remain.
            longest=max(_measure_longest_wait(known), measure_longest_gap(np.unique(event_day))),
        )

    def _select_figures(self) -> str:
        """Return SQL of the figures by day and days until known."""
        content = f"hash({', '.join(('account_no', *self._content))})"
        figures = {"n": "count(*)", "content": f"sum(({content} >> 24)::BIGINT)::BIGINT"}
        figures |= {f"filled {c}": f'count("{c}")' for c in self._columns}
        figures |= {f"log {c}": f'sum(ln(abs("{c}"::DOUBLE))) FILTER ("{c}" <> 0)' for c in self._numbers}
        figures |= {f"n {c}": f'count(*) FILTER ("{c}" <> 0)' for c in self._numbers}
        selected = ", ".join(f'{sql} AS "{name}"' for name, sql in figures.items())
        delay = f"greatest(known_at - {self._time}, 0) // {DAY} AS delay"
        return f"SELECT {self._day} AS day, {delay}, {selected} {self._rows} GROUP BY day, delay"

    def _sum(self, frame: pd.DataFrame, column: str) -> Days:
        """Return (days,) the sums of a column by day."""
        day = frame["day"].to_numpy(np.int64) - self._first
        inside = (day >= 0) & (day < self._days)
        sums = np.bincount(day[inside], frame[column].fillna(0).to_numpy(float)[inside], self._days)
        return np.asarray(sums[: self._days], float)

    def _count(self, frame: pd.DataFrame, column: str) -> Counts:
        """Return (days,) the sums of whole numbers by day, exact beyond what a float holds."""
        day = frame["day"].to_numpy(np.int64) - self._first
        inside = (day >= 0) & (day < self._days)
        sums = np.zeros(self._days, np.int64)
        np.add.at(sums, day[inside], frame[column].fillna(0).to_numpy(np.int64)[inside])
        return sums

    def _read_hours(self) -> Counts:
        rows = self._history.query(f"SELECT {self._time} // {_HOUR} AS hour, count(*) AS n {self._rows} GROUP BY hour")
        hour = rows["hour"].to_numpy(np.int64)
        hours = np.zeros((self._days + 1, 24), np.int64)
        np.add.at(hours, (np.minimum(hour // 24 - self._first, self._days), hour % 24), rows["n"].to_numpy(np.int64))
        return hours[: self._days]

    def _read_accounts(self) -> tuple[Counts, Counts]:
        """Return (days,) the accounts, and the rows at the same instant as another one of their account.

        Tables are sorted by account and time, so that neighbours are enough.
        """
        neighbours = f"""SELECT {self._day} AS day, {self._time} AS instant, account_no,
            lag(account_no) OVER () AS account_before, lag({self._time}) OVER () AS before {self._rows}"""
        is_same = "account_no IS NOT DISTINCT FROM account_before"
        frame = self._history.query(f"""
            SELECT day, count(*) FILTER (NOT ({is_same}) OR day <> before // {DAY}) AS accounts,
                count(*) FILTER ({is_same} AND instant = before) AS ties
            FROM ({neighbours}) GROUP BY day
        """)  # noqa: S608  # the contract's own names
        return self._count(frame, "accounts"), self._count(frame, "ties")

    def _read_repeats(self) -> Counts:
        """Return (days,) the rows that equal another one in every column."""
        whole = f"hash({', '.join(('account_no', self._time, *self._identity))})"
        sides = {"before": "lag", "after": "lead"}
        neighbours = ", ".join(
            f"{function}({column}) OVER () AS {name}_{side}"
            for side, function in sides.items()
            for name, column in (("account", "account_no"), ("instant", self._time))
        )
        own = f"{self._day} AS day, {whole} AS whole, account_no, {self._time} AS instant"
        rows = f"SELECT {own}, {neighbours} {self._rows}"
        tied = " OR ".join(f"account_no = account_{side} AND instant = instant_{side}" for side in sides)
        frame = self._history.query(
            f"SELECT day, count(*) - count(DISTINCT whole) AS n FROM ({rows}) WHERE {tied} GROUP BY day"  # noqa: S608  # the contract's own names
        )
        return self._count(frame, "n")

    def _read_values(self, column: str) -> dict[str, Counts]:
        sql = f'SELECT {self._day} AS day, "{column}" AS value, count(*) AS n {self._rows}'
        sql = f'{sql} AND "{column}" IS NOT NULL GROUP BY ALL'
        some = self._history.query(f'SELECT approx_count_distinct("{column}") AS n {self._rows}')
        if not 0 < some["n"].iloc[0] <= _MOST_VALUES:
            return {}
        groups = self._history.query(sql).groupby("value")
        return {str(value): self._count(rows, "n") for value, rows in groups}

    def _read_prices(self) -> Days:
        if "amount" not in self._columns:
            return np.zeros((2, self._days))
        price = "ln(abs(amount::DOUBLE))"
        if "quantity" in self._columns:
            price += " - CASE WHEN quantity <> 0 THEN ln(abs(quantity::DOUBLE)) ELSE 0 END"
        group = ", ".join(("account_no", *(c for c in ("product",) if c in self._columns)))
        priced = f"SELECT {self._day} AS day, {group}, {price} AS price {self._rows} AND amount <> 0"
        # The median, and accounts that have a past: else what an account pays now would be what it always paid.
        had = f"count(*) >= {_LEAST_PRICES} AND min(day) < {self._today - _PAST_DAYS}"
        usual = f"SELECT {group}, median(price) AS usual FROM ({priced}) GROUP BY {group} HAVING {had}"  # noqa: S608  # the contract's own names
        frame = self._history.query(f"""
            SELECT day, sum(price - usual) AS total, count(*) AS n
            FROM ({priced}) JOIN ({usual}) USING ({group}) GROUP BY day
        """)  # noqa: S608  # the contract's own names
        return np.stack([self._sum(frame, "total"), self._sum(frame, "n")])

    def _read_unknown(self) -> Counts:
        reasons = [UNKNOWN_ACCOUNT, *([identity.describe_orphan(self._system)] if self._system else [])]
        return self._read_kept_counts(QUARANTINED, f"why IN ({', '.join(map(quote_literal, reasons))})")

    def _read_kept_counts(self, table: str, where: str = "true") -> Counts:
        """Return (days,) the rows of the source that reading it kept out of the history, from the table of them."""
        if not len(self._history.query(f"SELECT 1 FROM duckdb_tables() WHERE table_name = '{table}'")):  # noqa: S608  # our own names
            return np.zeros(self._days, np.int64)
        sql = f"SELECT day, n FROM {table} WHERE source = '{self._table}' AND day IS NOT NULL AND {where}"  # noqa: S608  # as above
        return self._count(self._history.query(sql), "n")


def _find_settled(delay: Counts, rows: Counts) -> int:
    """Return the whole days after which 99 % of the rows are known."""
    order = np.argsort(delay, kind="stable")
    reached = np.cumsum(rows[order]) / rows.sum()
    return int(delay[order][np.searchsorted(reached, 0.99)])


def _measure_longest_wait(newest: pd.Series) -> int:
    """Return the most whole days without an event at a night, over the nights before the newest one came.

    Args:
        newest: By the day on which rows became known, the newest event known by then.
    """
    known, newest_days = newest.index.to_numpy(), newest.to_numpy()
    return int((known[1:] - newest_days[:-1]).max()) - 1 if len(known) > 1 else 0
