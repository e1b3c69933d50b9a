"""Harms of a source, as functions on the folder of a tidewater sample: what an export that went wrong looks like.

Apply one to a copy of the sample's folder; its settings (docs/examples/tidewater.toml) stay as they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.core.contract import RECORDS

TIMES = {"usage": "used_at", "purchases": "purchased_at", "tickets": "opened_at"}
WEEKS_SILENT = timedelta(weeks=6)
MONTH = timedelta(days=30)
# So few that unknown accounts stay below quality.max_quarantine, and the run goes on to the gate.
DAYS_RECASED = timedelta(days=10)
Change = Callable[[pa.Table, datetime], pa.Table]


@dataclass(frozen=True)
class Harm:
    """A harm of one source.

    Args:
        source: The table that a verdict must name.
        kinds: The kinds of finding that name it; () where reading the company stops with an error that names it.
        changes: By table, the function from its rows and the end of the sample to harmed rows.
        seen_by_sources: False where only a comparison with an earlier run can see it.
    """

    source: str
    kinds: tuple[str, ...]
    changes: dict[str, Change]
    seen_by_sources: bool = True

    def apply(self, folder: Path) -> None:
        """Rewrite the files of a sample's folder, which holds a folder of Parquet parts a table."""
        parameters = json.loads((folder / "sample.json").read_text(encoding="utf-8"))["parameters"]
        end = datetime.fromisoformat(parameters["end"]).replace(tzinfo=UTC)
        for table, change in self.changes.items():
            for part in sorted((folder / table).glob("*.parquet")):
                pq.write_table(change(pq.read_table(part), end), part, compression="zstd")


def _stop(rows: pa.Table, end: datetime, *, time: str) -> pa.Table:
    return rows.filter(pc.less(rows[time], _instant(end - WEEKS_SILENT)))


def _lose_half(rows: pa.Table, end: datetime, *, time: str) -> pa.Table:
    lost = np.random.default_rng(7).random(rows.num_rows) < 0.5
    return rows.filter(pc.invert(pc.and_(_since(rows, time, end - MONTH), pa.array(lost))))


def _repeat(rows: pa.Table, end: datetime, *, time: str) -> pa.Table:
    return pa.concat_tables([rows, rows.filter(_since(rows, time, end - MONTH))])


def _shift_clock(rows: pa.Table, end: datetime, *, time: str) -> pa.Table:
    later = pc.cast(pc.add(rows[time], pa.scalar(timedelta(hours=8))), rows[time].type)
    return _replace(rows, time, pc.if_else(_since(rows, time, end - MONTH), later, rows[time]))


def _multiply_amounts(rows: pa.Table, end: datetime, *, factor: float) -> pa.Table:
    amount = rows["amount"]
    other = pc.cast(pc.round(pc.multiply(pc.cast(amount, pa.float64()), factor), 2), amount.type)
    return _replace(rows, "amount", pc.if_else(_since(rows, "purchased_at", end - MONTH), other, amount))


def _recase_ids(rows: pa.Table, end: datetime, *, time: str) -> pa.Table:
    ids = rows["account_id"]
    return _replace(rows, "account_id", pc.if_else(_since(rows, time, end - DAYS_RECASED), pc.utf8_lower(ids), ids))


def _recase_all_ids(rows: pa.Table, _end: datetime) -> pa.Table:
    return _replace(rows, "account_id", pc.utf8_lower(rows["account_id"]))


def _lose_half_of_accounts(rows: pa.Table, _end: datetime) -> pa.Table:
    """Keep the accounts whose id ends in an even digit."""
    last = pc.cast(pc.utf8_slice_codeunits(rows["account_id"], -1), pa.int64())
    return rows.filter(pc.equal(pc.bit_wise_and(last, 1), 0))


def _rename_column(rows: pa.Table, _end: datetime, *, old: str, new: str) -> pa.Table:
    return rows.rename_columns([new if name == old else name for name in rows.column_names])


def _since(rows: pa.Table, time: str, start: datetime) -> pa.ChunkedArray:
    return pc.greater_equal(rows[time], _instant(start))


def _instant(at: datetime) -> pa.Scalar:
    return pa.scalar(at, pa.timestamp("us", "UTC"))


def _replace(rows: pa.Table, column: str, values: pa.ChunkedArray) -> pa.Table:
    return rows.set_column(rows.column_names.index(column), column, values)


def _harm(change: Callable[..., pa.Table], source: str, *kinds: str, **options: object) -> Harm:
    return Harm(source, kinds, {source: partial(change, **options)})


HARMS: dict[str, Harm] = {
    "usage stops": _harm(_stop, "usage", "silent", time="used_at"),
    "half of usage lost": _harm(_lose_half, "usage", "halved", time="used_at"),
    "usage delivered twice": _harm(_repeat, "usage", "repeated", time="used_at"),
    "purchases stop": _harm(_stop, "purchases", "silent", time="purchased_at"),
    "tickets stop": _harm(_stop, "tickets", "silent", time="opened_at"),
    "usage clock shifted": _harm(_shift_clock, "usage", "shifted", time="used_at"),
    "amounts times 100": _harm(_multiply_amounts, "purchases", "unit", factor=100),
    "dollars for euros": _harm(_multiply_amounts, "purchases", "currency", factor=1.17),
    "usage ids re-cased": _harm(_recase_ids, "usage", "ids", time="used_at"),
    "all usage ids re-cased": _harm(_recase_all_ids, "usage"),
    "half of accounts lost": _harm(_lose_half_of_accounts, "accounts"),
    "half of customers lost": Harm(
        "accounts", (), dict.fromkeys(("accounts", *TIMES, *RECORDS), _lose_half_of_accounts), seen_by_sources=False
    ),
    "usage column renamed": _harm(_rename_column, "usage", old="count", new="number_of_uses"),
}
