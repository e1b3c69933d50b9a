"""Judge a scored run: its sources, the columns that the champions read, its scores, and its accounts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from features.diagnostics.source_health import check_sources
from features.settings import Settings
from features.sources.history import History
from features.state.database import Store
from serving.gate import verdict_store
from serving.gate.account_counts import judge_account_counts
from serving.gate.schema_checks import check_schema, select_model_columns
from serving.gate.score_shift import measure_score_shifts, select_reasons
from serving.gate.scored_run import ScoredRun
from serving.gate.verdict import Reason, RunVerdict
from serving.scoring import score_table, snapshot_store
from serving.scoring.score_table import ScoreTable
from serving.scoring.snapshot_store import StoredSnapshot
from training.models.model import Model

# Accounts whose columns are looked at: a sample of more is enough to see that a column broke.
_ROWS = 20_000
_NAMED = 3
# Earlier runs among which the last accepted one is looked for.
_RUNS = 100


def judge_run(  # noqa: PLR0913  # all but the first two named
    settings: Settings,
    history: History,
    *,
    state: Store,
    models: Mapping[str, Model],
    run: ScoredRun,
    snapshot: StoredSnapshot,
    until: datetime,
) -> RunVerdict:
    """Judge a scored run; nothing is written.

    Args:
        settings: The company's.
        history: Its history.
        state: Its state database, which holds earlier verdicts.
        models: The champions, by target.
        run: The run.
        snapshot: That it scored, from `load_snapshot`.
        until: The instant at which the data should be up to date.

    Raises:
        GarrisonError: The last accepted run can't be read.
    """
    accepted = find_last_accepted(settings, state, run.as_of)
    shifts = tuple(measure_score_shifts(run, accepted, models))
    reasons = [
        *_judge_sources(settings, history, until),
        *_judge_columns(snapshot, models),
        *judge_account_counts(run, accepted),
        *select_reasons(shifts),
    ]
    figures = {"accounts": float(len(run.accounts))}
    figures |= {f"cohort {target}": float(number) for target, number in run.cohorts.items()}
    figures |= {f"mean {shift.name}": shift.means[1] for shift in shifts}
    figures |= {f"psi {shift.name}": shift.psi for shift in shifts}
    return RunVerdict(
        run=run.run,
        as_of=run.as_of,
        judged_at=datetime.now(UTC),
        judged_until=until,
        reasons=tuple(sorted(reasons, key=lambda reason: reason.state != "hold")),
        figures=figures,
        compared_with=accepted.run if accepted else None,
        models=run.models,
    )


def find_last_accepted(settings: Settings, state: Store, before: datetime) -> ScoredRun | None:
    """Find the newest accepted run of an earlier `as_of` whose scores are still stored; None before the first."""
    for judged in verdict_store.read_history(state, before=before, limit=_RUNS):
        file = score_table.find_stored(settings, judged.verdict.as_of) if judged.is_accepted else None
        if file is not None:
            table = ScoreTable.read(file)
            if table.run == judged.verdict.run:
                return ScoredRun.from_table(table)
    return None


def _judge_sources(settings: Settings, history: History, until: datetime) -> Iterator[Reason]:
    for fault in check_sources(settings, history, as_of=until):
        yield Reason("source", fault.source, fault.severity, fault.text, fault.figures)


def _judge_columns(snapshot: StoredSnapshot, models: Mapping[str, Model]) -> Iterator[Reason]:
    """Yield the faults of the columns that the champions read; columns with the same fault share one reason."""
    columns: dict[str, dict[str, None]] = {}
    for model in models.values():
        for finding in check_schema(*select_model_columns(model, snapshot)).findings:
            if finding.breaks:
                columns.setdefault(finding.what, {})[finding.column or "snapshot"] = None
    for what, names in columns.items():
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        yield Reason("column", ", ".join(list(names)[:_NAMED]) + more, "hold", what, {"columns": len(names)})


def load_snapshot(settings: Settings, history: History, run: ScoredRun, models: Mapping[str, Model]) -> StoredSnapshot:
    """Load the snapshot behind a run's scores; if it is not stored here, build it again."""
    file = snapshot_store.find_stored(settings, run.as_of)
    wanted = {name for model in models.values() for name in model.features}
    if file is not None:
        return StoredSnapshot.read(file, wanted, most=_ROWS)
    return StoredSnapshot.build(settings, history, run.as_of)
