"""Write a sample's folder: rows collected day by day, Parquet parts, and one rename at the end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.core.errors import GarrisonError

NOTE = "sample.json"
Rows = dict[str, NDArray[Any]]  # columns of equal length, by name
_GROUP = 1_000_000  # rows held as text at a time


def concatenate_blocks(blocks: list[Rows]) -> Rows:
    """Concatenate blocks of rows; the blocks are emptied on the way, to keep no column twice in memory."""
    names = list(blocks[0])
    return {name: np.concatenate([block.pop(name) for block in blocks]) for name in names}


def write_part(rows: Rows, part: Path, table: Callable[[Rows], pa.Table]) -> int:
    """Write rows as one Parquet part, made into a table a slice at a time; gives the number of rows."""
    n = len(next(iter(rows.values())))
    writer: pq.ParquetWriter | None = None
    for start in range(0, max(n, 1), _GROUP):
        piece = table({name: values[start : start + _GROUP] for name, values in rows.items()})
        writer = writer or pq.ParquetWriter(part, piece.schema, compression="zstd")
        writer.write_table(piece)
    assert writer is not None
    writer.close()
    return n


def to_timestamps(micros: NDArray[np.int64], *, absent: NDArray[np.bool_] | None = None) -> pa.Array:
    """Convert microseconds since 1970 to UTC timestamps, null where absent."""
    return pa.array(micros, pa.timestamp("us", "UTC"), mask=absent)


def number_ids(letter: str, chunk: int, n: int) -> pa.Array:
    """Return n ids, numbered from 0, unlike those of any other chunk."""
    return pc.binary_join_element_wise(f"{letter}{chunk:02d}", pad_numbers(np.arange(n), 8), "-")


def pad_numbers(numbers: NDArray[np.int64], width: int) -> pa.Array:
    """Format numbers as text with leading zeros."""
    return pc.utf8_lpad(pc.cast(pa.array(numbers), pa.string()), width, "0")


def read_finished(out: Path, parameters: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the summary of the sample in this folder, None if it has none with these parameters.

    Raises:
        GarrisonError: The folder holds something else, which is not ours to replace.
    """
    if not out.exists():
        return None
    try:
        note = json.loads((out / NOTE).read_text(encoding="utf-8"))
        found, summary = note["parameters"], note["summary"]
    except (OSError, ValueError, KeyError, TypeError):
        if out.is_dir() and not any(out.iterdir()):
            return None
        raise GarrisonError(
            f"{out} is not a folder that a sample was written to",
            found="a file, or a folder with other things in it",
            hint="Name a new or empty folder",
        ) from None
    return dict(summary) if found == dict(parameters) else None


@contextmanager
def write_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder to write to, which replaces `out` at the end unless an error occurs.

    A run that fails leaves nothing; one that is killed leaves the folder beside, which the next run removes.
    """
    partial, old = out.with_name(f".{out.name}.partial"), out.with_name(f".{out.name}.old")
    for leftover in (partial, old):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if out.exists():
            out.rename(old)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def record_summary(folder: Path, parameters: Mapping[str, Any], summary: Mapping[str, Any]) -> None:
    """Record parameters and summary in the folder, for `read_finished`."""
    text = json.dumps({"parameters": dict(parameters), "summary": dict(summary)}, indent=2)
    (folder / NOTE).write_text(text + "\n", encoding="utf-8")
