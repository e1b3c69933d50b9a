"""One fault of a source, told with the figure that shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["watch", "hold"]


@dataclass(frozen=True)
class SourceFinding:
    """One fault of a source.

    Args:
        source: The table in the contract, such as usage.
        kind: The fault in one word, such as silent, halved, repeated, shifted, unit, currency or ids.
        severity: `hold` where scores made from it must not be acted on, `watch` where a person should look.
        text: The fault in one sentence with its figure and its usual value, without a full stop.
        figures: The figures behind the sentence, by name.
    """

    source: str
    kind: str
    severity: Severity
    text: str
    figures: Mapping[str, float | str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.source}: {self.text}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


def pick_worst(findings: Sequence[SourceFinding]) -> SourceFinding | None:
    """Return the finding that holds a run, and of several the one farthest from its usual; None without any."""
    return min(findings, key=lambda finding: (finding.severity != "hold", -_distance(finding)), default=None)


def _distance(finding: SourceFinding) -> float:
    """Return how far a finding is from its usual: in spreads, or as a share where it has none."""
    return abs(float(finding.figures.get("z", finding.figures.get("share", 0))))
