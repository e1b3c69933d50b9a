"""What was done to the rows of a table that were not simply kept, in sentences with their figures."""

from __future__ import annotations

from collections.abc import Iterator

from features.settings import Settings
from features.sources.validated_table import ValidatedTable


def list_remarks(checked: ValidatedTable, settings: Settings) -> Iterator[str]:
    """Yield one sentence for each way in which rows or cells of a table were dropped, emptied or changed."""
    table = checked.table
    if checked.repeated:
        yield f"{table}: {checked.repeated:,} rows repeat another row exactly: each counts once"
    if checked.alike:
        advice = f'If each is one event that came again: tables.{table}.repeats = "drop", or "keep" to settle it'
        yield f"{table}: {checked.alike:,} rows repeat another row exactly, and count: no column is an id. {advice}"
    undated = settings.untrusted_attributes() if table == "accounts" else ()
    if undated:
        yield (
            f"accounts: only the export's values are known of {', '.join(undated)}, so no model learns from these "
            "numbers. Map valid_from; or, if one never changes, name it in training.trusted"
        )
    if checked.superseded:
        yield f"{table}: {checked.superseded:,} rows are older versions: of each the newest counts"
    if checked.erased:
        yield f"{table}: {checked.erased:,} rows are of accounts or people who were erased: they are dropped"
    if checked.contested:
        cells = ", ".join(f"{column} in {n:,}" for column, n in checked.contested.items())
        advice = (
            ""
            if settings.tables[table].version
            else f'. If a column says which is newest: tables.{table}.version = "…"'
        )
        yield f"{table}: rows of one key contradict each other; these cells are empty: {cells}{advice}"
    if checked.unread:
        each = ", ".join(f"{column} {n:,}{_show(checked, column)}" for column, n in checked.unread.items())
        yield f"{table}: {sum(checked.unread.values()):,} cells were unreadable, and are empty: {each}"
    others = [currency for currency in checked.currencies if currency != settings.company.currency.upper()]
    if others:
        each = ", ".join(f"{currency} in {n:,} rows" for currency, n in checked.currencies.items())
        done = (
            "converted by the rate of their day" if "rates" in settings.tables else "not converted: there are no rates"
        )
        yield f"{table}: money is in {each}; {done}"


def _show(checked: ValidatedTable, column: str) -> str:
    values = checked.values.get(column)
    return f" ({', '.join(map(repr, values))})" if values else ""
