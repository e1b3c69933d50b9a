"""Engines beside the default one: the same snapshots, computed inside Spark or PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pandas as pd
import pyarrow as pa

from features.engines import handover
from features.history import History
from features.settings import Engine


def table(engine: Engine, history: History, as_ofs: Sequence[datetime]) -> pa.Table:
    """Snapshots as `features.snapshots.table` gives them, from the catalog's relational form.

    Kind duckdb runs that form in the history's own DuckDB: what the other engines are measured by.

    Raises:
        GarrisonError: The engine is not installed, can't be reached, lacks a right, or failed.
    """
    if engine.kind == "spark":
        from features.engines import spark

        return spark.table(engine, history, as_ofs)
    if engine.kind == "postgres":
        from features.engines import postgres

        return postgres.table(engine, history, as_ofs)
    return handover.embedded(history, as_ofs)


def build(engine: Engine, history: History, as_ofs: Sequence[datetime]) -> pd.DataFrame:
    """The same as `features.snapshots.build` gives them."""
    return table(engine, history, as_ofs).to_pandas()
