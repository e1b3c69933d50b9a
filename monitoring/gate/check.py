"""The gate: check whether alerts may go out on this run. Late or broken data must not wake anybody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from features.diagnostics.source_findings import SourceFinding
from features.diagnostics.source_health import check_sources
from features.settings import Settings
from features.sources.history import History
from serving.gate.schema_checks import Finding, check_schema, select_model_columns
from serving.scoring import score_table, snapshot_store
from serving.scoring.snapshot_store import StoredSnapshot
from training.models.model import Model


@dataclass(frozen=True)
class Gate:
    """Open when nothing speaks against alerts; otherwise each reason, in words."""

    reasons: tuple[str, ...]

    @property
    def state(self) -> Literal["open", "closed"]:
        """Return whether alerts may go out."""
        return "closed" if self.reasons else "open"

    def lines(self) -> tuple[str, ...]:
        """Return the lines for the terminal."""
        if not self.reasons:
            return ("Alerts may go out.",)
        return ("No alerts may go out:", *(f"  {reason}" for reason in self.reasons))

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"state": self.state, **asdict(self)}


def check_gate(
    settings: Settings, history: History, *, model: Model, scored: datetime, as_of: datetime | None = None
) -> Gate:
    """Open or close the gate for one run, after the history and the snapshot that was scored.

    Args:
        settings: The company's.
        history: Its history.
        model: The champion that gave the scores.
        scored: The `as_of` of the scores.
        as_of: The instant at which the data should be up to date; None for now.
    """
    now = as_of or datetime.now(UTC)
    sources = check_sources(settings, history, as_of=now)
    return decide_gate(
        sources, check_schema(*select_model_columns(model, _load_snapshot(settings, history, model, scored))).findings
    )


def decide_gate(sources: Sequence[SourceFinding], findings: Sequence[Finding]) -> Gate:
    """Open or close the gate. Drift alone does not close it, since a moved column may be the business itself.

    Args:
        sources: Faults of the sources; only those that hold a run count.
        findings: About the columns that the champion reads; only those that break its scores count.
    """
    return Gate(tuple(_reasons(sources, findings)))


def _reasons(sources: Sequence[SourceFinding], findings: Sequence[Finding]) -> Iterator[str]:
    yield from (f"{fault.source} {fault.text}" for fault in sources if fault.severity == "hold")
    yield from (f"the snapshot is broken: {finding}" for finding in findings if finding.breaks)


def _load_snapshot(settings: Settings, history: History, model: Model, scored: datetime) -> StoredSnapshot:
    """Load the snapshot behind the scores; if it is not stored here, take it again."""
    file = score_table.file_at(snapshot_store.snapshots_folder(settings), scored)
    if file.exists():
        return StoredSnapshot.read(file, model.features)
    return StoredSnapshot.build(settings, history, scored)
