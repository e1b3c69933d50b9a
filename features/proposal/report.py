"""The proposal on a terminal: tables, matches, base rates, and what a person must confirm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from features.proposal.propose import TriedProposal
from features.settings import cli


def print_proposal(tried: TriedProposal, file: Path) -> None:
    """Print what was proposed and what is unsure."""
    proposal, kept = tried.proposal, {c.table: c for c in tried.checked}
    table = cli.table("table", "of", "rows", "kept", "lost because", right=("rows", "kept"))
    for name, proposed in proposal.tables.items():
        checked = kept.get(name)
        lost = "; ".join(f"{why} ({n:,})" for why, n in checked.reasons.items()) if checked else ""
        rows, good = (f"{checked.rows:,}", f"{checked.kept:,}") if checked else ("", "")
        table.add_row(name, proposed.source or "a query", rows, good, lost)
    cli.print_table(table)
    if proposal.matches:
        matches = cli.table(
            "table", "column", "found in", "rate", title="Which rows find their account", right=("rate",)
        )
        for match in proposal.matches:
            matches.add_row(match.table, match.column, match.to, f"{match.rate:.1%}")
        cli.print_table(matches)
    _print_choices(tried)
    confirmations = proposal.list_confirmations()
    if confirmations or proposal.choices:
        unsure = cli.table("key", "confirm", title="To confirm")
        for key, why in [*confirmations, ("churn", "who is a customer, and what counts as leaving")]:
            unsure.add_row(key, why)
        cli.print_table(unsure)
    for note in proposal.notes:
        print(note.removeprefix("confirm: "))
    print(f"The proposal: {file}. Correct it, then: python -m features check --config {file}")


def _print_choices(tried: TriedProposal) -> None:
    choices = tried.proposal.choices
    if not choices:
        return
    headings = [f"{c.name} ({c.horizon} days)" for c in choices]
    table = cli.table(
        "month", *headings, title="Who would leave, by cohort and label; the first is proposed", right=headings
    )
    for month in sorted({m for c in choices for m in c.months}):
        cells = [c.months.get(month) for c in choices]
        table.add_row(
            month, *(f"{gone / n:.1%} of {n:,}" if n else "" for n, gone in (cell or (0, 0) for cell in cells))
        )
    table.add_row("all", *("" if c.rate is None else f"{c.rate:.1%}" for c in choices))
    cli.print_table(table)


def as_dict(tried: TriedProposal, file: Path) -> dict[str, Any]:
    """Return the result for machines."""
    proposal = tried.proposal
    return {
        "file": str(file),
        "problem": tried.problem,
        "tables": {c.table: {"rows": c.rows, "kept": c.kept, "reasons": dict(c.reasons)} for c in tried.checked},
        "matches": [vars(match) for match in proposal.matches],
        "choices": [
            {"cohort": c.cohort, "label": c.label, "horizon": c.horizon, "rate": c.rate, "months": c.months}
            for c in proposal.choices
        ],
        "confirm": dict(proposal.list_confirmations()),
    }
