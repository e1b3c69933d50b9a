"""Score every account at one instant, into the store and to a destination; safe to run again at any time."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic_core import from_json

from features.core.progress import Progress, ignore
from features.core.redaction import hide_password
from features.core.timestamps import to_micros
from features.engine import snapshot_cache, snapshots
from features.settings import Settings
from features.sources import table_cache
from features.sources.history import History
from features.state import database
from features.state.database import Store
from serving.delivery import deliver, destinations
from serving.delivery.report import DeliveryReport
from serving.gate import verdict_store
from serving.gate.judge import judge_run, load_snapshot
from serving.gate.scored_run import ScoredRun
from serving.gate.verdict_store import JudgedRun
from serving.scoring import score_table, snapshot_store
from serving.scoring.advice import CHURN
from serving.scoring.score_table import Explain, PreviousScores, ScoreTable, build_table
from serving.scoring.scorer import Scorer, load_champions
from serving.scoring.snapshot_store import SnapshotWriter, StoredSnapshot
from serving.tiers import course, tier_store
from training.decisions import tier_sides

# Rows that go to a destination at a time.
CHUNK = 50_000


@dataclass(frozen=True)
class BatchRun:
    """A batch's scores, whether they may be acted on, and where they went.

    Args:
        scorer: The champions.
        scores: Of every account.
        stored: Rows written to the state database.
        judged: The verdict on the run, and what a person decided about it.
        delivery: What became of the rows at the destination; None without one, and where the run is held.
    """

    scorer: Scorer
    scores: ScoreTable
    stored: int
    judged: JudgedRun
    delivery: DeliveryReport | None = None

    def summary(self) -> dict[str, Any]:
        """Return what was scored for machines, ready for JSON."""
        table = self.scores.table
        targets = {}
        for name, (target, horizon) in self.scores.score_names.items():
            rate = self.scorer.models[target].base_rates[horizon]
            # The base rate is that of a cohort: so is what is compared with it. Where nobody knows it, all count.
            scores = table[name].filter(pc.fill_null(table[f"in_cohort_{target}"], True))
            above = pc.sum(pc.greater(scores, rate)).as_py() or 0
            mean = {"mean": pc.mean(scores).as_py(), "base_rate": rate, "above": above}
            targets[name] = {"cohort": len(scores), **mean}
        return {
            "as_of": self.scores.as_of.isoformat(),
            "accounts": table.num_rows,
            "rows": self.stored,
            "sources": list(self.scores.sources),
            "models": dict(self.scores.model_versions),
            "targets": targets,
            "verdict": self.judged.as_dict(),
        }


def score_accounts(  # noqa: PLR0913  # all but the first two named
    settings: Settings,
    to: str | None,
    *,
    as_of: datetime | None = None,
    explain: Explain = Explain.ALL,
    dry_run: bool = False,
    everything: bool = False,
    even_if_held: bool = False,
    result: Path | None = None,
    progress: Progress = ignore,
) -> BatchRun:
    """Score every account created before `as_of`, and judge the run before it is delivered.

    Accounts are scored some at a time; only their rows of the score table stay in memory until the end. The order is:
    snapshot file, score file, store, verdict, destination. Each is written whole or not at all, so a run that was
    killed is mended by running it again.

    Args:
        settings: The company's.
        to: A destination; None for the store alone.
        as_of: Data should be up to date at this instant. Default: the scores are of the midnight that ends the last
            day with an event, and data should be up to date now.
        explain: Whose scores get drivers.
        dry_run: Find what would change at the destination, and change nothing there.
        everything: Send unchanged rows too.
        even_if_held: Deliver a held run too; that is logged with the decisions on runs.
        result: A CSV file for every row's status at the destination.
        progress: Called with each step and how much of it is done.

    Raises:
        GarrisonError: There is no champion or no account, another delivery to the destination is running, or a file or
            database can't be read or written.
    """
    if to is not None:
        destinations.check_destination(to, settings)
    scorer, until = load_champions(settings), as_of or datetime.now(UTC)
    with database.open(settings) as state:
        if to is not None and not dry_run:
            deliver.check_not_running(settings, state, to)
        progress("history")
        with History.open(settings) as history:
            if to is not None:
                destinations.check_capacity(to, history.count_rows())
            as_of = as_of or settings.company.data_until or snapshots.find_latest_as_of(history)
            scores = build_scores(
                settings, state, history, scorer=scorer, as_of=as_of, explain=explain, progress=progress
            )
            stored = _store(settings, state, history, scores, progress)
            progress("verdict")
            judged = _judge(settings, state, history, scorer=scorer, scores=scores, until=until)
        if to is None or not (judged.is_accepted or even_if_held or dry_run):
            return BatchRun(scorer, scores, stored, judged)
        if not (judged.is_accepted or dry_run):
            reason = f"delivered to {hide_password(to)} although held"
            verdict_store.write_decision(state, judged.verdict, "delivered", reason=reason)
        progress("destination")
        delivery = deliver.deliver(
            settings,
            state,
            build_frames(settings, scores),
            to,
            dry_run=dry_run,
            everything=everything,
            result=result,
            progress=progress,
        )
    return BatchRun(scorer, scores, stored, judged, delivery)


def _store(settings: Settings, state: Store, history: History, scores: ScoreTable, progress: Progress) -> int:
    """Store the scores as a file and in the state database; return the number of rows there."""
    scores.write(score_table.scores_folder(settings))
    if history.cache and score_table.find_newest(settings) == scores.file(settings):
        table_cache.pin_cache(settings, history.cache.key)
    rows = _count(build_records(scores), scores.table.num_rows * len(scores.score_names), progress)
    return state.write_scores(rows, replacing=scores.as_of)


def _judge(  # noqa: PLR0913  # all but the first three named
    settings: Settings, state: Store, history: History, *, scorer: Scorer, scores: ScoreTable, until: datetime
) -> JudgedRun:
    """Judge the run, and store the verdict."""
    run = ScoredRun.from_table(scores)
    snapshot = load_snapshot(settings, history, run, scorer.models)
    verdict = judge_run(settings, history, state=state, models=scorer.models, run=run, snapshot=snapshot, until=until)
    return verdict_store.write_verdict(state, verdict)


def build_scores(  # noqa: PLR0913  # all but the first three named
    settings: Settings,
    state: Store,
    history: History,
    *,
    scorer: Scorer,
    as_of: datetime,
    explain: Explain,
    progress: Progress,
) -> ScoreTable:
    """Score every account, and store its snapshot on the way.

    Args:
        settings: The company's; scores and snapshots lie in its folder.
        state: Its state database, which keeps what tiers are cut by.
        history: Its history.
        scorer: The models.
        as_of: The instant to look from.
        explain: Whose scores get drivers.
        progress: Called with the accounts scored so far.
    """
    run, accounts = uuid.uuid4().hex, history.count_rows()
    previous = PreviousScores.load(score_table.scores_folder(settings), as_of)
    tables: list[pa.Table] = []
    tier_inputs: list[pd.DataFrame] = []
    with SnapshotWriter(snapshot_store.snapshots_folder(settings), as_of, run) as writer:
        progress("scores", 0, accounts)
        parts = _score_parts(settings, history, scorer, as_of=as_of, explain=explain, previous=previous)
        for part, table in parts:
            writer.add(part)
            tables.append(table)
            progress("scores", sum(table.num_rows for table in tables), accounts)
            tier_inputs.append(part.frame[["account_id", *(c for c in tier_sides.WANTED if c in part.frame)]])
    tiers = tier_store.build_tiers(
        settings,
        state,
        pd.concat(tier_inputs, ignore_index=True),
        as_of=as_of,
        before=previous.tiers if previous else None,
    )
    return ScoreTable(
        as_of=as_of,
        run=run,
        model_versions={target: model.version for target, model in scorer.models.items()},
        horizons={target: model.horizons for target, model in scorer.models.items()},
        catalog=scorer.catalog.version,
        sources=history.sources,
        previous=previous,
        table=score_table.append_tiers(pa.concat_tables(tables), tiers.table[[*course.COLUMNS]]),
    )


def _score_parts(  # noqa: PLR0913  # all but the first three named
    settings: Settings,
    history: History,
    scorer: Scorer,
    *,
    as_of: datetime,
    explain: Explain,
    previous: PreviousScores | None,
) -> Iterator[tuple[StoredSnapshot, pa.Table]]:
    """Yield some accounts' snapshots and score rows at a time, in the order of ids."""
    if history.engine.kind == "spark":
        from serving.batch import spark

        yield from spark.score_parts(settings, history, scorer, as_of=as_of, explain=explain, previous=previous)
        return
    tables = snapshot_cache.read_cached_parts(settings, history, as_of)
    for part in StoredSnapshot.build_parts(settings, history, as_of, tables):
        yield part, build_table(settings, scorer, part.prepare(scorer), explain=explain, previous=previous)


def build_records(scores: ScoreTable) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of the state database's table of scores, each in the order of its columns."""
    scored_at, as_of = to_micros(datetime.now(UTC)), to_micros(scores.as_of)
    shared = (scores.catalog, ",".join(scores.sources))
    for part in scores.table.to_batches(CHUNK):
        ids, value = part["account_id"].to_pylist(), part["value"].to_pylist()
        for name, (target, horizon) in scores.score_names.items():
            in_cohort = part[f"in_cohort_{target}"].to_pylist()
            drivers = part[f"{name}_drivers"].fill_null("[]").to_pylist()
            for account_id, score, *rest in zip(ids, part[name].to_pylist(), value, in_cohort, drivers, strict=True):
                model = (scores.model_versions[target], *shared)
                yield (account_id, as_of, target, horizon, score, *model, *rest, scored_at)


def _count(rows: Iterator[tuple[Any, ...]], total: int, progress: Progress) -> Iterator[tuple[Any, ...]]:
    """Yield the rows, and report how many have gone by."""
    for i, row in enumerate(rows):
        if i % CHUNK == 0:
            progress("store", i, total)
        yield row


def build_frames(settings: Settings, scores: ScoreTable) -> Iterator[pd.DataFrame]:
    """Yield frames of one row an account, for people and CRMs; some accounts at a time.

    Yields:
        account_id, as_of; a score a target and horizon (`churn_90d`), the ends of its 90 % interval (`churn_90d_low`,
        `churn_90d_high`) and how it has moved since the last (`churn_90d_trend`); value_at_risk and drivers (those of
        the churn that alerts go by, in words), upsell_value, value, tier, recommendation (missing outside the cohort),
        why, next_sale_days, sources, model (the versions), in_cohort (that of churn).
    """
    for batch in scores.table.to_batches(CHUNK):
        part, columns = batch.to_pandas(), {}
        for name in scores.score_names:
            columns[name] = part[name]
            for end in ("low", "high"):
                columns[f"{name}_{end}"] = part.get(f"{name}_{end}", pd.Series(np.nan, index=part.index))
            columns[f"{name}_trend"] = part[name] - part[f"{name}_before"]
        risk = f"{CHURN}_{settings.alert_horizon}d"
        upsell = [name for name, (target, _) in scores.score_names.items() if target != CHURN]
        unknown = pd.Series(np.nan, index=part.index)
        empty = pd.Series(None, index=part.index, dtype=object)
        columns |= {
            "value": part["value"],
            "value_at_risk": part.get(f"{risk}_value", unknown),
            "upsell_value": part[f"{upsell[-1]}_value"] if upsell else unknown,
            "tier": part["tier"],
            "recommendation": part["recommendation"],
            "why": part["why"],
            "next_sale_days": part["next_sale_days"],
            "drivers": [_words(text) for text in part.get(f"{risk}_drivers", empty)],
            "sources": ",".join(scores.sources),
            "model": ",".join(scores.model_versions.values()),
            "in_cohort": part.get(f"in_cohort_{CHURN}", empty).astype("boolean"),
        }
        yield pd.DataFrame({"account_id": part["account_id"], "as_of": pd.Timestamp(scores.as_of), **columns})


def _words(drivers: str | None) -> str:
    """Return drivers in words, from JSON."""
    return "; ".join(driver["text"] for driver in from_json(drivers)) if isinstance(drivers, str) else ""
