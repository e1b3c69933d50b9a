"""Excel workbooks as tables of text: the first sheet of each, with its header."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from features.core.errors import SourceError
from features.sources.text_files import name_columns

_HINT = "Save it as an .xlsx workbook, or as CSV"


def read_sheets(files: Sequence[Path], *, skip: int, name: str) -> pa.Table:
    """Read the first sheets of workbooks, one after the other, all values as text.

    Args:
        files: The workbooks.
        skip: Rows before the header.
        name: Name of the source.

    Raises:
        SourceError: A file is no workbook, or has no header.
    """
    return pa.concat_tables([_read_sheet(file, skip=skip, name=name) for file in files], promote_options="default")


def _read_sheet(file: Path, *, skip: int, name: str) -> pa.Table:
    import openpyxl  # slow, and few companies need it

    try:
        workbook = openpyxl.load_workbook(file, read_only=True, data_only=True)
        rows = [[_show(cell) for cell in row] for row in islice(workbook.worksheets[0].values, skip, None)]
        workbook.close()
    except Exception as error:  # its readers raise errors of many kinds
        raise SourceError(
            f"sources.{name}.path can't be read: {file}", found=str(error).splitlines()[0], hint=_HINT
        ) from error
    rows = [row for row in rows if any(cell is not None for cell in row)]
    if not rows:
        raise SourceError(f"sources.{name}: {file} is empty", hint="The first sheet needs a header")
    width = max(len(row) for row in rows)
    header, *body = [[*row, *[None] * (width - len(row))] for row in rows]
    columns = name_columns([cell or "" for cell in header])
    values = zip(*body, strict=True) if body else [()] * width
    return pa.table({c: pa.array(v, pa.string()) for c, v in zip(columns, values, strict=True)})


def _show(cell: Any) -> str | None:
    """Return a cell as text that the contract can read: times in ISO, whole numbers without a fraction."""
    if cell is None:
        return None
    if isinstance(cell, datetime):
        return cell.date().isoformat() if cell.time() == time.min else cell.isoformat(sep=" ")
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)
