"""Say in figures and words whether the accounts still look like those that the model learned from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pandas as pd

from serving.gate.binning import is_numeric
from serving.gate.schema_checks import Finding

State = Literal["stable", "drifted", "broken"]
Kind = Literal["number", "category", "score"]
# Above this share of moved columns the model itself is in question, not a source or two.
_MUCH = 0.3
_NAMED, _LISTED = 5, 12


@dataclass(frozen=True)
class ColumnDrift:
    """The shift of one column between training and now.

    Args:
        name: Of the feature, or of the score.
        kind: Numbers are compared by their quantiles in training, categories by their values.
        psi: Population stability index, >= 0.
        threshold: The PSI from which it counts: 0.1, or more where so much comes by chance.
        bins: The number of bins that the index is a sum over.
        missing: Share of rows without a value, in training and now.
        typical: Mean in training and now; None for categories.
        unseen: Share of rows with a category that training never saw; 0 for numbers.
    """

    name: str
    kind: Kind
    psi: float
    threshold: float
    bins: int
    missing: tuple[float, float]
    typical: tuple[float, float] | None = None
    unseen: float = 0.0

    @property
    def drifted(self) -> bool:
        """Return whether it moved further than chance explains, and enough to matter."""
        return self.psi >= self.threshold

    def __str__(self) -> str:
        text = f"{self.name}: PSI {self.psi:.2f} (counts from {self.threshold:.2f})"
        if self.typical is not None:
            text += f", mean {self.typical[0]:.4g} -> {self.typical[1]:.4g}"
        if abs(self.missing[1] - self.missing[0]) >= 0.01:
            text += f", missing {self.missing[0]:.0%} -> {self.missing[1]:.0%}"
        return text + (f", {self.unseen:.0%} in categories new since training" if self.unseen else "")


@dataclass(frozen=True)
class Verdict:
    """The comparison of the newest snapshot with the training snapshots.

    Args:
        columns: All that were compared; first the one that moved most against its threshold.
        findings: The faults found before the comparison.
        rows: Of the newest snapshot that were compared.
        reference_rows: Of the training snapshots, likewise.
    """

    columns: tuple[ColumnDrift, ...]
    findings: tuple[Finding, ...]
    rows: int
    reference_rows: int

    @property
    def state(self) -> State:
        """Return "broken" if the scores can't be trusted, "drifted" if a column moved, else "stable"."""
        if any(f.breaks for f in self.findings):
            return "broken"
        return "drifted" if self.drifted else "stable"

    @property
    def drifted(self) -> tuple[ColumnDrift, ...]:
        """Return the columns that moved, the most moved first."""
        return tuple(c for c in self.columns if c.drifted)

    @property
    def share(self) -> float:
        """Return the share of the compared columns that moved."""
        return len(self.drifted) / len(self.columns) if self.columns else 0.0

    @property
    def sentence(self) -> str:
        """Return the verdict in one sentence."""
        rows = f"{self.rows:,} accounts compared with {self.reference_rows:,} training rows"
        if self.state == "broken":
            number = sum(f.breaks for f in self.findings)
            return f"Broken: {number} thing{'s are' if number > 1 else ' is'} wrong with the newest snapshot ({rows})."
        if self.state == "drifted":
            return f"Drifted: {len(self.drifted)} of {len(self.columns)} columns moved ({rows})."
        return f"Stable: none of {len(self.columns)} columns moved more than chance explains ({rows})."

    @property
    def advice(self) -> str:
        """Return what to do now."""
        if self.state == "broken":
            names = [f.column or f.what for f in self.findings if f.breaks]
            return f"Repair the data before scores are used: {', '.join(names[:_NAMED])}{_more(names)}."
        names = [c.name for c in self.drifted]
        named = f"{', '.join(names[:_NAMED])}{_more(names)}"
        if any(c.kind == "score" for c in self.drifted):
            return "The scores themselves moved: look at their performance, train again, and compare the two models."
        if self.share > _MUCH:
            return f"Much has moved ({named}): train again and compare the two models."
        if self.drifted:
            return f"See whether the business explains it; if not, look at the source of {named}."
        return "Nothing to do."

    def lines(self) -> Iterator[str]:
        """Yield a few lines for the terminal."""
        yield self.sentence
        if self.columns:
            least = min(c.threshold for c in self.columns)
            yield f"With this many rows, a shift shows from a PSI of {least:.2f}."
        harmless = [str(f) for f in self.findings if not f.breaks]
        yield from (f"  {finding}" for finding in self.findings if finding.breaks)
        yield from (f"  {finding} (does no harm)" for finding in harmless[:_NAMED])
        if len(harmless) > _NAMED:
            yield f"  {len(harmless) - _NAMED} more findings that do no harm"
        yield from (f"  {column}" for column in self.drifted[:_LISTED])
        if len(self.drifted) > _LISTED:
            yield f"  and {len(self.drifted) - _LISTED} more columns"
        yield self.advice

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "state": self.state,
            "sentence": self.sentence,
            "advice": self.advice,
            "rows": self.rows,
            "reference_rows": self.reference_rows,
            "drifted": [c.name for c in self.drifted],
            "share": self.share,
            "findings": [asdict(f) for f in self.findings],
            "columns": [asdict(c) | {"drifted": c.drifted} for c in self.columns],
        }


def describe_column(before: pd.Series, now: pd.Series) -> dict[str, Any]:
    """Return further figures of a column by their names in `ColumnDrift`: kind, missing, typical, unseen."""
    missing = float(before.isna().mean()), float(now.isna().mean())
    if is_numeric(before):
        return {"kind": "number", "missing": missing, "typical": (float(before.mean()), float(now.mean()))}
    unseen = float((now.notna() & ~now.isin(before.dropna().unique())).mean())
    return {"kind": "category", "missing": missing, "unseen": unseen}


def _more(names: list[str]) -> str:
    return f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
