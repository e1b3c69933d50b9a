"""Recipes of known systems: their tables in the forms that exports and loaders write, mapped to the contract.

A recipe is a TOML file in `features/sources/recipes`. [raw.X] names a table of the system with the `names` it goes by
and, where a column is called otherwise in some form, its `columns`. Each [[tables.T]] is one way to the canonical
table T: the first whose raw tables and needed columns are there counts. In `query`, {X} is a raw table and {X.c} its
column; {X.c:} stands for nothing but asks that the column is there. A part in [[ ]] is left out if something in it is
not there; of several between ||? the first whose names are there counts. Names are compared without case and signs.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from features.core.contract import TABLES, TIME, Column
from features.core.errors import SourceError, nearest
from features.proposal.mapped_columns import map_column
from features.proposal.model import ProposedColumn, ProposedTable
from features.proposal.roles import add_attributes
from features.proposal.vocabulary import squash
from features.proposal.workspace import Workspace
from features.sources.mapping import quote_identifier

_FOLDER = Path(__file__).parents[1] / "sources" / "recipes"
_PLACE = re.compile(r"\{(\w+)(?:\.(\w+))?(:?)\}")
# An optional part without another one inside.
_OPTIONAL = re.compile(r"\[\[((?:(?!\[\[|\]\]).)*)\]\]", re.DOTALL)
# What exports and loaders put around a table's name.
_AROUND = ("data", "export", "raw", "public", "stg", "src")
_LOADERS = ("fivetran", "airbyte", "dlt")


class _MissingError(Exception):
    """A raw table or column that a recipe names is not there."""


@cache
def list_recipes() -> tuple[str, ...]:
    """Return the names of all recipes."""
    return tuple(sorted(file.stem for file in _FOLDER.glob("*.toml")))


@dataclass(frozen=True)
class Recipe:
    """A recipe, and the sources that its raw tables were found in.

    Args:
        name: Of the system, such as stripe.
        data: The TOML file.
        found: Raw table to source.
        workspace: The attached sources.
    """

    name: str
    data: dict[str, Any]
    found: dict[str, str]
    workspace: Workspace

    def propose(self, *, accounts: bool) -> list[ProposedTable]:
        """Return the canonical tables that the sources give.

        Args:
            accounts: Whether accounts are wanted of it.
        """
        proposed = []
        for table, ways in self.data["tables"].items():
            if table == "accounts" and not accounts:
                continue
            for way in ways:
                made = self._try(table, way)
                if made:
                    proposed.append(made)
                    break
        return proposed

    def _try(self, table: str, way: dict[str, Any]) -> ProposedTable | None:
        """Return the table by one way, None if something that it needs is not there."""
        main = way["from"]
        try:
            query = self._fill(way["query"]) if "query" in way else self._select_live(main, way)
            made = ProposedTable(table, source=None if query else self._source(main), query=query)
            rows = self.workspace.read(made.rows)
            mapped = {c: self._map(table, c, given, main, made) for c, given in way["columns"].items()}
        except _MissingError:
            return None
        made.columns = {canonical: column for canonical, column in mapped.items() if column}
        needed = {c for c, column in TABLES[table].columns.items() if column.needed}
        # Accounts without a date can be dated by their first event.
        time = TABLES[table].time
        dated = made.columns.get(time) if time else None
        # A table without rows or without a date in any of them is no way.
        is_empty = bool(dated and "column" in dated.origin and rows.column(dated.origin["column"]).holds == "empty")
        needed -= {"created_at"} if way.get("undated") else set()
        if is_empty or not rows.count or not needed <= set(made.columns):
            return None
        made.keys |= {k: way[k] for k in ("version",) if k in way}
        made.notes.append(way.get("note", f"{self.data['title']}: {main}"))
        made.confirm = way.get("confirm", "")
        if table == "accounts":
            add_attributes(made, rows)
        return made

    def _map(self, table: str, canonical: str, given: Any, main: str, made: ProposedTable) -> ProposedColumn | None:
        """Return a column's mapping, None where the form lacks it."""
        keys = {"column": given} if isinstance(given, str) else dict(given)
        if "value" in keys:
            return ProposedColumn(keys)
        rows = self.workspace.read(made.rows)
        try:
            if "sql" in keys:
                return ProposedColumn({**keys, "sql": self._fill(keys["sql"])})
            wanted = keys.pop("column")
            actual = wanted if made.query and wanted in rows.types else self._column(main, wanted)
        except _MissingError:
            return None
        column = TABLES[table].columns.get(canonical, Column("text"))
        holds = rows.column(actual).holds if actual in rows.types else None
        is_useless = (holds == "empty" and not column.needed) or (
            column.kind == TIME and holds not in {"time", "empty"}
        )
        return None if holds is None or is_useless else map_column(table, canonical, rows.column(actual), keys)

    def _select_live(self, main: str, way: dict[str, Any]) -> str | None:
        """Return a query of the rows that are not deleted or out of date; None where all are in force."""
        source = self.workspace.source(self._source(main))
        conditions = []
        for key, wanted in (("unless", False), ("only", True)):
            for name in way.get(key, ()):
                for raw in source.types:
                    if squash(raw) == squash(name) and any(
                        (v.lower() in {"true", "t", "1"}) != wanted for v in source.column(raw).values
                    ):
                        test = f"TRY_CAST({quote_identifier(raw)} AS BOOLEAN)"
                        conditions.append(f"coalesce({test}, true)" if wanted else f"NOT coalesce({test}, false)")
        if not conditions:
            return None
        return f"SELECT * FROM {quote_identifier(self._source(main))} WHERE {' AND '.join(conditions)}"

    def _source(self, raw: str) -> str:
        if raw not in self.found:
            raise _MissingError(raw)
        return self.found[raw]

    def _column(self, raw: str, logical: str) -> str:
        """Return what a column is called in the source of a raw table."""
        return self._find_column(self._source(raw), raw, logical)

    def _find_column(self, source: str, raw: str, logical: str) -> str:
        names = self.data["raw"][raw].get("columns", {}).get(logical, [logical])
        rows = self.workspace.source(source)
        found = [
            actual
            for name in ([names] if isinstance(names, str) else names)
            for actual in rows.types
            # Without the prefix of HubSpot's properties, and with it.
            if squash(name) in {squash(actual), re.sub(r"[^a-z0-9]", "", actual.lower())}
        ]
        if not found:
            raise _MissingError(logical)
        return next((actual for actual in found if rows.column(actual).holds != "empty"), found[0])

    def _fill(self, template: str) -> str:
        """Return SQL with the real names of tables and columns, without the parts that lack one.

        Raises:
            _MissingError: A name outside an optional part is not there.
        """

        def fill(text: str) -> str:
            def place(match: re.Match[str]) -> str:
                raw, column = match[1], match[2]
                name = self._column(raw, column) if column else self._source(raw)
                return "" if match[3] else quote_identifier(name)

            return _PLACE.sub(place, text)

        def optional(match: re.Match[str]) -> str:
            for part in match[1].split("||?"):  # the first alternative that can be filled
                try:
                    return fill(part)
                except _MissingError:
                    continue
            return ""

        while _OPTIONAL.search(template):
            template = _OPTIONAL.sub(optional, template)
        return re.sub(r"[ \t]*\n\s*\n", "\n", fill(template)).strip()


def open_recipe(name: str, workspace: Workspace) -> Recipe:
    """Find the raw tables of a recipe among the sources.

    Raises:
        SourceError: There is no such recipe, or none of its tables.
    """
    if name not in list_recipes():
        raise SourceError(f"there is no recipe {name!r}", hint=nearest(name, list_recipes()))
    data = tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    empty = Recipe(name, data, {}, workspace)
    found: dict[str, str] = {}
    for raw, spec in data["raw"].items():
        names = spec.get("names", [raw])
        for wanted in names:
            for source in workspace.sources:
                if raw not in found and _plain(source, name) == _plain(wanted, name) and _has(empty, source, raw, spec):
                    found[raw] = source
    if not found:
        looked = ", ".join(dict.fromkeys(n for spec in data["raw"].values() for n in spec.get("names", [])[:1]))
        raise SourceError(
            f"recipe {name} finds none of its tables",
            found=", ".join(sorted(workspace.sources)[:12]),
            hint=f"Name files as {data['title']} or its loader does: {looked}",
        )
    return Recipe(name, data, found, workspace)


def _has(recipe: Recipe, source: str, raw: str, spec: dict[str, Any]) -> bool:
    """Return whether a source has the columns that a raw table needs."""
    try:
        for column in spec.get("needs", ()):
            recipe._find_column(source, raw, column)  # noqa: SLF001  # of the same module
    except _MissingError:
        return False
    return True


def _plain(source: str, recipe: str) -> str:
    """Return a source's name without what exports and loaders put around it."""
    words = [w for w in source.lower().split("_") if w not in {*_AROUND, *_LOADERS, recipe, "sf", "hs"}]
    return "".join(words)
