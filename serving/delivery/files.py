"""Write scores to a CSV, Parquet or Excel file, whole or not at all, chunk by chunk."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from features.core.atomic_write import write_atomically
from features.core.errors import DeliveryError
from features.core.spreadsheet_text import escape_text

# Limits of a sheet of Excel: rows below the header, and characters in a cell.
EXCEL_ROWS, _EXCEL_CELL = 1_048_575, 32_767

Write = Callable[[pd.DataFrame], None]


def write(file: Path, chunks: Iterable[pd.DataFrame]) -> None:
    """Write all chunks to one file.

    Args:
        file: Ends in .csv, .parquet or .xlsx.
        chunks: Frames with the same columns; at least one.

    Raises:
        DeliveryError: The file can't be written, or a sheet can't hold so many rows.
    """
    open_file = {".csv": _csv, ".parquet": _parquet, ".xlsx": _excel}[file.suffix.lower()]
    try:
        with write_atomically(file) as part, open_file(part) as add:
            for chunk in chunks:
                add(chunk)
    except OSError as error:
        raise DeliveryError(f"{file} can't be written", found=str(error.strerror or error)) from error


def check_capacity(file: Path, rows: int) -> None:
    """Check that a file can hold so many rows.

    Raises:
        DeliveryError: It can't.
    """
    if file.suffix.lower() == ".xlsx" and rows > EXCEL_ROWS:
        raise DeliveryError(
            f"{file} can't hold the scores",
            found=f"{rows:,} rows, where a sheet holds {EXCEL_ROWS:,}",
            hint="Write to a file that ends in .csv or .parquet",
        )


@contextmanager
def _csv(part: Path) -> Iterator[Write]:
    with part.open("w", newline="", encoding="utf-8") as file:

        def add(chunk: pd.DataFrame) -> None:
            shown = _escaped(chunk)
            for column in shown.select_dtypes("datetimetz"):
                shown[column] = shown[column].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
            # All text quoted: a carriage return within would end the row otherwise.
            shown.to_csv(file, index=False, header=file.tell() == 0, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")

        yield add


@contextmanager
def _parquet(part: Path) -> Iterator[Write]:
    import pyarrow as pa
    from pyarrow import parquet

    writer: Any = None

    def add(chunk: pd.DataFrame) -> None:
        nonlocal writer
        if writer is None:
            schema = pa.Schema.from_pandas(chunk, preserve_index=False)
            # A column that is empty in the first chunk alone has no type of its own.
            for i, field in enumerate(schema):
                schema = schema.set(i, field.with_type(pa.string())) if pa.types.is_null(field.type) else schema
            writer = parquet.ParquetWriter(part, schema)
        writer.write_table(pa.Table.from_pandas(chunk, schema=writer.schema, preserve_index=False))

    try:
        yield add
    finally:
        if writer is not None:
            writer.close()


@contextmanager
def _excel(part: Path) -> Iterator[Write]:
    import xlsxwriter  # type: ignore[import-untyped]  # it has no types

    # A row leaves memory once it is written.
    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    book = xlsxwriter.Workbook(str(part), options)
    sheet, instant = book.add_worksheet("scores"), book.add_format({"num_format": "yyyy-mm-dd hh:mm"})
    at = 0

    def add(chunk: pd.DataFrame) -> None:
        nonlocal at
        check_capacity(part.with_name(part.name.partition(".xlsx")[0] + ".xlsx"), max(at - 1, 0) + len(chunk))
        if at == 0:
            book.set_properties({"created": _first_instant(chunk)})
            sheet.write_row(0, 0, list(chunk.columns))
            sheet.freeze_panes(1, 1)
            at = 1
        shown = _escaped(chunk)
        for column in shown.select_dtypes("datetimetz"):
            shown[column] = shown[column].dt.tz_localize(None)
        finite = shown.astype(object).where(shown.notna(), None)
        for row in finite.itertuples(index=False, name=None):
            for c, value in enumerate(row):
                _write(sheet, at, c, value, instant)
            at += 1

    try:
        yield add
    finally:
        book.close()


def _write(sheet: Any, row: int, column: int, value: Any, instant: Any) -> None:
    if value is None or value in (float("inf"), float("-inf")):
        return
    if isinstance(value, bool):
        sheet.write_boolean(row, column, value)
    elif isinstance(value, pd.Timestamp):
        sheet.write_datetime(row, column, value.to_pydatetime(), instant)
    elif isinstance(value, str):
        sheet.write_string(row, column, value if len(value) <= _EXCEL_CELL else value[: _EXCEL_CELL - 1] + "…")
    else:
        sheet.write_number(row, column, float(value))


def _first_instant(chunk: pd.DataFrame) -> Any:
    """Return the scores' instant as the sheet's time of creation, so that the same scores make the same file."""
    instants: Any = chunk["as_of"].dropna().tolist() if "as_of" in chunk else []
    return instants[0].tz_localize(None).to_pydatetime() if instants else None


def _escaped(chunk: pd.DataFrame) -> pd.DataFrame:
    """Return the chunk with an apostrophe before each text that a spreadsheet would run."""
    shown = chunk.copy()
    for column in (c for c in chunk.columns if pd.api.types.is_string_dtype(chunk[c])):
        shown[column] = shown[column].map(escape_text, na_action="ignore")
    return shown
