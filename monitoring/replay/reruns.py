"""Run the alerts again over past instants in a scratch company: the code of production, from conditions to messages."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from features.core.progress import Progress, ignore
from features.core.timestamps import from_micros, to_micros
from features.settings import Settings
from features.sources.history import History
from features.state import database
from features.state.database import Store
from features.state.message_states import PENDING
from features.state.tables import ALERT_RUNS, OUTBOX, SCORES
from monitoring.alerts.run_alerts import run_alerts
from monitoring.notifications.dead_letters import SENT
from monitoring.replay import past_runs
from monitoring.replay.load_curve import assign_to_one
from monitoring.replay.period import PastRun
from monitoring.replay.scratch_company import make_scratch, name_decisions, share_snapshots
from serving.batch import run as batch
from serving.scoring.score_table import Explain, scores_folder
from serving.scoring.scorer import Scorer
from training.models.model import Model

SCORED = "scores"


@dataclass(frozen=True)
class ReplayedPart:
    """One part of the time, replayed.

    Args:
        settings: Of its scratch company.
        instants: At which alerts were raised, ascending.
        is_stored: Whether they acted on stored scores, of runs that took place.
        failed_acts: What people did with episodes that could not be repeated.
        left_out: Runs that took place whose scores have been replaced since.
    """

    settings: Settings
    instants: tuple[datetime, ...]
    is_stored: bool
    failed_acts: int = 0
    left_out: tuple[datetime, ...] = ()

    def open_state(self) -> Store:
        """Open its state database."""
        return database.open(self.settings)


@dataclass(frozen=True)
class ScoredPast:
    """Past instants with their scores in a scratch database, before any alert.

    Args:
        settings: Of the company.
        history: Of the company.
        folder: Of the scratch company.
        models: That gave the scores, by instant and target.
        runs: Those that took place, by instant; empty where scores are of the models of then.
        left_out: Runs that took place whose scores have been replaced since.
    """

    settings: Settings
    history: History
    folder: Path
    models: Mapping[datetime, Mapping[str, Model]]
    runs: Mapping[datetime, PastRun]
    left_out: tuple[datetime, ...] = ()

    @property
    def is_stored(self) -> bool:
        """Return whether the scores are those of runs that took place."""
        return bool(self.runs)

    def run(
        self,
        settings: Settings,
        real: Store,
        *,
        progress: Progress,
        with_acts: bool = True,
        assigned: Sequence[str] = (),
    ) -> ReplayedPart:
        """Raise alerts at each instant, by some settings; what is finished is not repeated.

        Args:
            settings: To decide by, such as with other capacity.
            real: The state database, with what people noted and did.
            progress: Called after each instant.
            with_acts: Whether people's acts on episodes are repeated too.
            assigned: Accounts that one person answers for, whose time is limited.
        """
        instants = tuple(sorted(self.models))
        begin = instants[0] if instants else ""
        scratch = make_scratch(
            settings,
            self.folder,
            name_decisions(settings, begin, with_acts, bool(assigned)),
            with_experiment=self.is_stored,
        )
        self._copy_scores(scratch)
        failed = 0
        with database.open(scratch) as store:
            done = _read_done(store)
            before = 0
            for number, at in enumerate(instants):
                run = self.runs.get(at)
                if run is not None and with_acts:
                    is_done = to_micros(at) in done
                    failed += 0 if is_done else past_runs.repeat_acts(real, store, since=before, until=run.run_at)
                    before = run.run_at
                if to_micros(at) not in done:
                    if run is not None:
                        past_runs.copy_notes(real, store, run)
                    if assigned:
                        assign_to_one(store, assigned)
                    now = from_micros(run.run_at) if run else at
                    run_alerts(
                        scratch,
                        store,
                        self.history,
                        self.models[at],
                        as_of=at,
                        now=now,
                        with_text=run is not None and with_acts,
                    )
                    _mark_sent(store, at)
                progress("alerts", number + 1, len(instants))
        return ReplayedPart(scratch, instants, self.is_stored, failed, self.left_out)

    def _copy_scores(self, scratch: Settings) -> None:
        """Begin the state database of a rerun with all scores."""
        file, scored = (Path(str(sa.make_url(s.state).database)) for s in (scratch, self._scored()))
        if not file.exists():
            part = file.with_suffix(".part")
            shutil.copyfile(scored, part)
            part.replace(file)

    def _scored(self) -> Settings:
        return make_scratch(self.settings, self.folder, SCORED, with_experiment=False)


def score_past(
    settings: Settings,
    history: History,
    folder: Path,
    models: Mapping[datetime, Mapping[str, Model]],
    *,
    progress: Progress,
) -> ScoredPast:
    """Score every account at past instants by the models of then; instants that are scored are not scored again."""
    scratch = make_scratch(settings, folder, SCORED, with_experiment=False)
    share_snapshots(settings, scratch)
    with database.open(scratch) as store:
        done = _read_scored(store)
        for number, at in enumerate(sorted(models)):
            if to_micros(at) not in done:
                scorer = Scorer(dict(models[at]), history.catalog)
                table = batch.build_scores(
                    scratch, store, history, scorer=scorer, as_of=at, explain=Explain.ALL, progress=ignore
                )
                table.write(scores_folder(scratch))
                store.write_scores(batch.build_records(table), replacing=at)
            progress("scores", number + 1, len(models))
    return ScoredPast(settings, history, folder, models, {})


def read_past(  # noqa: PLR0913  # all but the first named
    settings: Settings, history: History, real: Store, folder: Path, runs: Sequence[PastRun], *, progress: Progress
) -> ScoredPast:
    """Bring the scores of runs that took place into the scratch company.

    Raises:
        GarrisonError: A model that gave them is gone.
    """
    scratch = make_scratch(settings, folder, SCORED, with_experiment=False)
    models: dict[datetime, Mapping[str, Model]] = {}
    loaded: dict[str, Model] = {}
    left_out = list[datetime]()
    with database.open(scratch) as store:
        done = _read_scored(store)
        for number, run in enumerate(runs):
            at = from_micros(run.as_of)
            if run.as_of in done or past_runs.copy_scores(real, store, run):
                past_runs.link_files(settings, scratch, at)
                models[at] = past_runs.load_models(settings, store, run, loaded)
            else:
                left_out.append(at)
            progress("scores of then", number + 1, len(runs))
    by_instant = {from_micros(run.as_of): run for run in runs if from_micros(run.as_of) in models}
    return ScoredPast(settings, history, folder, models, by_instant, tuple(left_out))


def _read_done(store: Store) -> frozenset[int]:
    with store.reading() as connection:
        return frozenset(connection.scalars(sa.select(ALERT_RUNS.c.as_of)))


def _read_scored(store: Store) -> frozenset[int]:
    with store.reading() as connection:
        return frozenset(connection.scalars(sa.select(SCORES.c.as_of).distinct()))


def _mark_sent(store: Store, at: datetime) -> None:
    """Mark the messages of a rerun as sent at its instant: nothing is sent, and their fate is not what is asked."""
    with store.writing() as connection:
        sent = {"state": SENT, "sent_at": to_micros(at)}
        connection.execute(sa.update(OUTBOX).where(OUTBOX.c.state == PENDING).values(**sent))
