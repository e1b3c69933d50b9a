"""State the verdict on drift in figures and words: do the accounts still look like those the model learned from?"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from serving.gate.schema_checks import Finding
from serving.gate.verdict import State

Kind = Literal["number", "category", "score"]
# Columns of less than this share of the model's weight may move: the scores depend little on them.
MATTERS = 0.1
_NAMED, _LISTED = 3, 8
# Of a line in the terminal, which is printed with an indent of two in 80 columns.
_WIDTH = 76


@dataclass(frozen=True)
class ColumnDrift:
    """The shift of one column between training and now.

    Args:
        name: Of the feature, or of the score.
        kind: Numbers are compared by their quantiles in training, categories by their values.
        psi: Population stability index, >= 0: against all training rows, or against those of the same season if the
            column is nearer to them.
        threshold: The PSI from which it counts as moved.
        bins: The number of bins that the index is a sum over.
        weight: Its share of the model's weight, 0 to 1; 0 for a score.
        usual: The PSI that one training date had against the others, at most; None if the dates are not known.
        missing: Share of rows without a value, in training and now.
        typical: Mean in training and now; None for categories, and where no value is known.
        unseen: Share of rows with a category that training never saw; 0 for numbers.
    """

    name: str
    kind: Kind
    psi: float
    threshold: float
    bins: int
    weight: float
    usual: float | None
    missing: tuple[float, float]
    typical: tuple[float, float] | None = None
    unseen: float = 0.0

    @property
    def drifted(self) -> bool:
        """Return whether it moved further than chance and the training dates explain, and enough to matter."""
        return self.psi >= self.threshold

    def lines(self) -> Iterator[str]:
        """Yield the figures for the terminal: two short lines."""
        weight = "" if self.kind == "score" else f", {self.weight:.1%} of the weight"
        yield f"{self.name}: PSI {self.psi:.2f}, counts from {self.threshold:.2f}{weight}"
        changes = []
        if self.typical is not None:
            changes.append(f"mean {self.typical[0]:.4g} -> {self.typical[1]:.4g}")
        if abs(self.missing[1] - self.missing[0]) >= 0.01:
            changes.append(f"missing {self.missing[0]:.0%} -> {self.missing[1]:.0%}")
        if self.unseen:
            changes.append(f"{self.unseen:.0%} in categories new since training")
        if changes:
            yield f"  {', '.join(changes)}"


@dataclass(frozen=True)
class DriftVerdict:
    """The comparison of the newest snapshot with the training rows.

    Args:
        columns: All that were compared; first the one that moved most against its threshold.
        findings: The faults found before the comparison.
        rows: Of the newest snapshot that were compared.
        reference_rows: Of training, likewise.
        season_rows: Those of them of the same time of the year; 0 if there are too few.
        dated: Whether the dates of the training rows are known.
        growing: Columns that grow with an account's age: not compared, the scores show whether it matters.
    """

    columns: tuple[ColumnDrift, ...]
    findings: tuple[Finding, ...]
    rows: int
    reference_rows: int
    season_rows: int = 0
    dated: bool = True
    growing: tuple[str, ...] = ()

    @property
    def state(self) -> State:
        """Return `hold` if the snapshot is broken, `watch` if what matters moved, else `ok`."""
        if self.broken:
            return "hold"
        return "watch" if self.moved_scores or self.moved_weight >= MATTERS else "ok"

    @property
    def broken(self) -> tuple[Finding, ...]:
        """Return the faults that make the scores untrustworthy."""
        return tuple(f for f in self.findings if f.breaks)

    @property
    def drifted(self) -> tuple[ColumnDrift, ...]:
        """Return the columns and scores that moved, the most moved first."""
        return tuple(c for c in self.columns if c.drifted)

    @property
    def moved_scores(self) -> tuple[ColumnDrift, ...]:
        """Return the scores that moved."""
        return tuple(c for c in self.drifted if c.kind == "score")

    @property
    def moved_features(self) -> tuple[ColumnDrift, ...]:
        """Return the moved columns that the model reads, the heaviest first."""
        moved = (c for c in self.drifted if c.kind != "score")
        return tuple(sorted(moved, key=lambda c: (-c.weight, c.name)))

    @property
    def moved_weight(self) -> float:
        """Return the share of the model's weight that the moved columns have."""
        return sum(c.weight for c in self.moved_features)

    @property
    def compared(self) -> str:
        """Return what was compared with what."""
        season = f", {self.season_rows:,} of them of this season" if self.season_rows else ""
        return f"{self.rows:,} accounts against {self.reference_rows:,} training rows{season}."

    @property
    def sentence(self) -> str:
        """Return the verdict in one sentence."""
        if self.broken:
            number = len(self.broken)
            return f"{number} thing{'s are' if number > 1 else ' is'} wrong with the newest snapshot."
        count, features = len(self.moved_features), sum(c.kind != "score" for c in self.columns)
        have = "they have" if count > 1 else "it has"
        moved = f"{count} of {features} columns moved; {have} {self.moved_weight:.0%} of the model's weight"
        if self.moved_scores:
            return f"The scores moved. {moved}." if count else "The scores moved, though no column that they depend on."
        if not count:
            return "Accounts and scores look like those the model learned from."
        return f"{moved}." if self.state == "watch" else f"{moved}, too little to matter."

    @property
    def advice(self) -> str:
        """Return what to do now."""
        if self.broken:
            names = [f.column or f.what for f in self.broken]
            return f"Repair the data before scores are used: {_join_names(names)}."
        if self.state == "ok":
            return "Nothing to do."
        named = _join_names([c.name for c in self.moved_features])
        if self.moved_scores:
            return "Look at the performance of the scores, train again, and compare the two models."
        return f"Does the business explain it? If not, look at the source of {named}; if so, train again and compare."

    def lines(self) -> Iterator[str]:
        """Yield a few lines for the terminal."""
        yield from _wrap(self.sentence)
        yield from _wrap(self.compared)
        if self.growing:
            grow = "columns grow" if len(self.growing) > 1 else "column grows"
            yield from _wrap(f"{len(self.growing)} {grow} with an account's age: not compared; the scores show it.")
        if not self.dated:
            yield from _wrap("This model does not know the dates of its training rows; train again to judge by season.")
        for finding in self.broken[:_LISTED]:
            yield from _wrap(f"  {finding}")
        if self.state != "ok":
            shown = (*self.moved_scores, *self.moved_features)
            yield from (part for column in shown[:_LISTED] for line in column.lines() for part in _wrap(f"  {line}"))
            if len(shown) > _LISTED:
                more = len(shown) - _LISTED
                yield f"  and {more} more column{'s' if more > 1 else ''}, see the page"
        yield from _wrap(self.advice)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "state": self.state,
            "sentence": self.sentence,
            "advice": self.advice,
            "rows": self.rows,
            "reference_rows": self.reference_rows,
            "season_rows": self.season_rows,
            "dated": self.dated,
            "growing": list(self.growing),
            "drifted": [c.name for c in self.drifted],
            "share": len(self.drifted) / len(self.columns) if self.columns else 0.0,
            "moved_weight": self.moved_weight,
            "findings": [asdict(f) for f in self.findings],
            "columns": [asdict(c) | {"drifted": c.drifted} for c in self.columns],
        }


def _wrap(text: str) -> list[str]:
    """Return the lines of a sentence; those after the first are indented."""
    indent = " " * (len(text) - len(text.lstrip()))
    return textwrap.wrap(text, _WIDTH, subsequent_indent=f"{indent}  ", drop_whitespace=True) or [""]


def _join_names(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
