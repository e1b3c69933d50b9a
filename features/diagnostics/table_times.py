"""Compare tables in time: events before their account's beginning, outside its terms, and after its end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import ibis

from features.core.contract import TABLES
from features.definitions.feature import DAY
from features.definitions.sql_expression import declare_table
from features.definitions.streams import TERMS
from features.settings import Settings
from features.sources.history import History
from features.sources.validated_table import ValidatedTable

# Shares below this are clocks, time zones and typing mistakes; so are events two days after an end.
_FEW, _GRACE_DAYS = 0.01, 2
# A table of more rows is looked at by a share of its accounts.
_MOST_ROWS = 3_000_000
# Terms that must follow one another, within so many days, to tell what an end means; and the share that tells it.
_FEWEST_TERMS, _NEAR_DAYS, _NEARLY_ALL, _HOUR = 20, 45, 0.8, DAY // 24


@dataclass(frozen=True)
class TimeConflict:
    """Events of a table at a time at which their account should have none.

    Args:
        table: Of the events.
        kind: `before` the account was created, `outside` every term, or `after` the end that `lifetimes` records.
        share: Of the table's events, 0 to 1; of `after` of those of accounts that have ended.
        accounts: Number of accounts with such an event.
        of_accounts: Number of accounts that could have one.
    """

    table: str
    kind: Literal["before", "outside", "after"]
    share: float
    accounts: int
    of_accounts: int

    def __str__(self) -> str:
        times, of = {
            "before": ("before their account was created", "accounts"),
            "outside": ("at a time that no term covers", "accounts with terms"),
            "after": ("later than two days after the end of their account", "accounts that ended"),
        }[self.kind]
        whose = "the events of those accounts" if self.kind != "before" else "the events"
        where = f"in {self.accounts:,} of {self.of_accounts:,} {of}"
        return f"{self.table}: {self.share:.0%} of {whose} are {times}, {where}. {_ADVICE[self.kind]}"

    def as_dict(self) -> dict[str, Any]:
        """Return the conflict for JSON, with its sentence."""
        return vars(self) | {"text": str(self)}


_ADVICE = {
    "before": "No snapshot sees an account before it exists: does created_at say when it came?",
    "outside": "Do terms lack rows, or do accounts go on after them? Then in_force leaves them out",
    "after": "Are ends dated back, or do accounts go on for free? Models may learn the silence after them",
}


def find_conflicts(history: History) -> tuple[TimeConflict, ...]:
    """Find the event tables with events at impossible times, of at least one in a hundred events."""
    return tuple(c for source in history.sources for c in _compare(history, source) if c.share >= _FEW)


def _compare(history: History, source: str) -> Iterator[TimeConflict]:
    rows = history.count_rows(source)
    if not rows:
        return
    some = f"account_no % {-(-rows // _MOST_ROWS)} = 0 AND first_known_at IS NULL"
    events = f"(SELECT account_id, {TABLES[source].time} AS t FROM {source} WHERE {some})"  # noqa: S608  # the contract's own names
    yield _count(history, source, "before", f"{events} JOIN accounts USING (account_id)", "t < created_at")
    if source != "purchases" and (terms := _select_terms(history)):
        yield _count_outside(history, source, events, terms)
    if "lifetimes" in history.tables:
        grace = _GRACE_DAYS * DAY
        every = f"HAVING count(ended_at) = count(*) AND max(ended_at) < {history.last_event - grace}"
        ended = f"(SELECT account_id, max(ended_at) AS edge FROM lifetimes GROUP BY 1 {every})"  # noqa: S608  # whole numbers
        yield _count(history, source, "after", f"{events} JOIN {ended} USING (account_id)", f"t > edge + {grace}")


def _select_terms(history: History) -> str:
    """Return SQL of account_id, starts, and the latest end of all terms begun by then; empty where there are none."""
    if "purchases" not in history.tables:
        return ""
    terms = TERMS.rows(declare_table("purchases"))
    sql = ibis.to_sql(terms.select("account_id", starts=terms.t, until=terms.until), dialect="duckdb")
    if not history.query(f"SELECT 1 FROM ({sql}) LIMIT 1").shape[0]:  # noqa: S608  # Ibis' own
        return ""
    latest = "max(until) OVER (PARTITION BY account_id ORDER BY starts, until)"
    return f"SELECT account_id, starts, {latest} AS ends FROM ({sql})"  # noqa: S608  # as above


def _count(history: History, source: str, kind: Any, events: str, bad: str) -> TimeConflict:
    """Count a relation's events, and those for which this condition holds."""
    by_account = f"SELECT account_id, count(*) AS n, count(*) FILTER ({bad}) AS bad FROM {events} GROUP BY 1"  # noqa: S608  # the callers' own
    return _sum(history, source, kind, by_account)


def _count_outside(history: History, source: str, events: str, terms: str) -> TimeConflict:
    """Count the events that no term covers: by terms joined to spans, since most accounts have one span or two."""
    is_first = "coalesce(starts > lag(ends) OVER (PARTITION BY account_id ORDER BY starts, ends), true)::INT"
    numbered = f"SELECT *, {is_first} AS is_first FROM ({terms})"  # noqa: S608  # Ibis' own
    number = "sum(is_first) OVER (PARTITION BY account_id ORDER BY starts, ends)"
    of_spans = f"SELECT *, {number} AS span FROM ({numbered})"  # noqa: S608  # as above
    spans = f"SELECT account_id, min(starts) AS starts, max(ends) AS ends FROM ({of_spans}) GROUP BY account_id, span"  # noqa: S608  # as above
    covered = (
        f"SELECT e.account_id, count(*) AS covered FROM {events} e JOIN ({spans}) s "  # noqa: S608  # as above
        "ON e.account_id = s.account_id AND e.t BETWEEN s.starts AND s.ends GROUP BY 1"
    )
    by_account = (
        f"SELECT account_id, n, n - coalesce(covered, 0) AS bad FROM (SELECT account_id, count(*) AS n FROM {events} "  # noqa: S608  # as above
        f"GROUP BY 1) SEMI JOIN ({terms}) USING (account_id) LEFT JOIN ({covered}) USING (account_id)"
    )
    return _sum(history, source, "outside", by_account)


def _sum(history: History, source: str, kind: Any, by_account: str) -> TimeConflict:
    sql = f"SELECT coalesce(sum(bad) / sum(n), 0.0), count(*) FILTER (bad > 0), count(*) FROM ({by_account})"  # noqa: S608  # as above
    share, accounts, of_accounts = history.query(sql).iloc[0]
    return TimeConflict(source, kind, float(share), int(accounts), int(of_accounts))


def describe_versions(history: History, checked: ValidatedTable) -> Iterator[str]:
    """Yield a remark on how many accounts the versions are of."""
    if history.dated:
        yield (
            f"accounts: {checked.kept:,} rows are versions of {history.count_rows():,} accounts by their valid_from; a "
            "snapshot shows the one in force"
        )


def describe_term_ends(history: History, settings: Settings) -> Iterator[str]:
    """Yield a remark where terms end one day before the next begins, or overlap it by one: what an end means is off."""
    if not (terms := _select_terms(history)):
        return
    column = settings.tables["purchases"].columns["term_ends_at"]
    # Of equal beginnings the first alone: terms side by side follow nothing.
    following = "lead(starts) OVER (PARTITION BY account_id ORDER BY starts)"
    gaps = f"SELECT {following} - ends AS gap FROM (SELECT account_id, starts, max(ends) AS ends FROM ({terms}) GROUP BY 1, 2)"  # noqa: S608, E501  # Ibis' own
    near = f"abs(gap) <= {_NEAR_DAYS * DAY}"
    # A day of summer time has an hour more; a term may also end in the last second of its day.
    day = f"BETWEEN 1 AND {DAY + _HOUR}"
    counts = f"count(*), count(*) FILTER (gap {day}), count(*) FILTER (-gap {day})"
    followed, before, beyond = (int(n) for n in history.query(f"SELECT {counts} FROM ({gaps}) WHERE {near}").iloc[0])  # noqa: S608  # as above
    if followed < _FEWEST_TERMS:
        return
    if before >= _NEARLY_ALL * followed and not column.inclusive:
        yield (
            f"purchases: {before:,} of the {followed:,} terms that another one follows end a day or less before it "
            "begins. Do the dates include the last day? Then each renewal looks like a gap; say "
            f'term_ends_at = {{ column = "{column.column or "…"}", inclusive = true }}'
        )
    if beyond >= _NEARLY_ALL * followed and column.inclusive:
        yield (
            f"purchases: {beyond:,} of the {followed:,} terms that another one follows end a day or less after it "
            "begins: the dates do not include the last day. Take inclusive = true from term_ends_at"
        )
