"""Leak tests: properties that every feature must have, tested on a sample of the company's accounts.

The engine keeps the time rules for every fact that a stream dates correctly. A stream that dates a fact wrongly, such
as a rating at the ticket's opening, still leaks: then a feature changes when later facts are removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import duckdb
import ibis.common.exceptions
import numpy as np
import pandas as pd

from features.catalog import Catalog
from features.core.contract import TABLES, TIME
from features.core.errors import FeatureError
from features.core.sql_text import SqlText
from features.core.timestamps import from_micros
from features.definitions.feature import DAY, Feature
from features.definitions.visibility_rule import has_happened, is_known
from features.diagnostics.perturbations import LATER, Tables, perturb_future, truncate_future
from features.engine import snapshots
from features.settings import Settings
from features.sources.history import History
from features.sources.mapping import summarize_error

Variant = Callable[[Tables, int], Tables]

_SHARES = (0.5, 0.7, 0.9)  # of a source's time span: the instants to test
_FAILURES = (duckdb.Error, ibis.common.exceptions.IbisError)
_MOST_ROWS = 3_000  # of an account in the sample
# 28 years: the calendar of weekdays, months and leap days repeats.
_CALENDAR_DAYS = 10_227


@dataclass(frozen=True)
class Leak:
    """A feature that changed although it must not.

    Args:
        feature: Its name.
        account: The first account for which it changed.
        as_of: The instant of the snapshot.
        value: With the history as it is; None for null.
        other: With the changed history.
        how: The change of the history, in words.
        times: Number of values that changed.
    """

    feature: str
    account: str
    as_of: datetime
    value: float | None
    other: float | None
    how: str
    times: int

    def __str__(self) -> str:
        one, other = ("null" if v is None else f"{v:.15g}" for v in (self.value, self.other))
        return f"{self.feature} of account {self.account} at {self.as_of.isoformat()}: {one}, but {other} {self.how}"


@dataclass(frozen=True)
class LeakTestResult:
    """The result of the leak tests.

    Args:
        features: Names of the features tested.
        accounts: Number of accounts in the sample.
        as_ofs: The instants tested.
        leaks: The leaks found.
    """

    features: tuple[str, ...]
    accounts: int
    as_ofs: tuple[datetime, ...]
    leaks: tuple[Leak, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the result for JSON: instants in ISO."""
        leaks = [asdict(leak) | {"as_of": leak.as_of.isoformat()} for leak in self.leaks]
        return vars(self) | {"as_ofs": [a.isoformat() for a in self.as_ofs], "leaks": leaks}


def run_leak_tests(
    history: History, settings: Settings, features: Sequence[Feature], *, accounts: int = 40
) -> LeakTestResult:
    """Test features on a sample of accounts: first those with most events known only after `as_of`.

    Args:
        history: Of the company.
        settings: Of the company.
        features: To test; features whose sources are missing are left out.
        accounts: Size of the sample at most.

    Raises:
        FeatureError: A feature can't be computed.
    """
    present = tuple(f for f in features if set(history.sources).issuperset(f.sources))
    if not present:
        return LeakTestResult((), 0, (), ())
    sources = tuple(s for s in history.sources if any(s in f.sources for f in present))
    as_ofs = _choose_as_ofs(history, sources)
    tables = _read_tables(history, sources, _choose_accounts(history, sources or history.sources, as_ofs, accounts))
    trial = _Trial(settings, present)
    leaks = tuple(trial.leaks(tables, as_ofs))
    return LeakTestResult(
        tuple(f.name for f in present), len(tables["accounts"]), tuple(map(from_micros, as_ofs)), leaks
    )


def _reverse_rows(tables: Tables, as_of: int) -> Tables:  # noqa: ARG001  # a variant like the others
    return {table: rows[::-1] for table, rows in tables.items()}


def _keep_half(tables: Tables, as_of: int) -> Tables:  # noqa: ARG001  # a variant like the others
    accounts = {row["account_id"] for row in tables["accounts"][::2]}
    return {table: [row for row in rows if row["account_id"] in accounts] for table, rows in tables.items()}


_VARIANTS: tuple[tuple[Variant, str], ...] = (
    (truncate_future, "with all deleted that came or became known later"),
    (perturb_future, "with all changed that came or became known later"),
    (_reverse_rows, "with the rows in another order"),
    (_keep_half, "with other accounts left out"),
)


class _Trial:
    """Computation of features on changed histories, and comparison."""

    def __init__(self, settings: Settings, features: Sequence[Feature]) -> None:
        self._settings, self._features = settings, features

    def leaks(self, tables: Tables, as_ofs: Sequence[int]) -> Iterator[Leak]:
        base = self._build(tables, as_ofs)
        frames = [(self._build(variant(tables, as_of), [as_of]), how) for variant, how in _VARIANTS for as_of in as_ofs]
        shift = _CALENDAR_DAYS * DAY
        earlier = self._build(self._earlier(tables, shift), [a - shift for a in as_ofs])
        earlier.index = earlier.index.set_levels(earlier.index.levels[0] + pd.Timedelta(days=_CALENDAR_DAYS), level=0)
        frames.append((earlier, "with all times 28 years earlier"))
        for how in dict.fromkeys(how for _, how in frames):
            yield from _find_moved(base, pd.concat([frame for frame, change in frames if change == how]), how)

    def _build(self, tables: Tables, as_ofs: Sequence[int]) -> pd.DataFrame:
        """Build the features, float64, by (as_of, account_id)."""
        try:
            return self._built(self._features, tables, as_ofs)
        except _FAILURES:
            for one in self._features:
                try:
                    self._built([one], tables, as_ofs)
                except _FAILURES as error:
                    raise FeatureError(
                        f"the feature {one.name} can't be computed",
                        found=summarize_error(error),
                        hint="Correct the stream that it is measured on",
                    ) from error
            raise

    def _built(self, features: Sequence[Feature], tables: Tables, as_ofs: Sequence[int]) -> pd.DataFrame:
        catalog = Catalog({f.name: f for f in features})
        with History.from_rows(self._settings, tables, catalog) as history:
            frame = snapshots.build(history, [from_micros(a) for a in as_ofs])
        return frame.set_index(["as_of", "account_id"])[list(catalog.features)]

    def _earlier(self, tables: Tables, shift: int) -> Tables:
        """Return the history with all times moved back by `shift`."""
        mapped = self._settings.tables["accounts"].columns
        kinds = {table: {c: spec.kind for c, spec in TABLES[table].columns.items()} for table in tables}
        kinds["accounts"] |= {c: v.kind for c, v in mapped.items() if c not in TABLES["accounts"].columns}
        return {
            table: [
                row | {c: row[c] - shift for c, kind in kinds[table].items() if kind == TIME and row.get(c) is not None}
                for row in rows
            ]
            for table, rows in tables.items()
        }


def _find_moved(base: pd.DataFrame, other: pd.DataFrame, how: str) -> Iterator[Leak]:
    """Yield the features whose values differ in any bit where both have a row, each with its first difference."""
    both = base.index.intersection(other.index, sort=False)
    one, two = base.loc[both], other.loc[both]
    for name in base.columns:
        left, right = one[name].to_numpy(), two[name].to_numpy()
        places = np.flatnonzero(~((left == right) | (np.isnan(left) & np.isnan(right))))
        if len(places):
            at = places[0]
            as_of, account = both[at]
            value, changed = (None if np.isnan(side[at]) else float(side[at]) for side in (left, right))
            yield Leak(name, account, as_of.to_pydatetime(), value, changed, how, len(places))


def _choose_as_ofs(history: History, sources: Sequence[str]) -> list[int]:
    """Choose instants: for each source two at which a row has happened but is not known yet, and one of an event.

    An event exactly at `as_of` is in the future.
    """
    as_ofs = set()
    for source in sources:
        rows = f"(SELECT {TABLES[source].time} AS t, {_select_last_known(source)} AS last_known FROM {source})"  # noqa: S608  # the contract's own names
        for share in _SHARES:
            least = f"(SELECT min(t) + {share} * (max(t) - min(t)) FROM {rows})"  # noqa: S608  # as above
            first = "last_known > t + 1 DESC, t, last_known" if share < max(_SHARES) else "t, last_known"
            rows_at = history.query(f"SELECT t, last_known FROM {rows} WHERE t >= {least} ORDER BY {first} LIMIT 1")  # noqa: S608  # as above
            for t, last_known in rows_at.itertuples(index=False):
                is_pending = share < max(_SHARES) and last_known > t + 1
                as_ofs.add(int(t + (last_known - t) // 2 if is_pending else t))
    return sorted(as_ofs) or [history.last_event]


def _select_last_known(source: str) -> str:
    """Return SQL of the time when the last fact of a row happened or became known."""
    later = [f"coalesce({column}, 0)" for column in LATER] if source == "tickets" else []
    return f"greatest({', '.join(['known_at', *later])})"


def _choose_accounts(history: History, sources: Sequence[str], as_ofs: Sequence[int], count: int) -> list[int]:
    """Pick account numbers for the sample: first those with most sources whose events were known only later."""
    counts = []
    for s in sources:
        time, last = SqlText(TABLES[s].time), SqlText(_select_last_known(s))
        pending = " OR ".join(f"({has_happened(time, a)} AND NOT {is_known(last, a)})" for a in as_ofs)
        columns = f"account_no, max(CASE WHEN {pending} THEN 1 ELSE 0 END) AS p, count(*) AS n"
        counts.append(f"SELECT {columns} FROM {s} GROUP BY 1")  # noqa: S608  # the contract's own names
    numbers = history.query(
        f"SELECT account_no FROM ({' UNION ALL '.join(counts)}) GROUP BY 1 HAVING sum(n) <= {_MOST_ROWS} "  # noqa: S608  # as above
        f"ORDER BY sum(p) DESC, hash(account_no), account_no LIMIT {count}"
    )
    return sorted(map(int, numbers["account_no"]))


def _read_tables(history: History, sources: Sequence[str], numbers: Sequence[int]) -> Tables:
    """Read the canonical rows of some accounts, as `History.from_rows` takes them."""
    those = ", ".join(map(str, numbers)) or "-1"
    return {
        table: history.query_arrow(
            f"SELECT * EXCLUDE account_no FROM {table} WHERE account_no IN ({those}) ORDER BY ALL"  # noqa: S608  # the contract's own names
        ).to_pylist()
        for table in ("accounts", *sources)
    }
