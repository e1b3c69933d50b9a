"""Batch scoring on Spark: accounts are scored where their snapshots are computed, by `scoring.score_table`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

import features
import serving
import training
from features.catalog import Catalog
from features.catalog.custom import File
from features.core.errors import GarrisonError
from features.engine import spark
from features.settings import Engine, Settings
from features.sources.history import History
from serving.scoring import score_table
from serving.scoring.advice import clear_outside_cohort
from serving.scoring.score_table import Explain, PreviousScores
from serving.scoring.scorer import Scorer
from serving.scoring.snapshot_store import StoredSnapshot
from training.models.model import Model


def score_parts(  # noqa: PLR0913  # all but the first three named
    settings: Settings,
    history: History,
    scorer: Scorer,
    *,
    as_of: datetime,
    explain: Explain,
    earlier: PreviousScores | None,
) -> Iterator[tuple[StoredSnapshot, pa.Table]]:
    """Some accounts at a time, in the order of ids, and what is told of them: the bits of `results.scored`.

    Raises:
        GarrisonError: No account had been created by then, or Spark can't be reached or failed.
    """
    scoring = SparkScoring(settings, scorer.bundles, scorer.catalog.files, history.sources, explain)
    with spark.mapped(history.engine, history, as_of, scoring, packages=(features, training, serving)) as (
        tables,
        told,
    ):
        done = 0
        for part in StoredSnapshot.parts(settings, history, as_of, tables):
            count = len(part.frame)
            yield part, _placed(told.slice(done, count), part, earlier)
            done += count


@dataclass(frozen=True)
class SparkScoring:
    """`results.scored` as it is sent to Spark's workers; called with some accounts' snapshots, it scores them.

    Who was eligible and what the last scores were is as large as the company and known here: it is left out.

    Args:
        settings: The company's.
        bundles: The champions, by target.
        files: The company's own features.
        sources: Event tables that the snapshots are made from.
        explain: Whose scores get drivers.
    """

    settings: Settings
    bundles: Mapping[str, Model]
    files: tuple[File, ...]
    sources: tuple[str, ...]
    explain: Explain

    def __call__(self, frame: pd.DataFrame) -> pa.Table:
        """Columns as `Results.table` has them, without the tier; null in those of what is left out."""
        scorer = Scorer(self.bundles, Catalog.for_company(self.settings, self.files))
        return score_table.build_table(self.settings, scorer, scorer.rows(frame, self.sources), explain=self.explain)

    def __getstate__(self) -> dict[str, Any]:
        """What is sent: models as text and numbers, and nothing that may hold a password."""
        bare = {"sources": {}, "engine": Engine(), "state_url": None}
        return vars(self) | {
            "settings": self.settings.model_copy(update=bare),
            "bundles": {target: _plain(bundle) for target, bundle in self.bundles.items()},
        }


def _plain(bundle: Model) -> Model:
    """Without the booster that a head keeps once it was asked, and without the sample of the training snapshots."""
    return replace(bundle, heads=tuple(replace(head) for head in bundle.heads), reference=bundle.reference.iloc[:0])


def _placed(told: pa.Table, part: StoredSnapshot, earlier: PreviousScores | None) -> pa.Table:
    """With what the workers did not know: the last scores, and who was eligible."""
    account_ids = part.frame["account_id"].tolist()
    if told["account_id"].to_pylist() != account_ids:
        raise GarrisonError(
            "Spark gave back other accounts than it was given",
            found=f"{told.num_rows} scored of {len(account_ids)}, or not the same",
            hint="Score again: python -m serving score",
        )
    columns = dict(zip(told.column_names, told.columns, strict=True))
    for name, scores in (earlier.of(account_ids) if earlier else {}).items():
        if f"{name}_before" in columns:
            columns[f"{name}_before"] = pa.array(scores, pa.float64(), from_pandas=True)
    for target, eligible in part.in_cohort.items():
        if f"in_cohort_{target}" in columns:
            columns[f"in_cohort_{target}"] = pa.array(np.asarray(eligible), pa.bool_())
    return pa.table(clear_outside_cohort(columns))
