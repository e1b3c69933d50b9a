"""Build and store the score table of a batch: every account at one instant, one Parquet file a run."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic_core import to_json

from features.core.atomic_write import write_atomically
from features.core.errors import GarrisonError
from features.core.harmed_files import CHECKSUMS, find_whole
from features.settings import Settings
from serving.scoring.advice import Advice, advise, clear_outside_cohort
from serving.scoring.drivers import ScoreDriver, find_drivers
from serving.scoring.scorer import PreparedSnapshots, Scorer
from training.decisions.value import Floats

DriversByScore = Mapping[tuple[str, int], Sequence[tuple[ScoreDriver, ...] | None]]
# What to do about a harmed file of results.
REMEDY = "score that day again: python -m serving score --as-of DAY"
_ABOUT = b"garrison"
_INSTANT = "%Y-%m-%dT%H%M%SZ"


class Explain(StrEnum):
    """Which scores get drivers: finding and wording these takes longer than the score itself."""

    ABOVE = "above"  # those above the base rate of their target and horizon
    ALL = "all"
    NONE = "none"


@dataclass(frozen=True)
class ScoreTable:
    """One run's scores, a row an account in the order of ids.

    Args:
        as_of: The instant of the snapshots.
        run: Identifies the run; the stored snapshot of the same run has the same.
        model_versions: By target.
        horizons: Days by target.
        catalog: Fingerprint of the feature definitions.
        sources: Event tables that the snapshots were made from.
        previous: When the scores in the columns `…_before` were made, and by which models; None without any.
        table: account_id; by score (churn_90d) its probability, then with a suffix `_low` and `_high` (the ends of its
            90 % interval, null by a model of an earlier release), `_value` (money), `_before` (the last score) and
            `_drivers` (JSON; null where not explained); value, tier, recommendation (null outside the cohort),
            withheld, why, next_sale_days, next_sale_overdue, leaves_in_days, `in_cohort_TARGET`, and what the tier
            follows from (`serving.tiers.course.COLUMNS`).
    """

    as_of: datetime
    run: str
    model_versions: Mapping[str, str]
    horizons: Mapping[str, tuple[int, ...]]
    catalog: str
    sources: tuple[str, ...]
    previous: PreviousScores | None
    table: pa.Table

    @property
    def score_names(self) -> dict[str, tuple[str, int]]:
        """Return target and horizon by the score's name, such as churn_90d."""
        return {f"{t}_{h}d": (t, h) for t, horizons in self.horizons.items() for h in horizons}

    def file(self, settings: Settings) -> Path:
        """Return where the company's score table of this instant is stored."""
        return file_at(scores_folder(settings), self.as_of)

    def write(self, folder: Path) -> None:
        """Store it under its `as_of`, whole or not at all."""
        about: dict[str, Any] = {"as_of": self.as_of.isoformat(), "run": self.run, "models": self.model_versions}
        about |= {"horizons": self.horizons, "catalog": self.catalog, "sources": self.sources}
        about["before"] = self.previous and [self.previous.as_of.isoformat(), self.previous.model_versions]
        table = self.table.replace_schema_metadata({_ABOUT: json.dumps(about).encode()})
        with write_atomically(file_at(folder, self.as_of)) as part:
            pq.write_table(table, part, compression="zstd", compression_level=1, **CHECKSUMS)

    @classmethod
    def read(cls, path: Path, columns: Collection[str] | None = None) -> Self:
        """Read a stored score table.

        Args:
            path: Its file.
            columns: To read, as far as it has them; None for all.

        Raises:
            GarrisonError: The file is none, or can't be read.
        """
        try:
            names = None if columns is None else [c for c in pq.read_schema(path).names if c in columns]
            table = pq.read_table(path, columns=names, partitioning=None)
            about = json.loads((table.schema.metadata or {})[_ABOUT])
            previous = about["before"]
            return cls(
                as_of=datetime.fromisoformat(about["as_of"]),
                run=about["run"],
                model_versions=about["models"],
                horizons={target: tuple(days) for target, days in about["horizons"].items()},
                catalog=about["catalog"],
                sources=tuple(about["sources"]),
                previous=previous
                and PreviousScores(datetime.fromisoformat(previous[0]), previous[1], pd.Index([]), {}),
                table=table.replace_schema_metadata(None),
            )
        except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
            raise GarrisonError(
                f"{path} holds no scores", found=type(error).__name__, hint="Score again: python -m serving score"
            ) from error


@dataclass(frozen=True)
class PreviousScores:
    """The scores of the last run before.

    Args:
        as_of: Of that run.
        model_versions: By target.
        accounts: Its account ids.
        scores: By name such as churn_90d, in the order of `accounts`.
        tiers: By account id: `tier` and `tier_runs_beyond`; None of a run that an earlier release scored.
    """

    as_of: datetime
    model_versions: Mapping[str, str]
    accounts: pd.Index
    scores: Mapping[str, Floats]
    tiers: pd.DataFrame | None = None

    @classmethod
    def load(cls, folder: Path, as_of: datetime) -> Self | None:
        """Load the scores of the newest run before `as_of` whose file is whole; None where there is none."""
        file = find_whole(_list_newest_first(folder, before=file_at(folder, as_of)), REMEDY)
        if file is None:
            return None
        newest = ScoreTable.read(file)
        scores = {name: newest.table[name].to_numpy() for name in newest.score_names}
        accounts = pd.Index(newest.table["account_id"].to_pylist())
        course = [name for name in ("tier", "tier_runs_beyond") if name in newest.table.column_names]
        tiers = newest.table.select(course).to_pandas().set_index(accounts) if len(course) == 2 else None
        return cls(newest.as_of, newest.model_versions, accounts, scores, tiers)

    def look_up(self, account_ids: Sequence[str]) -> dict[str, Floats]:
        """Return the scores of these accounts by name, NaN where there was none."""
        places = self.accounts.get_indexer(account_ids)
        return {name: np.where(places >= 0, scores[places], np.nan) for name, scores in self.scores.items()}


def scores_folder(settings: Settings) -> Path:
    """Return the folder of the company's score tables."""
    return settings.var / "scores"


def find_newest(settings: Settings) -> Path | None:
    """Return the newest score table's file that is whole; a harmed one is put aside. None before the first.

    The snapshot that it was made from has the same name.
    """
    return find_whole(_list_newest_first(scores_folder(settings)), REMEDY)


def find_stored(settings: Settings, as_of: datetime) -> Path | None:
    """Return the file of one instant's score table; None where there is none, or it was harmed and is put aside."""
    return find_whole([file_at(scores_folder(settings), as_of)], REMEDY)


def list_stored(settings: Settings) -> list[Path]:
    """Return the files of all score tables that are whole, the oldest first; harmed ones are put aside."""
    files = sorted(scores_folder(settings).glob("*.parquet"))
    return [file for file in files if find_whole([file], REMEDY)]


def _list_newest_first(folder: Path, before: Path | None = None) -> Iterator[Path]:
    # By name: paths are compared part by part, and pages ask often.
    with contextlib.suppress(FileNotFoundError):
        newest = sorted((name for name in os.listdir(folder) if name.endswith(".parquet")), reverse=True)  # noqa: PTH208  # ten times as fast as paths
        yield from (folder / name for name in newest if before is None or name < before.name)


def file_at(folder: Path, as_of: datetime) -> Path:
    """Return the file of one instant's score table, or in another folder, of its snapshot."""
    return folder / f"{as_of:{_INSTANT}}.parquet"


def parse_instant(file: Path) -> datetime:
    """Return the instant that a file of `file_at` is named by."""
    return datetime.strptime(file.stem, _INSTANT).replace(tzinfo=UTC)


def read_tiers(settings: Settings, as_of: datetime) -> pd.Series | None:
    """Read the tiers (text, by account id) of the run at one instant; None where its score table is not stored."""
    file = find_stored(settings, as_of)
    if file is None:
        return None
    return (
        pq.read_table(file, columns=["account_id", "tier"], partitioning=None)
        .to_pandas()
        .set_index("account_id")["tier"]
    )


def append_tiers(table: pa.Table, tiers: pd.DataFrame) -> pa.Table:
    """Append each account's tier, and what it follows from, to the scores of all accounts.

    Args:
        table: The scores.
        tiers: `serving.tiers.course.COLUMNS`, in the order of the table's rows.
    """
    for name, values in tiers.items():
        kind = {"tier": pa.string(), "tier_runs_beyond": pa.int64()}.get(str(name), pa.float64())
        table = table.append_column(str(name), pa.array(values, kind, from_pandas=True))
    return table


def build_table(
    settings: Settings,
    scorer: Scorer,
    rows: PreparedSnapshots,
    *,
    explain: Explain,
    previous: PreviousScores | None = None,
) -> pa.Table:
    """Score some accounts; returns the columns of `ScoreTable.table` but for the tier, which needs all accounts."""
    scores = scorer.score(rows)
    advice = advise(settings, scorer, rows, scores)
    return assemble_table(scorer, rows, scores, advice, _explain(scorer, rows, scores, explain), previous)


def _explain(
    scorer: Scorer, rows: PreparedSnapshots, scores: Mapping[str, Floats], explain: Explain
) -> dict[tuple[str, int], list[tuple[ScoreDriver, ...] | None]]:
    """Find drivers by target and horizon; None for the rows that are not to be explained."""
    explained = {}
    for target, model in scorer.models.items():
        for h, horizon in enumerate(model.horizons):
            is_above = scores[target][:, h] > model.base_rates[horizon]
            wanted = {Explain.ABOVE: is_above, Explain.ALL: is_above | True, Explain.NONE: is_above & False}[explain]
            drivers: list[tuple[ScoreDriver, ...] | None] = [None] * len(rows)
            places = np.flatnonzero(wanted)
            if len(places):
                few = find_drivers(model, rows.take(places), scores[target][places], horizon)
                for i, row_drivers in zip(places, few, strict=True):
                    drivers[i] = row_drivers
            explained[target, horizon] = drivers
    return explained


def assemble_table(  # noqa: PLR0913, PLR0917  # all that is known of some accounts
    scorer: Scorer,
    rows: PreparedSnapshots,
    scores: Mapping[str, Floats],
    advice: Advice,
    explained: DriversByScore,
    previous: PreviousScores | None,
) -> pa.Table:
    """Assemble the columns of `ScoreTable.table` for some accounts, but for the tier, which needs all accounts."""
    before = previous.look_up(rows.account_ids.tolist()) if previous else {}
    unknown = np.full(len(rows), np.nan)
    columns: dict[str, pa.Array] = {"account_id": pa.array(rows.account_ids, pa.string())}
    for target, model in scorer.models.items():
        lows, highs = model.find_ends(scores[target], rows.as_of)
        for h, horizon in enumerate(model.horizons):
            name, drivers = f"{target}_{horizon}d", explained.get((target, horizon), [None] * len(rows))
            columns[name] = pa.array(scores[target][:, h])
            columns[f"{name}_low"], columns[f"{name}_high"] = _nullable(lows[:, h]), _nullable(highs[:, h])
            columns[f"{name}_value"] = _nullable(advice.worth.get((target, horizon), unknown))
            columns[f"{name}_before"] = _nullable(before.get(name, unknown))
            columns[f"{name}_drivers"] = pa.array([None if d is None else _json(d) for d in drivers], pa.string())
        in_cohort = rows.in_cohort.get(target)
        columns[f"in_cohort_{target}"] = pa.array([None] * len(rows) if in_cohort is None else in_cohort, pa.bool_())
    return pa.table(clear_outside_cohort(columns | _advice_columns(rows, advice)))


def _advice_columns(rows: PreparedSnapshots, advice: Advice) -> dict[str, pa.Array]:
    recommended, sale = advice.recommended, advice.sale
    unknown = np.full(len(rows), np.nan)
    return {
        "value": _nullable(rows.value),
        "recommendation": pa.array(recommended.do, pa.string()),
        "withheld": pa.array(recommended.withheld),
        "why": pa.array(recommended.why, pa.string()),
        "next_sale_days": _nullable(sale.days if sale else unknown),
        "next_sale_overdue": pa.array(sale.overdue if sale else [None] * len(rows), pa.bool_()),
        "leaves_in_days": _nullable(advice.leaves),
    }


def _json(drivers: tuple[ScoreDriver, ...]) -> str:
    return to_json(drivers).decode()


def _nullable(values: Floats) -> pa.Array:
    """Return values with null for NaN."""
    return pa.array(values, pa.float64(), from_pandas=True)
