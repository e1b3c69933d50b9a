"""Score on Spark: accounts are scored where their snapshots are computed, by `scoring.score_table`."""

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
from features.catalog.custom import FeatureFile
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
    previous: PreviousScores | None,
) -> Iterator[tuple[StoredSnapshot, pa.Table]]:
    """Yield some accounts' snapshots and score rows at a time, in the order of ids: the bits of `build_table`.

    Raises:
        GarrisonError: No account had been created by then, or Spark can't be reached or failed.
    """
    scoring = SparkScoring(settings, scorer.models, scorer.catalog.files, history.sources, explain)
    with spark.map_snapshots(history.engine, history, as_of, scoring, packages=(features, training, serving)) as (
        tables,
        scores,
    ):
        done = 0
        for part in StoredSnapshot.build_parts(settings, history, as_of, tables):
            count = len(part.frame)
            yield part, _complete(scores.slice(done, count), part, previous)
            done += count


@dataclass(frozen=True)
class SparkScoring:
    """`build_table` as it is sent to Spark's workers; called with some accounts' snapshots, it scores them.

    Cohorts and previous scores are as large as the company and known to the driver: they are left out.

    Args:
        settings: The company's.
        models: The champions, by target.
        files: The company's own features.
        sources: Event tables that the snapshots are made from.
        explain: Whose scores get drivers.
    """

    settings: Settings
    models: Mapping[str, Model]
    files: tuple[FeatureFile, ...]
    sources: tuple[str, ...]
    explain: Explain

    def __call__(self, frame: pd.DataFrame) -> pa.Table:
        """Score some accounts; returns the columns of `ScoreTable.table` but for the tier, null where left out."""
        scorer = Scorer(self.models, Catalog.for_company(self.settings, self.files))
        return score_table.build_table(self.settings, scorer, scorer.prepare(frame, self.sources), explain=self.explain)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is sent: models as text and numbers, and nothing that may hold a password."""
        bare = {"sources": {}, "engine": Engine(), "state_url": None}
        return vars(self) | {
            "settings": self.settings.model_copy(update=bare),
            "models": {target: _strip(model) for target, model in self.models.items()},
        }


def _strip(model: Model) -> Model:
    """Return a model without the boosters that it caches, its sample of the training snapshots cut to its medians."""
    return replace(
        model,
        horizon_models=tuple(replace(head) for head in model.horizon_models),
        reference=pd.DataFrame([model.typical]),
    )


def _complete(scores: pa.Table, part: StoredSnapshot, previous: PreviousScores | None) -> pa.Table:
    """Return the scores with what the workers did not know: the previous scores, and who is in a cohort."""
    account_ids = part.frame["account_id"].tolist()
    if scores["account_id"].to_pylist() != account_ids:
        raise GarrisonError(
            "Spark returned other accounts than it was sent",
            found=f"{scores.num_rows} scored of {len(account_ids)}, or not the same",
            hint="Score again: python -m serving score",
        )
    columns = dict(zip(scores.column_names, scores.columns, strict=True))
    for name, before in (previous.look_up(account_ids) if previous else {}).items():
        if f"{name}_before" in columns:
            columns[f"{name}_before"] = pa.array(before, pa.float64(), from_pandas=True)
    for target, flags in part.in_cohort.items():
        if f"in_cohort_{target}" in columns:
            columns[f"in_cohort_{target}"] = pa.array(np.asarray(flags), pa.bool_())
    return pa.table(clear_outside_cohort(columns))
