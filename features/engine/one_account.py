"""Builds the snapshots of posted accounts one by one in plain Python: streams, windows and formulas.

A few hundred rows take less time than the batch's arrays, tables and queries take to be set up. All is compiled from
the same definitions, and gives the same bits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import starmap
from typing import Self

import ibis
import numpy as np
import pyarrow as pa

from features.catalog import Catalog
from features.core.contract import arrow_type_of
from features.core.timestamps import DAY, EVER, NEVER, to_micros
from features.definitions.feature import FeatureContext, Stream, WindowedMeasure
from features.definitions.sql_expression import group_by_stream
from features.definitions.visibility_rule import ROWS, exists
from features.engine import facts, window_aggregates
from features.engine.attribute_versions import to_floats
from features.rows.formulas import Formulas, compile_formulas
from features.rows.kinds import NotComputable
from features.rows.queries import Row, RowQuery
from features.rows.windows import WindowPlan
from features.sources.history import History

Attributes = tuple[tuple[str, str], ...]


def build_columns(history: History, as_of: datetime) -> dict[str, np.ndarray]:
    """Build one instant's snapshots of posted accounts as arrays.

    Args:
        history: Of posted rows.
        as_of: The instant.

    Returns:
        As `features.engine.snapshots.build` has them, (n,) each: account_id and text attributes as objects, None where
        null; as_of whole µs.

    Raises:
        GarrisonError: A sum could leave the whole numbers that 64 bits hold.
    """
    posted, at = history.rows, to_micros(as_of)
    assert posted is not None
    compiled = _compile(history.catalog, history.measured, history.attributes)
    numbers, texts = _read_attributes(posted.tables["accounts"], history.attributes)
    places, computed = [], []
    for place, rows in enumerate(posted.by_account):
        (account,) = rows["accounts"]
        created_at = NEVER if account["created_at"] is None else account["created_at"]
        if exists(created_at, account.get("merged_at"), at, ROWS):
            measured = [v for one in compiled.streams for v in one.measure(history, place, rows, at)]
            computed.append(compiled.formulas([*measured, float(created_at), float(at), *numbers[place]]))
            places.append(place)
    accounts = [posted.tables["accounts"][place]["account_id"] for place in places]
    columns = {"account_id": np.array(accounts, dtype=object), "as_of": np.full(len(places), at)}
    values = np.array(computed, dtype="float64").reshape(len(places), len(compiled.names))
    columns |= dict(zip(compiled.names, values.T, strict=True))
    return columns | {name: values[places] for name, values in texts.items()}


@dataclass(frozen=True)
class _Measurement:
    """A stream with what is measured on it.

    Args:
        stream: Of dated facts.
        asks: The measures in their windows.
        query: Reads the facts; None where only the database can.
        windows: The plan of the same measures.
    """

    stream: Stream
    asks: Sequence[WindowedMeasure]
    query: RowQuery | None
    windows: WindowPlan

    @classmethod
    def of(cls, stream: Stream, asks: Sequence[WindowedMeasure]) -> Self:
        plan = facts.plan_query(stream, tuple({ask.measure.name: ask.measure for ask in asks}.values()))
        return cls(stream, asks, plan.rows, WindowPlan.of(asks, plan.scale))

    def measure(self, history: History, account: int, rows: Mapping[str, Sequence[Row]], as_of: int) -> Sequence[float]:
        """Return the measures of one account, by its number, in the order of `asks`."""
        if self.query is not None:
            with contextlib.suppress(NotComputable):
                return self.windows.aggregate(self.query.run(rows[self.stream.table]), as_of)
        spans = [None if ask.days is None else ask.before + ask.days for ask in self.asks]
        since = EVER if None in spans else as_of - max(s for s in spans if s is not None) * DAY
        found = facts.read_facts(history, self.stream, self.asks, accounts=(account, account), since=since)
        measured = window_aggregates.aggregate_windows(found, self.asks, np.array([as_of]), 1)
        return [float(measured[ask.column][0, 0]) for ask in self.asks]


@dataclass(frozen=True)
class _Compiled:
    """The features of a catalog for one account.

    Args:
        streams: What is measured, in the order of the formulas' argument.
        formulas: Of the measures, `created_at`, `as_of` and the numeric attributes.
        names: Of the formulas' values.
    """

    streams: tuple[_Measurement, ...]
    formulas: Formulas
    names: tuple[str, ...]


@lru_cache(maxsize=16)
def _compile(catalog: Catalog, measured: tuple[str, ...], attributes: Attributes) -> _Compiled:
    features = catalog.select_account_features(measured)
    streams = tuple(starmap(_Measurement.of, group_by_stream(features).items()))
    numeric = [name for name, kind in attributes if kind != "string"]
    columns = [ask.column for one in streams for ask in one.asks] + ["created_at", "as_of", *numeric]
    table = ibis.table(dict.fromkeys(columns, "float64"), name="measured")
    formulas = {f.name: f.formula(FeatureContext(table)) for f in features} | {name: table[name] for name in numeric}
    return _Compiled(streams, compile_formulas(formulas, columns), tuple(formulas))


def _read_attributes(
    accounts: Sequence[Row], attributes: Attributes
) -> tuple[list[tuple[float, ...]], dict[str, np.ndarray]]:
    """Return each account's numeric attributes, NaN where null, and by name the text attributes, None where null."""
    numbers, texts = [], {}
    for name, kind in attributes:
        column = pa.chunked_array([pa.array([account.get(name) for account in accounts], arrow_type_of(kind))])
        if kind == "string":
            texts[name] = column.to_numpy()
        else:
            numbers.append(to_floats(column).tolist())
    return list(zip(*numbers, strict=True)) if numbers else [()] * len(accounts), texts
