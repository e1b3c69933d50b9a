"""Report on identities: how many rows matched an account, and doubtful ids, merges and parents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from features.core.contract import TABLES
from features.settings import Settings
from features.sources import identity
from features.sources.history import History
from features.sources.validated_table import ValidatedTable


@dataclass(frozen=True)
class CountWithExamples:
    """A number of names, and the first few of them."""

    count: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class MatchedIds:
    """How many ids of one table matched an account.

    Args:
        table: Its name.
        system: The system that the ids come from.
        rows: Rows read; rows without an id or a time can't be looked up.
        matched: Rows whose id names an account at their time.
        orphans: Rows whose id names no account; examples are ids, the commonest first.
        conflicts: Rows whose id names several accounts.
    """

    table: str
    system: str
    rows: int
    matched: int
    orphans: CountWithExamples
    conflicts: CountWithExamples

    @property
    def rate(self) -> float | None:
        """Return matched ÷ looked up; None where no row was looked up."""
        looked_up = self.matched + self.orphans.count + self.conflicts.count
        return self.matched / looked_up if looked_up else None


@dataclass(frozen=True)
class IdentityReport:
    """The identities of a company.

    Args:
        tables: Tables with ids of another system.
        conflicts: Ids that name several accounts at once, and so match none.
        reassigned: Ids that name one account after another.
        merged: Accounts merged into others.
        children: Accounts whose parent is known.
        parents: Accounts that are a parent.
        unknown_parents: Accounts whose parent does not exist.
        circles: Accounts whose parents form a circle.
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
        """Return the report for JSON."""
        return asdict(self) | {"tables": [asdict(t) | {"match_rate": t.rate} for t in self.tables]}

    def remarks(self) -> Iterator[tuple[str, CountWithExamples]]:
        """Yield each doubtful kind of identity in words, with its examples."""
        for kind, examples in (
            ("ids that name several accounts at once, and so match none", self.conflicts),
            ("ids that passed from one account to another", self.reassigned),
            ("accounts merged into others", self.merged),
            ("accounts whose parent is not in accounts", self.unknown_parents),
            ("accounts whose parents form a circle", self.circles),
        ):
            if examples.count:
                yield kind, examples


def build_identity_report(history: History, settings: Settings) -> IdentityReport:
    """Build the report on the identities of a company."""
    tables = tuple(_count_matches(history, settings, c) for c in history.checked if settings.tables[c.table].system)
    return IdentityReport(tables, **{name: _count_examples(history, name) for name in identity.LISTS})


def _count_examples(history: History, name: str) -> CountWithExamples:
    examples = history.query(identity.list_examples(name))
    return (
        CountWithExamples(int(examples["n"].iloc[0]), tuple(examples["name"]))
        if len(examples)
        else CountWithExamples(0)
    )


def _count_matches(history: History, settings: Settings, checked: ValidatedTable) -> MatchedIds:
    table, system = checked.table, str(settings.tables[checked.table].system)
    time = TABLES[table].time
    orphans, conflicts = (
        _read_examples(history, checked, reason(system))
        for reason in (identity.describe_orphan, identity.describe_conflict)
    )
    # A row with one of these faults was not looked up.
    not_looked_up = (f"{time} is not a time", f"{time} is missing", "account_id is missing")
    matched = (
        checked.rows - orphans.count - conflicts.count - sum(checked.reasons.get(reason, 0) for reason in not_looked_up)
    )
    return MatchedIds(table, system, checked.rows, matched, orphans, conflicts)


def _read_examples(history: History, checked: ValidatedTable, reason: str) -> CountWithExamples:
    count = checked.reasons.get(reason, 0)
    if not count:
        return CountWithExamples(0)
    examples = history.query('SELECT "table", why, external_id FROM identity.examples ORDER BY n DESC, external_id')
    return CountWithExamples(
        count, tuple(examples.loc[(examples["table"] == checked.table) & (examples["why"] == reason), "external_id"])
    )
