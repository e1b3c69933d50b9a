"""Build snapshots as one relational expression, for SQL engines: Spark, PostgreSQL, DuckDB.

`definitions.visibility_rule` decides which facts a feature sees at `as_of`; its window is `[as_of - w, as_of)`.

Sums are over whole numbers and decimals, so the order of rows does not change a feature: the query over one posted
account gives the same bits as over all accounts at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir

from features.core.contract import TABLES, VERSIONS, ibis_type
from features.definitions.feature import DAY, Feature, FeatureContext, Stream, WindowedMeasure
from features.definitions.visibility_rule import IBIS, exists, is_visible


def build_expression(
    features: Iterable[Feature], attributes: Iterable[tuple[str, str]], *, dated: bool = False
) -> ir.Table:
    """Build the snapshots as an Ibis expression over the canonical tables and `cutoffs(as_of)`, its rows in no order.

    Args:
        features: Those whose sources are mapped.
        attributes: Mapped columns of accounts, each with the name of its Ibis type.
        dated: Whether they are those of the versions in force at `as_of`, out of `account_versions`.
    """
    features, attributes = tuple(features), tuple(attributes)
    cutoffs = ibis.table({"as_of": "int64"}, name="cutoffs")
    kinds = {"account_id": "string", "created_at": "int64", "merged_at": "int64"}
    accounts = ibis.table(kinds if dated else {**kinds, **dict(attributes)}, name="accounts")
    accounts = accounts if dated else _cast_flags(accounts, attributes)
    spine = accounts.join(cutoffs, exists(accounts.created_at, accounts.merged_at, cutoffs.as_of, IBIS))
    if dated:
        kinds = {"account_id": "string", "since": "int64", "until": "int64", **dict(attributes)}
        versions = _cast_flags(ibis.table(kinds, name=VERSIONS), attributes).rename(account_of_version="account_id")
        in_force = [versions.since <= spine.as_of, versions.until > spine.as_of]
        spine = spine.left_join(versions, [spine.account_id == versions.account_of_version, *in_force])
    for stream, measures in group_by_stream(features).items():
        for name, measured in _aggregate_stream(stream, measures, cutoffs):
            # Keys get names of their own, so that the joins stay one flat chain: a nested query plans far longer.
            account, instant = f"account_of_{name}", f"as_of_{name}"
            measured = measured.rename({account: "account_id", instant: "as_of"})  # noqa: PLW2901
            same = [spine.account_id == measured[account], spine.as_of == measured[instant]]
            spine = spine.left_join(measured, same)
    return _unify_engines(select_features(spine, features, attributes))


def _cast_flags(table: ir.Table, attributes: Iterable[tuple[str, str]]) -> ir.Table:
    """Make numbers of flags: PostgreSQL makes no float of a flag, nor any number but this."""
    flags = {name: table[name].cast("int32") for name, kind in attributes if kind == "boolean"}
    return table.mutate(**flags) if flags else table


def select_features(measured: ir.Table, features: Iterable[Feature], attributes: Iterable[tuple[str, str]]) -> ir.Table:
    """Compute features from a table of accounts' columns, `as_of`, and a column for each windowed measure."""
    columns = {f.name: f.formula(FeatureContext(measured)).cast("float64") for f in features}
    described = {n: measured[n] if kind == "string" else measured[n].cast("float64") for n, kind in attributes}
    return measured.select("account_id", "as_of", **columns, **described)


def _unify_engines(table: ir.Table) -> ir.Table:
    """Rewrite float literals and LOWER() so that all engines agree."""

    def rewrite(node: ops.Node, changed: dict[str, Any] | None) -> ops.Node:
        node = node.__recreate__(changed) if changed else node
        if isinstance(node, ops.Literal) and node.dtype.is_floating() and node.value is not None:
            # In SQL `0.5` is a decimal, and a quotient of decimals is rounded to some number of places.
            return ops.Cast(ops.Literal(repr(node.value), "string"), node.dtype)
        if isinstance(node, ops.Lowercase):
            # The one letter whose lower case is two characters on Spark, and one elsewhere.
            return ops.Lowercase(ops.StringReplace(node.arg, "\u0130", "i"))
        return node

    return table.op().replace(rewrite).to_expr()


def group_by_stream(features: Iterable[Feature]) -> dict[Stream, list[WindowedMeasure]]:
    """Group the distinct windowed measures of features by the stream they read."""
    distinct = {windowed.column: windowed for f in features for windowed in f.windowed_measures.values()}
    groups: dict[Stream, list[WindowedMeasure]] = {}
    for windowed in distinct.values():
        groups.setdefault(windowed.measure.stream, []).append(windowed)
    return groups


def _aggregate_stream(
    stream: Stream, measures: list[WindowedMeasure], cutoffs: ir.Table
) -> Iterator[tuple[str, ir.Table]]:
    """Yield named tables from (account_id, as_of) to the values of a stream's measures."""
    facts = _select_visible_facts(stream, measures, cutoffs)
    keys = ["account_id", "as_of"]
    plain = {a.column: _aggregate(facts, a).cast("float64") for a in measures if a.measure.how != "distinct"}
    if plain:
        yield stream.name, facts.group_by(keys).agg(**plain)
    # Different values are counted in two steps, first each value once: a set for every account, instant and
    # window at once takes ten times as long.
    for column in sorted({a.measure.column for a in measures if a.measure.how == "distinct"}):
        of_column = [a for a in measures if a.measure.how == "distinct" and a.measure.column == column]
        valued = facts.filter(facts[column].notnull())
        seen = {a.column: valued.count(where=_is_counted(valued, a)) > 0 for a in of_column}
        values = valued.group_by([*keys, column]).agg(**seen)
        counted = {a.column: values[a.column].sum().cast("float64") for a in of_column}
        yield f"{stream.name}_{column}", values.group_by(keys).agg(**counted)


def _select_visible_facts(stream: Stream, measures: list[WindowedMeasure], cutoffs: ir.Table) -> ir.Table:
    """Join the stream's facts to each `as_of` at which they are visible."""
    rows = stream.rows(declare_table(stream.table))
    until = rows.until if "until" in rows.columns else None
    conditions = [is_visible(rows.t, rows.known, cutoffs.as_of, until)]
    spans = [None if a.days is None else a.before + a.days for a in measures]
    if None not in spans:
        conditions.append(rows.t >= cutoffs.as_of - max(s for s in spans if s is not None) * DAY)
    facts = rows.join(cutoffs, conditions)
    # Days are counted back from `as_of`, so that a window of whole days holds whole days.
    return facts.mutate(day=(facts.as_of - 1 - facts.t) // DAY)


def _is_counted(facts: ir.Table, windowed: WindowedMeasure) -> ir.BooleanValue | None:
    """Return whether a fact is inside the window and passes the measure's filter; None where all facts do."""
    conditions = []
    if windowed.days is not None:
        conditions.append(facts.t >= facts.as_of - (windowed.before + windowed.days) * DAY)
    if windowed.before:
        conditions.append(facts.t < facts.as_of - windowed.before * DAY)
    if windowed.measure.where is not None:
        conditions.append(windowed.measure.where(facts).fill_null(False))
    return ibis.and_(*conditions) if conditions else None


def _aggregate(facts: ir.Table, windowed: WindowedMeasure) -> ir.Scalar:
    where, column = _is_counted(facts, windowed), facts[windowed.measure.column]
    match windowed.measure.how:
        case "sum":
            # A sum of 64-bit numbers overflows on Spark, and on DuckDB and PostgreSQL does not.
            column = column.cast("decimal(38, 0)") if column.type().is_integer() else column
            return column.sum(where=where)
        case "count":
            return column.count(where=where)
        case "min":
            return column.min(where=where)
        case _:
            return column.max(where=where)


def declare_table(table: str) -> ir.Table:
    """Declare a canonical table, unbound, with all columns of the contract but those of prose: no feature reads one."""
    return ibis.table(_list_types(table), name=table)


def declare_numbered_table(table: str) -> ir.Table:
    """Declare the table `numbered_…`: a canonical table with numbers for its account ids."""
    return ibis.table(_list_types(table) | {"account_id": "int32"}, name=f"numbered_{table}")


def _list_types(table: str) -> dict[str, str]:
    return {name: ibis_type(column) for name, column in TABLES[table].columns.items() if not column.prose}
