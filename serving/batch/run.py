"""Batch scoring: every account at one instant, into the store and to a destination; safe to run again at any time."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic_core import from_json

from features.core.timestamps import to_micros
from features.engine import snapshots
from features.settings import Settings
from features.sources import table_cache
from features.sources.history import History
from features.state import database
from serving.delivery import deliver, destinations
from serving.delivery.deliver import DeliveryReport
from serving.scoring import score_table, snapshot_store, tiers
from serving.scoring.advice import CHURN
from serving.scoring.score_table import Explain, PreviousScores, ScoreTable, build_table
from serving.scoring.scorer import Scorer, load_champions
from serving.scoring.snapshot_store import SnapshotWriter, StoredSnapshot

# Rows that go to a destination at a time.
CHUNK = 50_000


class Progress(Protocol):
    """Told of each step as it begins, and of how much of it is done."""

    def __call__(self, step: str, done: int = 0, of: int = 0) -> None:
        """Step in words; rows done of how many, where that is known."""


@dataclass(frozen=True)
class BatchRun:
    """What a run scored.

    Args:
        scorer: The champions.
        results: What they said.
        written: Rows now in the store.
        delivered: What became of the rows at the destination; None without one.
    """

    scorer: Scorer
    results: ScoreTable
    written: int
    delivered: DeliveryReport | None = None

    def summary(self) -> dict[str, Any]:
        """For machines."""
        table = self.results.table
        targets = {}
        for name, (target, horizon) in self.results.names.items():
            rate = self.scorer.bundles[target].base_rates[horizon]
            above = pc.sum(pc.greater(table[name], rate)).as_py()
            targets[name] = {"mean": pc.mean(table[name]).as_py(), "base_rate": rate, "above": above}
        return {
            "as_of": self.results.as_of.isoformat(),
            "accounts": table.num_rows,
            "rows": self.written,
            "sources": list(self.results.sources),
            "models": dict(self.results.models),
            "targets": targets,
        }


def score_accounts(  # noqa: PLR0913  # all but the first two named
    settings: Settings,
    to: str | None,
    *,
    as_of: datetime | None = None,
    explain: Explain = Explain.ABOVE,
    dry_run: bool = False,
    everything: bool = False,
    result: Path | None = None,
    progress: Progress | None = None,
) -> BatchRun:
    """Score every account created before `as_of`.

    Accounts are worked on some at a time; what is kept of each until the end is its results alone. The order is:
    snapshot file, results file, store, destination; each is written whole or not at all, so a run that was killed is
    mended by running it again.

    Args:
        settings: The company's.
        to: A destination; None for the store alone.
        as_of: Default: the midnight that ends the last day with an event.
        explain: Whose scores get drivers.
        dry_run: Tell what would change at the destination, and change nothing there.
        everything: Send the rows that have not changed too.
        result: A CSV file for what became of every row.
        progress: Told how far it is.

    Raises:
        GarrisonError: There is no champion, no account, or a place that can't be read or written.
    """
    tell = progress or _silent
    if to is not None:
        destinations.check_destination(to, settings)
    scorer = load_champions(settings)
    with database.open(settings) as state:
        tell("history")
        with History.open(settings) as history:
            if to is not None:
                destinations.check_capacity(to, history.size())
            found = _scored(settings, history, scorer, as_of or snapshots.latest(history), explain=explain, tell=tell)
        found.write(score_table.scores_folder(settings))
        newest = score_table.find_newest(settings) == score_table.file_at(
            score_table.scores_folder(settings), found.as_of
        )
        if newest and history.kept:
            table_cache.hold(settings, history.kept.key)
        written = state.write_scores(_told(build_records(found), found.table.num_rows * len(found.names), tell))
        if to is None:
            return BatchRun(scorer, found, written)
        tell("destination")
        chunks = build_frames(settings, found)
        delivered = deliver.deliver(
            settings, state, chunks, to, dry_run=dry_run, everything=everything, result=result, tell=tell
        )
    return BatchRun(scorer, found, written, delivered)


def _silent(step: str, done: int = 0, of: int = 0) -> None:
    pass


def _scored(  # noqa: PLR0913  # all but the first three named
    settings: Settings, history: History, scorer: Scorer, as_of: datetime, *, explain: Explain, tell: Progress
) -> ScoreTable:
    """Every account's results; its snapshot is stored on the way."""
    run, accounts = uuid.uuid4().hex, history.size()
    earlier = PreviousScores.than(score_table.scores_folder(settings), as_of)
    said: list[pa.Table] = []
    sides: list[pd.DataFrame] = []
    with SnapshotWriter(snapshot_store.snapshots_folder(settings), as_of, run) as keeper:
        tell("scores", 0, accounts)
        for part, told in _told_of(settings, history, scorer, as_of=as_of, explain=explain, earlier=earlier):
            keeper.add(part)
            said.append(told)
            tell("scores", sum(part.num_rows for part in said), accounts)
            sides.append(part.frame[["account_id", *(c for c in tiers.WANTED if c in part.frame)]])
    classes = tiers.classify(pd.concat(sides, ignore_index=True)).table["tier"]
    return ScoreTable(
        as_of=as_of,
        run=run,
        models={target: bundle.version for target, bundle in scorer.bundles.items()},
        horizons={target: bundle.horizons for target, bundle in scorer.bundles.items()},
        catalog=scorer.catalog.version,
        sources=history.sources,
        before=earlier,
        table=pa.concat_tables(said).append_column("tier", pa.array(classes, pa.string())),
    )


def _told_of(  # noqa: PLR0913  # all but the first three named
    settings: Settings,
    history: History,
    scorer: Scorer,
    *,
    as_of: datetime,
    explain: Explain,
    earlier: PreviousScores | None,
) -> Iterator[tuple[StoredSnapshot, pa.Table]]:
    """Some accounts at a time, in the order of ids, and what is told of them."""
    if history.engine.kind == "spark":
        from serving.batch import spark

        yield from spark.score_parts(settings, history, scorer, as_of=as_of, explain=explain, earlier=earlier)
        return
    for part in StoredSnapshot.parts(settings, history, as_of):
        yield part, build_table(settings, scorer, part.rows(scorer), explain=explain, earlier=earlier)


def build_records(found: ScoreTable) -> Iterator[tuple[Any, ...]]:
    """The rows of the store's table of scores, each in the order of its columns."""
    scored_at, as_of = to_micros(datetime.now(UTC)), to_micros(found.as_of)
    shared = (found.catalog, ",".join(found.sources))
    for table in found.table.to_batches(CHUNK):
        ids, value = table["account_id"].to_pylist(), table["value"].to_pylist()
        for name, (target, horizon) in found.names.items():
            eligible = table[f"in_cohort_{target}"].to_pylist()
            drivers = table[f"{name}_drivers"].fill_null("[]").to_pylist()
            for account_id, score, *rest in zip(ids, table[name].to_pylist(), value, eligible, drivers, strict=True):
                told = (found.models[target], *shared, *rest, scored_at)
                yield (account_id, as_of, target, horizon, score, *told)


def _told(rows: Iterator[tuple[Any, ...]], of: int, tell: Progress) -> Iterator[tuple[Any, ...]]:
    for i, row in enumerate(rows):
        if i % CHUNK == 0:
            tell("store", i, of)
        yield row


def build_frames(settings: Settings, found: ScoreTable) -> Iterator[pd.DataFrame]:
    """One row an account, for people and CRMs; some accounts at a time.

    Yields:
        account_id, as_of; a score a target and horizon (`churn_90d`) and how it has moved since the last
        (`churn_90d_trend`); value_at_risk and drivers (those of the churn that alerts go by, in words), upsell_value,
        value, tier, recommendation, why, next_sale_days, sources, model (the versions), in_cohort (that of churn).
    """
    for batch in found.table.to_batches(CHUNK):
        part, shown = batch.to_pandas(), {}
        for name in found.names:
            shown[name] = part[name]
            shown[f"{name}_trend"] = part[name] - part[f"{name}_before"]
        risk = f"{CHURN}_{settings.alert_horizon}d"
        upsell = [name for name, (target, _) in found.names.items() if target != CHURN]
        nothing = pd.Series(np.nan, index=part.index)
        spoken = part.get(f"{risk}_drivers", pd.Series(None, index=part.index, dtype=object))
        shown |= {
            "value": part["value"],
            "value_at_risk": part.get(f"{risk}_value", nothing),
            "upsell_value": part[f"{upsell[-1]}_value"] if upsell else nothing,
            "tier": part["tier"],
            "recommendation": part["recommendation"],
            "why": part["why"],
            "next_sale_days": part["next_sale_days"],
            "drivers": [_words(text) for text in spoken],
            "sources": ",".join(found.sources),
            "model": ",".join(found.models.values()),
            "in_cohort": part.get(f"in_cohort_{CHURN}", pd.Series(None, index=part.index)).astype("boolean"),
        }
        yield pd.DataFrame({"account_id": part["account_id"], "as_of": pd.Timestamp(found.as_of), **shown})


def _words(drivers: str | None) -> str:
    return "; ".join(driver["text"] for driver in from_json(drivers)) if isinstance(drivers, str) else ""
