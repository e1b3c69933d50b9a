"""The report on who is who: how many rows found their account, and what is doubtful of ids, merges and parents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from features.core.contract import TABLES
from features.settings import Settings
from features.sources import identity
from features.sources.history import History
from features.sources.validation import ValidatedTable


@dataclass(frozen=True)
class CountWithExamples:
    """How many there are, and a few of them."""

    count: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class MatchedIds:
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
    orphans: CountWithExamples
    conflicts: CountWithExamples

    @property
    def rate(self) -> float | None:
        """Matched ÷ looked up; None where nothing was."""
        asked = self.matched + self.orphans.count + self.conflicts.count
        return self.matched / asked if asked else None


@dataclass(frozen=True)
class IdentityReport:
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

    tables: tuple[MatchedIds, ...]
    conflicts: CountWithExamples
    reassigned: CountWithExamples
    merged: CountWithExamples
    children: CountWithExamples
    parents: CountWithExamples
    unknown_parents: CountWithExamples
    circles: CountWithExamples

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self) | {"tables": [asdict(t) | {"match_rate": t.rate} for t in self.tables]}

    def remarks(self) -> Iterator[tuple[str, CountWithExamples]]:
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


def build_identity_report(history: History, settings: Settings) -> IdentityReport:
    """Who is who in a company whose tables were read and checked."""
    tables = tuple(_count_matches(history, settings, c) for c in history.checked if settings.tables[c.table].system)
    return IdentityReport(tables, **{what: _count_examples(history, what) for what in identity.LISTS})


def _count_examples(history: History, what: str) -> CountWithExamples:
    found = history.query(identity.list_examples(what))
    return CountWithExamples(int(found["n"].iloc[0]), tuple(found["name"])) if len(found) else CountWithExamples(0)


def _count_matches(history: History, settings: Settings, checked: ValidatedTable) -> MatchedIds:
    table, system = checked.table, str(settings.tables[checked.table].system)
    time = TABLES[table].time
    orphans, several = (
        _read_examples(history, checked, why(system)) for why in (identity.describe_orphan, identity.describe_conflict)
    )
    # Reasons that come before those of the id: such rows were not looked up.
    unasked = (f"{time} is not a time", f"{time} is missing", "account_id is missing")
    matched = checked.rows - orphans.count - several.count - sum(checked.reasons.get(why, 0) for why in unasked)
    return MatchedIds(table, system, checked.rows, matched, orphans, several)


def _read_examples(history: History, checked: ValidatedTable, why: str) -> CountWithExamples:
    count = checked.reasons.get(why, 0)
    if not count:
        return CountWithExamples(0)
    kept = history.query('SELECT "table", why, external_id FROM identity.examples ORDER BY n DESC, external_id')
    return CountWithExamples(
        count, tuple(kept.loc[(kept["table"] == checked.table) & (kept["why"] == why), "external_id"])
    )
