"""Judge the stored scores again before alerts go out: data may have aged since they were scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from features.settings import Settings
from features.sources.history import History
from features.state.database import Store
from monitoring.drift import drift_report
from serving.gate import verdict_store
from serving.gate.judge import judge_run, load_snapshot
from serving.gate.scored_run import ScoredRun
from serving.gate.verdict_store import JudgedRun
from training.models.model import Model


def check_gate(  # noqa: PLR0913  # all but the first three named
    settings: Settings,
    history: History,
    state: Store,
    *,
    models: Mapping[str, Model],
    scored: datetime,
    until: datetime,
    dry_run: bool = False,
) -> JudgedRun:
    """Judge a scored run, also by what moved since training, and store the verdict.

    Args:
        settings: The company's.
        history: Its history.
        state: Its state database.
        models: The champions, by target.
        scored: The `as_of` of the scores.
        until: The instant at which the data should be up to date.
        dry_run: Store nothing.

    Raises:
        GarrisonError: There are no scores of that instant, or they can't be read.
    """
    run = ScoredRun.read(settings, state, scored)
    snapshot = load_snapshot(settings, history, run, models)
    verdict = judge_run(settings, history, state=state, models=models, run=run, snapshot=snapshot, until=until)
    if verdict.state != "hold":
        moved = drift_report.judge_columns(settings, models, snapshot, history.catalog)
        verdict = replace(verdict, reasons=(*verdict.reasons, *moved))
    return (verdict_store.look_up_decision if dry_run else verdict_store.write_verdict)(state, verdict)
