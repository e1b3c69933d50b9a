"""The result of validating a table, and the refusal of tables with faults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from features.core.errors import QualityError
from features.settings import Settings
from features.settings.key_lines import add_places
from features.sources.posted_events import WAITING


@dataclass(frozen=True)
class ValidatedTable:
    """The result of validating one table.

    Args:
        table: Its name.
        rows: Rows read.
        kept: Rows that satisfy the contract.
        reasons: Reason of quarantine to number of rows, the commonest first.
        first: Earliest instant of its time column; None without one.
        last: Latest.
        quarantine: The file that holds the bad rows as they came, with the reason; None without any.
        repeated: Rows dropped since they repeat another one.
        alike: Rows kept although they repeat another one: nothing says whether they are the same event.
        superseded: Rows dropped since there is a newer version.
        erased: Rows dropped since they are of an account or a person who was erased.
        contested: Column to number of cells emptied since rows of one key contradict each other.
        unread: Column to number of cells emptied since they could not be read.
        currencies: Currency to number of rows, the commonest first.
        values: Reason of quarantine, or column of unread cells, to the commonest values that it is about.
        hints: What would make values readable, by the same.
        faults: Why no command but the check may use the table; () for a sound one.
    """

    table: str
    rows: int
    kept: int
    reasons: dict[str, int]
    first: datetime | None
    last: datetime | None
    quarantine: Path | None
    repeated: int = 0
    alike: int = 0
    superseded: int = 0
    erased: int = 0
    contested: dict[str, int] = field(default_factory=dict)
    unread: dict[str, int] = field(default_factory=dict)
    currencies: dict[str, int] = field(default_factory=dict)
    values: dict[str, list[str]] = field(default_factory=dict)
    hints: dict[str, str] = field(default_factory=dict)
    faults: tuple[tuple[str, str, str], ...] = ()

    @property
    def bad(self) -> int:
        """Return the number of rows and lines in quarantine."""
        return sum(n for why, n in self.reasons.items() if why != WAITING)

    def as_dict(self) -> dict[str, Any]:
        """Return the result for JSON: instants in ISO, the file as text."""
        times = {name: t.isoformat() if t else None for name, t in (("first", self.first), ("last", self.last))}
        return vars(self) | times | {"quarantine": str(self.quarantine) if self.quarantine else None}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Self:
        """Build a result from what `as_dict` returned."""
        times = {name: datetime.fromisoformat(plain[name]) if plain[name] else None for name in ("first", "last")}
        file = Path(plain["quarantine"]) if plain["quarantine"] else None
        return cls(**plain | times | {"quarantine": file, "faults": tuple(tuple(f) for f in plain.get("faults", ()))})


def refuse_bad(tables: Sequence[ValidatedTable], settings: Settings) -> None:
    """Refuse tables that no command but the check may use.

    Raises:
        QualityError: Of the first fault, with the number of others.
    """
    faults = [fault for table in tables for fault in table.faults]
    if faults:
        problem, found, hint = faults[0]
        others = [t.table for t in tables if t.faults][1:]
        more = f" (and so are {', '.join(others)}: see the check)" if others else ""
        with add_places(settings.file):
            raise QualityError(f"{problem}{more}", found=found, hint=hint)
