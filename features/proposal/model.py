"""What is proposed for a company: its sources, tables, cohort and label, each with the reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class ProposedColumn:
    """The origin of a canonical column.

    Args:
        origin: Keys of the settings: column, value or sql, with map, format and kind.
        why: What was found in the data.
        confirm: What a person must confirm; "" for nothing.
    """

    origin: dict[str, Any]
    why: str = ""
    confirm: str = ""


@dataclass
class ProposedTable:
    """The mapping of a canonical table.

    Args:
        name: Of the canonical table.
        source: The source of its rows, or None where there is a query.
        query: SQL over the sources, or None.
        columns: By canonical name.
        keys: Further keys, such as system or match.
        notes: Why the table is proposed.
        confirm: What a person must confirm; "" for nothing.
        is_guessed: Whether its role is guessed from names, not known from a recipe.
    """

    name: str
    source: str | None = None
    query: str | None = None
    columns: dict[str, ProposedColumn] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    confirm: str = ""
    is_guessed: bool = False

    @property
    def rows(self) -> str:
        """Return SQL of its raw rows, to stand after FROM."""
        return f'"{self.source}"' if self.source else f"({self.query})"


@dataclass(frozen=True)
class Match:
    """How well a column of one table finds its account.

    Args:
        table: The canonical table.
        column: Its raw column.
        to: What the column was looked up in.
        rate: Share of its rows that found an account, 0 to 1.
    """

    table: str
    column: str
    to: str
    rate: float


@dataclass(frozen=True)
class TargetChoice:
    """A cohort and label that the data could be asked for.

    Args:
        cohort: Keys of churn.cohort.
        label: Keys of churn.label.
        horizon: In days.
        months: First day of a month to accounts in the cohort and how many of them leave.
    """

    cohort: dict[str, Any]
    label: dict[str, Any]
    horizon: int
    months: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return cohort and label in words."""
        within = f" within {self.cohort['within_days']} days" if "within_days" in self.cohort else ""
        return f"{self.cohort['kind']}{within}, {self.label['kind']}"

    @property
    def rate(self) -> float | None:
        """Return the base rate over all months; None without anyone in the cohort."""
        asked = sum(cohort for cohort, _ in self.months.values())
        return sum(left for _, left in self.months.values()) / asked if asked else None


@dataclass
class Proposal:
    """A company's settings as they are proposed.

    Args:
        company: Keys of [company].
        sources: Keys of each source.
        tables: By canonical name.
        matches: How well tables find their accounts.
        choices: Cohorts and labels, the proposed one first.
        notes: What else a reader must know, such as files that were left out.
        confirm: Key of the settings to what a person must confirm, beside that of tables and columns.
        source_notes: Source to what was found about its form.
        bad_share: Table to the share of rows that the check would put into quarantine, where above the limit.
        shares_of_use: The commonest product features, values of usage.feature.
    """

    company: dict[str, Any]
    sources: dict[str, dict[str, Any]]
    tables: dict[str, ProposedTable] = field(default_factory=dict)
    matches: list[Match] = field(default_factory=list)
    choices: list[TargetChoice] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    confirm: dict[str, str] = field(default_factory=dict)
    source_notes: dict[str, str] = field(default_factory=dict)
    bad_share: dict[str, float] = field(default_factory=dict)
    shares_of_use: tuple[str, ...] = ()

    def list_confirmations(self) -> list[tuple[str, str]]:
        """Return each key that a person must confirm, and why."""
        found = list(self.confirm.items())
        for table in self.tables.values():
            found += [(f"tables.{table.name}", table.confirm)] if table.confirm else []
            found += [(f"tables.{table.name}.columns.{c}", v.confirm) for c, v in table.columns.items() if v.confirm]
        return found
