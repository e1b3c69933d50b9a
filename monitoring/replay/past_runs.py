"""Bring the runs that took place into a scratch state database: scores as known then, and what people had done."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.core.timestamps import from_micros
from features.settings import Settings
from features.state.database import Store
from features.state.experiment_tables import EXPERIMENTS
from features.state.portfolio_tables import ASSIGNMENTS
from features.state.tables import ABSENCES, EPISODE_EVENTS, MUTES, SCORES
from monitoring.alerts import acts, kinds
from monitoring.alerts.queries import RUN
from monitoring.replay.period import PastRun
from serving.scoring import score_table, snapshot_store
from training.models.model import Model
from training.registry import promotion_log

# What people wrote beside episodes, by the columns that say since when it was known, and when it was withdrawn.
_NOTES = (
    (MUTES, "at", None),
    (ABSENCES, "noted_at", "withdrawn_at"),
    (ASSIGNMENTS, "at", None),
    (EXPERIMENTS, "started_at", "stopped_at"),
)
# Columns that are empty until an experiment is stopped.
_OF_STOP = ("stopped_by", "stop_rule", "stop_reason")


def copy_scores(real: Store, scratch: Store, run: PastRun) -> bool:
    """Copy the scores that a run acted on; return False if they have been replaced by those of another model since."""
    with real.reading() as connection:
        rows = [
            dict(row) for row in connection.execute(sa.select(SCORES).where(SCORES.c.as_of == run.as_of)).mappings()
        ]
    if not any(row["target"] == kinds.CHURN and row["model"] == run.model for row in rows):
        return False
    with scratch.writing() as connection:
        connection.execute(sa.delete(SCORES).where(SCORES.c.as_of == run.as_of))
        connection.execute(sa.insert(SCORES), rows)
    return True


def link_files(settings: Settings, scratch: Settings, as_of: datetime) -> None:
    """Let the scratch company find the snapshot and the score table that a run read."""
    for locate in (score_table.scores_folder, snapshot_store.snapshots_folder):
        file, link = (score_table.file_at(locate(of), as_of).absolute() for of in (settings, scratch))
        if file.exists() and not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)


def load_models(settings: Settings, scratch: Store, run: PastRun, loaded: dict[str, Model]) -> Mapping[str, Model]:
    """Load the models whose scores a run acted on, by target; `loaded` keeps them by version.

    Raises:
        RegistryError: One is gone.
    """
    c = SCORES.c
    with scratch.reading() as connection:
        found = connection.execute(sa.select(c.target, c.model).where(c.as_of == run.as_of).distinct()).all()
    promotions = {p.version: p for p in promotion_log.read_promotions(settings)}
    for _, version in found:
        if version not in loaded:
            if version not in promotions:
                raise GarrisonError(
                    f"the model {version} is gone", found="no promotion of it", hint="Replay a time after it served"
                )
            loaded[version] = promotion_log.load_model(settings, promotions[version])
    return {target: loaded[version] for target, version in found}


def copy_notes(real: Store, scratch: Store, run: PastRun) -> None:
    """Copy mutes, absences, assigned owners and stopped experiments as they were known when a run began."""
    for table, known, withdrawn in _NOTES:
        with real.reading() as connection:
            rows = [
                dict(r) for r in connection.execute(sa.select(table).where(table.c[known] <= run.run_at)).mappings()
            ]
        if table is EXPERIMENTS:  # one that goes on is begun by the run itself
            rows = [row for row in rows if row["stopped_at"] is not None and row["stopped_at"] <= run.run_at]
        elif withdrawn:
            rows = [row | {withdrawn: _keep_before(row[withdrawn], run.run_at)} for row in rows]
        if table is EXPERIMENTS:
            _stop_experiments(scratch, rows)
            continue
        with scratch.writing() as connection:
            connection.execute(sa.delete(table))
            if rows:
                connection.execute(sa.insert(table), rows)


def repeat_acts(real: Store, scratch: Store, *, since: int, until: int) -> int:
    """Repeat what people did with episodes in `(since, until]` (µs); return how many acts could not be repeated.

    An act can't be repeated where the replay has no such episode, or it is in another state.
    """
    c, failed = EPISODE_EVENTS.c, 0
    theirs = (c.event.in_(kinds.DECISIONS), c.by != RUN, c.at > since, c.at <= until)
    with real.reading() as connection:
        rows = connection.execute(sa.select(EPISODE_EVENTS).where(*theirs).order_by(c.at, c.seq)).mappings().all()
    for row in rows:
        try:
            _repeat(scratch, row)
        except GarrisonError:
            failed += 1
    return failed


def _repeat(scratch: Store, row: Mapping[Any, Any]) -> None:
    details, now = dict(row["details"]), from_micros(row["at"])
    given: dict[str, Any] = {"by": row["by"], "reason": details.get("reason", ""), "now": now}
    episode = row["episode_id"]
    if row["event"] == kinds.ACKNOWLEDGED:
        acts.acknowledge(scratch, episode, **given)
    elif row["event"] == kinds.SNOOZED:
        acts.snooze(scratch, episode, until=datetime.fromisoformat(details["until"]), **given)
    elif row["event"] == kinds.ENDED:
        acts.close(scratch, episode, outcome=details["outcome"], **given)
    else:
        acts.hand_over(scratch, episode, to=details["to"], **given)


def _keep_before(withdrawn: int | None, at: int) -> int | None:
    return withdrawn if withdrawn is not None and withdrawn <= at else None


def _stop_experiments(scratch: Store, rows: list[dict[str, Any]]) -> None:
    """Stop in the scratch database the experiments that were stopped."""
    with scratch.writing() as connection:
        for row in rows:
            stop = {name: row[name] for name in ("stopped_at", *_OF_STOP)}
            of_name = EXPERIMENTS.c.name == row["name"]
            if not connection.execute(sa.update(EXPERIMENTS).where(of_name).values(**stop)).rowcount:
                connection.execute(sa.insert(EXPERIMENTS), row)
