"""The report on who is who: how many rows found their account, and what is doubtful of ids, merges and parents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from features.core.contract import TABLES
from features.settings import Settings
from features.sources import identity
from features.sources.history import History
from features.sources.validation import Checked


@dataclass(frozen=True)
class Some:
    """How many there are, and a few of them."""

    count: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Matched:
    """What became of the ids of one table.

    Args:
        table: Its name.
        system: Whose ids they are.
        rows: Rows read; those without an id or a time can't be looked up.
        matched: Rows whose id names an account at their time.
        orphans: Rows whose id names none; examples are ids, the commonest first.
        conflicts: Rows whose id names several.
    """

    table: str
    system: str
    rows: int
    matched: int
    orphans: Some
    conflicts: Some

    @property
    def rate(self) -> float | None:
        """Matched ÷ looked up; None where nothing was."""
        asked = self.matched + self.orphans.count + self.conflicts.count
        return self.matched / asked if asked else None


@dataclass(frozen=True)
class Report:
    """Who is who in a company.

    Args:
        tables: Those that have ids of another system.
        conflicts: Ids that name several accounts at once, of which none is believed.
        reassigned: Ids that name one account after another.
        merged: Accounts merged into others.
        children: Accounts whose parent is known.
        parents: The accounts that are one.
        unknown_parents: Accounts whose parent is none.
        circles: Accounts whose parents lead round in a circle.
    """

    tables: tuple[Matched, ...]
    conflicts: Some
    reassigned: Some
    merged: Some
    children: Some
    parents: Some
    unknown_parents: Some
    circles: Some

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self) | {"tables": [asdict(t) | {"match_rate": t.rate} for t in self.tables]}

    def remarks(self) -> Iterator[tuple[str, Some]]:
        """What there is to tell, in words."""
        for what, some in (
            ("ids that name several accounts at once, none of them believed", self.conflicts),
            ("ids that passed from one account to another", self.reassigned),
            ("accounts merged into others", self.merged),
            ("accounts whose parent is not in accounts", self.unknown_parents),
            ("accounts whose parents lead round in a circle", self.circles),
        ):
            if some.count:
                yield what, some


def report(history: History, settings: Settings) -> Report:
    """Who is who in a company whose tables were read and checked."""
    tables = tuple(_matched(history, settings, c) for c in history.checked if settings.tables[c.table].system)
    return Report(tables, **{what: _some(history, what) for what in identity.LISTS})


def _some(history: History, what: str) -> Some:
    found = history.query(identity.listed(what))
    return Some(int(found["n"].iloc[0]), tuple(found["name"])) if len(found) else Some(0)


def _matched(history: History, settings: Settings, checked: Checked) -> Matched:
    table, system = checked.table, str(settings.tables[checked.table].system)
    time = TABLES[table].time
    orphans, several = (_ids(history, checked, why(system)) for why in (identity.orphan, identity.doubtful))
    # Reasons that come before those of the id: such rows were not looked up.
    unasked = (f"{time} is not a time", f"{time} is missing", "account_id is missing")
    matched = checked.rows - orphans.count - several.count - sum(checked.reasons.get(why, 0) for why in unasked)
    return Matched(table, system, checked.rows, matched, orphans, several)


def _ids(history: History, checked: Checked, why: str) -> Some:
    count = checked.reasons.get(why, 0)
    if not count:
        return Some(0)
    kept = history.query('SELECT "table", why, external_id FROM identity.examples ORDER BY n DESC, external_id')
    return Some(count, tuple(kept.loc[(kept["table"] == checked.table) & (kept["why"] == why), "external_id"]))
