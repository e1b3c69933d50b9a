"""Chooses the engine that the settings name, and computes the same snapshots inside Spark or PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pandas as pd
import pyarrow as pa

from features.engine import sql_engine
from features.settings import Engine
from features.sources.history import History


def build_table(engine: Engine, history: History, as_ofs: Sequence[datetime]) -> pa.Table:
    """Compute snapshots as `snapshots.build_table` does, from the catalog's relational form.

    Kind duckdb runs that form in the history's own DuckDB: what the other engines are measured by.

    Raises:
        GarrisonError: The engine is not installed, can't be reached, lacks a right, or failed.
    """
    if engine.kind == "spark":
        from features.engine import spark

        return spark.build_table(engine, history, as_ofs)
    if engine.kind == "postgres":
        from features.engine import postgres

        return postgres.build_table(engine, history, as_ofs)
    return sql_engine.build_on_duckdb(history, as_ofs)


def build(engine: Engine, history: History, as_ofs: Sequence[datetime]) -> pd.DataFrame:
    """Compute snapshots as `snapshots.build` does, as a data frame."""
    return build_table(engine, history, as_ofs).to_pandas()
