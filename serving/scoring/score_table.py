"""What a batch said of every account at one instant: a Parquet file a run, beside the snapshot it was made from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
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
from features.settings import Settings
from serving.scoring.advice import Advice, advise, clear_outside_cohort
from serving.scoring.drivers import ScoreDriver, find_drivers
from serving.scoring.scorer import PreparedSnapshots, Scorer
from training.decisions.value import Floats

DriversByScore = Mapping[tuple[str, int], Sequence[tuple[ScoreDriver, ...] | None]]
_ABOUT = b"garrison"


class Explain(StrEnum):
    """Whose scores get drivers: contributions take a hundred times as long as the score itself."""

    ABOVE = "above"  # those above the base rate of their target and horizon
    ALL = "all"
    NONE = "none"


@dataclass(frozen=True)
class ScoreTable:
    """One run's results, a row an account in the order of ids.

    Args:
        as_of: Where it looked from.
        run: Names the run; the snapshot behind the results bears the same.
        models: Version by target.
        horizons: Days by target.
        catalog: Fingerprint of the feature definitions.
        sources: Event tables that were there.
        before: When the scores in the columns `…_before` were made, and by which models; None without any.
        table: account_id; by score (churn_90d) its probability, then with a suffix `_value` (money), `_before` (the
            last score) and `_drivers` (JSON; null where not explained); value, tier, recommendation (null outside the
            cohort), withheld, why,
            next_sale_days, next_sale_overdue, leaves_in_days, and `in_cohort_TARGET`.
    """

    as_of: datetime
    run: str
    models: Mapping[str, str]
    horizons: Mapping[str, tuple[int, ...]]
    catalog: str
    sources: tuple[str, ...]
    before: PreviousScores | None
    table: pa.Table

    @property
    def names(self) -> dict[str, tuple[str, int]]:
        """Target and horizon by the score's name, such as churn_90d."""
        return {f"{t}_{h}d": (t, h) for t, horizons in self.horizons.items() for h in horizons}

    def write(self, folder: Path) -> None:
        """Store it under its `as_of`, whole or not at all."""
        about: dict[str, Any] = {"as_of": self.as_of.isoformat(), "run": self.run, "models": self.models}
        about |= {"horizons": self.horizons, "catalog": self.catalog, "sources": self.sources}
        about["before"] = self.before and [self.before.as_of.isoformat(), self.before.models]
        table = self.table.replace_schema_metadata({_ABOUT: json.dumps(about).encode()})
        with write_atomically(file_at(folder, self.as_of)) as part:
            pq.write_table(table, part, compression="zstd", compression_level=1)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Stored results.

        Raises:
            GarrisonError: The file is none.
        """
        try:
            table = pq.read_table(path, partitioning=None)
            about = json.loads((table.schema.metadata or {})[_ABOUT])
            before = about["before"]
            return cls(
                as_of=datetime.fromisoformat(about["as_of"]),
                run=about["run"],
                models=about["models"],
                horizons={target: tuple(days) for target, days in about["horizons"].items()},
                catalog=about["catalog"],
                sources=tuple(about["sources"]),
                before=before and PreviousScores(datetime.fromisoformat(before[0]), before[1], pd.Index([]), {}),
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
        models: Version by target.
        accounts: Its account ids.
        scores: By name such as churn_90d, in their order.
    """

    as_of: datetime
    models: Mapping[str, str]
    accounts: pd.Index
    scores: Mapping[str, Floats]

    @classmethod
    def than(cls, folder: Path, as_of: datetime) -> Self | None:
        """Those of the newest run that looked from before `as_of`; None where there is none."""
        there = [path for path in folder.glob("*.parquet") if path < file_at(folder, as_of)]
        if not there:
            return None
        found = ScoreTable.read(max(there))
        scores = {name: found.table[name].to_numpy() for name in found.names}
        return cls(found.as_of, found.models, pd.Index(found.table["account_id"].to_pylist()), scores)

    def of(self, account_ids: Sequence[str]) -> dict[str, Floats]:
        """The scores of these accounts by name, NaN where there was none."""
        places = self.accounts.get_indexer(account_ids)
        return {name: np.where(places >= 0, scores[places], np.nan) for name, scores in self.scores.items()}


def scores_folder(settings: Settings) -> Path:
    """Where the company's results are stored."""
    return settings.var / "scores"


def find_newest(settings: Settings) -> Path | None:
    """The newest results; the snapshot behind them has the same name. None before the first."""
    return max(scores_folder(settings).glob("*.parquet"), default=None)


def file_at(folder: Path, as_of: datetime) -> Path:
    """Where the results, or in another folder the snapshot, of one instant lie."""
    return folder / f"{as_of:%Y-%m-%dT%H%M%SZ}.parquet"


def build_table(
    settings: Settings,
    scorer: Scorer,
    rows: PreparedSnapshots,
    *,
    explain: Explain,
    earlier: PreviousScores | None = None,
) -> pa.Table:
    """What is told of some accounts; columns as `Results.table` has them, without the tier."""
    scores = scorer.score(rows)
    advice = advise(settings, scorer, rows, scores)
    return assemble_table(scorer, rows, scores, advice, _explained(scorer, rows, scores, explain), earlier)


def _explained(
    scorer: Scorer, rows: PreparedSnapshots, scores: Mapping[str, Floats], explain: Explain
) -> dict[tuple[str, int], list[tuple[ScoreDriver, ...] | None]]:
    """Drivers by target and horizon, None for those who are not to be explained."""
    every = {}
    for target, bundle in scorer.bundles.items():
        for h, horizon in enumerate(bundle.horizons):
            above = scores[target][:, h] > bundle.base_rates[horizon]
            wanted = {Explain.ABOVE: above, Explain.ALL: above | True, Explain.NONE: above & False}[explain]
            found: list[tuple[ScoreDriver, ...] | None] = [None] * len(rows)
            which = np.flatnonzero(wanted)
            if len(which):
                told = find_drivers(bundle, rows.take(which), scores[target][which], horizon)
                for i, drivers in zip(which, told, strict=True):
                    found[i] = drivers
            every[target, horizon] = found
    return every


def assemble_table(  # noqa: PLR0913, PLR0917  # all that is known of some accounts
    scorer: Scorer,
    rows: PreparedSnapshots,
    scores: Mapping[str, Floats],
    advice: Advice,
    explained: DriversByScore,
    earlier: PreviousScores | None,
) -> pa.Table:
    """What is told of some accounts, without the tier, which needs them all; columns as `Results.table` has them."""
    before = earlier.of(rows.account_ids.tolist()) if earlier else {}
    unknown = np.full(len(rows), np.nan)
    columns: dict[str, pa.Array] = {"account_id": pa.array(rows.account_ids, pa.string())}
    for target, bundle in scorer.bundles.items():
        for h, horizon in enumerate(bundle.horizons):
            name, told = f"{target}_{horizon}d", explained.get((target, horizon), [None] * len(rows))
            columns[name] = pa.array(scores[target][:, h])
            columns[f"{name}_value"] = _known(advice.worth.get((target, horizon), unknown))
            columns[f"{name}_before"] = _known(before.get(name, unknown))
            columns[f"{name}_drivers"] = pa.array([None if d is None else _json(d) for d in told], pa.string())
        eligible = rows.in_cohort.get(target)
        columns[f"in_cohort_{target}"] = pa.array([None] * len(rows) if eligible is None else eligible, pa.bool_())
    return pa.table(clear_outside_cohort(columns | _advised(rows, advice)))


def _advised(rows: PreparedSnapshots, advice: Advice) -> dict[str, pa.Array]:
    done, sale = advice.recommended, advice.sale
    unknown = np.full(len(rows), np.nan)
    return {
        "value": _known(rows.value),
        "recommendation": pa.array(done.do, pa.string()),
        "withheld": pa.array(done.withheld),
        "why": pa.array(done.why, pa.string()),
        "next_sale_days": _known(sale.days if sale else unknown),
        "next_sale_overdue": pa.array(sale.overdue if sale else [None] * len(rows), pa.bool_()),
        "leaves_in_days": _known(advice.leaves),
    }


def _json(drivers: tuple[ScoreDriver, ...]) -> str:
    return to_json([driver.as_dict() for driver in drivers]).decode()


def _known(values: Floats) -> pa.Array:
    return pa.array(values, pa.float64(), from_pandas=True)
