"""Hold what the gate needs to know of a scored run: its models, its accounts, and its scores in the cohorts."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self

import numpy as np
import pandas as pd
import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.core.timestamps import to_micros
from features.settings import Settings
from features.state.database import Store
from features.state.tables import RUN_VERDICTS, SCORES
from serving.gate.binning import Floats
from serving.scoring import score_table
from serving.scoring.score_table import ScoreTable

_SPACE = uuid.UUID("0c8d2f5a-6a3e-5d0c-9b57-2f7f0f9e61aa")


@dataclass(frozen=True)
class ScoredRun:
    """One scored run.

    Args:
        run: Its id, as in its score table.
        as_of: The instant of its scores.
        models: The champions' versions, by target.
        accounts: The ids of all accounts scored.
        horizons: Target and days by the score's name, such as churn_90d.
        scores: By the same name, the scores of the target's cohort, in any order.
    """

    run: str
    as_of: datetime
    models: Mapping[str, str]
    accounts: pd.Index
    horizons: Mapping[str, tuple[str, int]]
    scores: Mapping[str, Floats]

    @property
    def cohorts(self) -> dict[str, int]:
        """Return the number of accounts in each target's cohort."""
        return {self.horizons[name][0]: len(scores) for name, scores in self.scores.items()}

    @classmethod
    def from_table(cls, table: ScoreTable) -> Self:
        """Take the accounts and scores of a score table; where a cohort is unknown, all accounts count."""
        accounts = pd.Index(table.table["account_id"].to_pylist(), dtype=object)
        scores = {}
        for name, (target, _) in table.score_names.items():
            flags = table.table[f"in_cohort_{target}"]
            is_in = np.ones(len(accounts), bool) if flags.null_count == len(flags) else flags.fill_null(False)
            scores[name] = table.table[name].to_numpy()[np.asarray(is_in, dtype=bool)]
        return cls(table.run, table.as_of, table.model_versions, accounts, table.score_names, scores)

    @classmethod
    def read(cls, settings: Settings, state: Store, as_of: datetime) -> Self:
        """Read a run from its score table, or from the state database where that is on another machine or harmed.

        Raises:
            GarrisonError: There are no scores of that instant, or the table can't be read.
        """
        file = score_table.find_stored(settings, as_of)
        return cls.from_table(ScoreTable.read(file)) if file else cls._read_stored(settings, state, as_of)

    @classmethod
    def _read_stored(cls, settings: Settings, state: Store, as_of: datetime) -> Self:
        names = ("account_id", "target", "horizon", "score", "model", "in_cohort")
        at = to_micros(as_of)
        newest = sa.select(RUN_VERDICTS.c.run).where(RUN_VERDICTS.c.as_of == at)
        with state.reading() as connection:
            query = sa.select(*(SCORES.c[n] for n in names)).where(SCORES.c.as_of == at)
            rows = pd.DataFrame(connection.execute(query).all(), columns=list(names))
            run = connection.scalar(newest.order_by(RUN_VERDICTS.c.judged_at.desc()).limit(1))
        if rows.empty:
            raise GarrisonError(
                f"there are no scores as of {as_of:%Y-%m-%d}",
                hint=f"Run `python -m serving score --as-of {as_of:%Y-%m-%d}` first",
            )
        scores, horizons = {}, {}
        for (target, days), part in rows.groupby(["target", "horizon"]):
            is_in = part["in_cohort"].fillna(False).astype(bool)  # what is missing is not in it
            horizons[f"{target}_{days}d"] = (str(target), int(days))
            scores[f"{target}_{days}d"] = part.loc[is_in | part["in_cohort"].isna().all(), "score"].to_numpy(np.float64)
        # Scores that an older version stored have no verdict yet, and so no id.
        run = run or uuid.uuid5(_SPACE, f"{settings.company.name}\x1f{at}").hex
        models = dict(zip(rows["target"], rows["model"], strict=True))
        return cls(run, as_of, models, pd.Index(rows["account_id"].unique(), dtype=object), horizons, scores)
