"""Probes for leaks: what must hold for every feature, tried on a sample of the company's own accounts.

The engine keeps the time rules for whatever a stream dates rightly. A stream that dates a fact wrongly, such as a
rating at the ticket's opening, leaks all the same: then a feature moves when what came later is taken away.
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

_SHARES = (0.5, 0.7, 0.9)  # of a source's time: where is looked from
_FAILURES = (duckdb.Error, ibis.common.exceptions.IbisError)
_MOST_ROWS = 3_000  # of an account in the sample
# Weekdays, lengths of months and leap days are those of 28 years before.
_CALENDAR_DAYS = 10_227


@dataclass(frozen=True)
class Leak:
    """A feature that moved, and must not have.

    Args:
        feature: Its name.
        account: Whose value; the first of those where it moved.
        as_of: Where it was looked from.
        value: As the history is; None for null.
        other: As the history was changed.
        how: What was changed, in words.
        times: How many values moved.
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
    """What was tried.

    Args:
        features: Names of those that were.
        accounts: In the sample.
        as_ofs: Where was looked from.
        leaks: What was found.
    """

    features: tuple[str, ...]
    accounts: int
    as_ofs: tuple[datetime, ...]
    leaks: tuple[Leak, ...]

    def as_dict(self) -> dict[str, Any]:
        """For machines: instants in ISO."""
        leaks = [asdict(leak) | {"as_of": leak.as_of.isoformat()} for leak in self.leaks]
        return vars(self) | {"as_ofs": [a.isoformat() for a in self.as_ofs], "leaks": leaks}


def run_leak_tests(
    history: History, settings: Settings, features: Sequence[Feature], *, accounts: int = 40
) -> LeakTestResult:
    """Try features on some of a company's accounts, those first that have something to tell that was not known yet.

    Args:
        history: Of the company.
        settings: Of the company.
        features: Those whose sources are not there are left out.
        accounts: How many at most.

    Raises:
        FeatureError: A feature can't be computed.
    """
    there = tuple(f for f in features if set(history.sources).issuperset(f.sources))
    if not there:
        return LeakTestResult((), 0, (), ())
    sources = tuple(s for s in history.sources if any(s in f.sources for f in there))
    as_ofs = _choose_as_ofs(history, sources)
    tables = _read_tables(history, sources, _choose_accounts(history, sources or history.sources, as_ofs, accounts))
    trial = _Trial(settings, there)
    leaks = tuple(trial.leaks(tables, as_ofs))
    return LeakTestResult(tuple(f.name for f in there), len(tables["accounts"]), tuple(map(from_micros, as_ofs)), leaks)


def _reverse_rows(tables: Tables, as_of: int) -> Tables:  # noqa: ARG001  # a variant like the others
    return {table: rows[::-1] for table, rows in tables.items()}


def _keep_half(tables: Tables, as_of: int) -> Tables:  # noqa: ARG001  # a variant like the others
    kept = {row["account_id"] for row in tables["accounts"][::2]}
    return {table: [row for row in rows if row["account_id"] in kept] for table, rows in tables.items()}


_VARIANTS: tuple[tuple[Variant, str], ...] = (
    (truncate_future, "with all deleted that came or became known later"),
    (perturb_future, "with all changed that came or became known later"),
    (_reverse_rows, "with the rows in another order"),
    (_keep_half, "with other accounts left out"),
)


class _Trial:
    """Computes features on posted histories, and compares."""

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
            yield from _find_moved(base, pd.concat([frame for frame, what in frames if what == how]), how)

    def _build(self, tables: Tables, as_ofs: Sequence[int]) -> pd.DataFrame:
        """The features, float64, by (as_of, account_id)."""
        try:
            return self._built(self._features, tables, as_ofs)
        except _FAILURES:
            for one in self._features:
                try:
                    self._built([one], tables, as_ofs)
                except _FAILURES as error:
                    there, do = summarize_error(error), "Correct the stream that it is measured on"
                    raise FeatureError(f"the feature {one.name} can't be computed", found=there, hint=do) from error
            raise

    def _built(self, features: Sequence[Feature], tables: Tables, as_ofs: Sequence[int]) -> pd.DataFrame:
        catalog = Catalog({f.name: f for f in features})
        with History.from_rows(self._settings, tables, catalog) as history:
            frame = snapshots.build(history, [from_micros(a) for a in as_ofs])
        return frame.set_index(["as_of", "account_id"])[list(catalog.features)]

    def _earlier(self, tables: Tables, shift: int) -> Tables:
        """The history with all times moved."""
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
    """The features whose values differ in any bit where both have a row; each with the first that does."""
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
    """Instants: for each source, two at which one of its rows is still to be told, and one of an event itself.

    An event exactly at `as_of` is the future already.
    """
    found = set()
    for source in sources:
        rows = f"(SELECT {TABLES[source].time} AS t, {_select_last_known(source)} AS told FROM {source})"  # noqa: S608  # the contract's own names
        for share in _SHARES:
            least = f"(SELECT min(t) + {share} * (max(t) - min(t)) FROM {rows})"  # noqa: S608  # as above
            first = "told > t + 1 DESC, t, told" if share < max(_SHARES) else "t, told"
            one = history.query(f"SELECT t, told FROM {rows} WHERE t >= {least} ORDER BY {first} LIMIT 1")  # noqa: S608  # as above
            for t, told in one.itertuples(index=False):
                waits = share < max(_SHARES) and told > t + 1
                found.add(int(t + (told - t) // 2 if waits else t))
    return sorted(found) or [history.last_event]


def _select_last_known(source: str) -> str:
    """SQL of when the last of what a row tells is known, or was so."""
    later = [f"coalesce({column}, 0)" for column in LATER] if source == "tickets" else []
    return f"greatest({', '.join(['known_at', *later])})"


def _choose_accounts(history: History, sources: Sequence[str], as_ofs: Sequence[int], count: int) -> list[int]:
    """Numbers of accounts, those first of which most sources have something that was still to be told."""
    each = []
    for s in sources:
        time, last = SqlText(TABLES[s].time), SqlText(_select_last_known(s))
        pending = " OR ".join(f"({has_happened(time, a)} AND NOT {is_known(last, a)})" for a in as_ofs)
        shown = f"account_no, max(CASE WHEN {pending} THEN 1 ELSE 0 END) AS p, count(*) AS n"
        each.append(f"SELECT {shown} FROM {s} GROUP BY 1")  # noqa: S608  # the contract's own names
    found = history.query(
        f"SELECT account_no FROM ({' UNION ALL '.join(each)}) GROUP BY 1 HAVING sum(n) <= {_MOST_ROWS} "  # noqa: S608  # as above
        f"ORDER BY sum(p) DESC, hash(account_no), account_no LIMIT {count}"
    )
    return sorted(map(int, found["account_no"]))


def _read_tables(history: History, sources: Sequence[str], numbers: Sequence[int]) -> Tables:
    """The canonical rows of some accounts, as `History.from_rows` takes them."""
    those = ", ".join(map(str, numbers)) or "-1"
    return {
        table: history.query_arrow(
            f"SELECT * EXCLUDE account_no FROM {table} WHERE account_no IN ({those}) ORDER BY ALL"  # noqa: S608  # the contract's own names
        ).to_pylist()
        for table in ("accounts", *sources)
    }
