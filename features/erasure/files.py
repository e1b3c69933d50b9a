"""Take somebody out of one file, by the file's form, or look whether it names them.

Tables lose the rows of which a cell is the id; JSON loses the objects, list items and keys; other texts have `ERASED`
where the id stood. What is only a cache, or can't be read, is removed: it is made again.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.core.atomic_write import write_atomically
from features.core.harmed_files import CHECKSUMS, SUFFIX
from features.erasure import databases
from features.erasure.terms import ID_COLUMNS, REMOVED, Terms
from features.sources.table_cache import FACTS

# References to another account in the tables of accounts: the row is not about that one.
_REFERENCES = ("parent_id", "partner_id", "merged_into")
_PROSE = frozenset({".html", ".htm", ".eml", ".txt", ".md", ".svg"})
_AN_HOUR = 3600
_COMPRESSION = {"compression": "zstd", "compression_level": 1, "use_dictionary": False}
_CHUNK = 1 << 24
_OVERLAP = 1 << 12


def erase_from_file(file: Path, terms: Terms) -> int:
    """Take them out of a file; return the number of rows or places that went, 0 where it does not name them.

    Raises:
        OSError: It can't be read or written.
    """
    if _is_leftover(file) or terms.are_in(file.name):
        file.unlink(missing_ok=True)
        return 1
    if not is_named_in(file, terms):
        return 0
    form = _find_form(file)
    if form == "parquet":
        return _erase_parquet(file, terms)
    if form == "sqlite":
        return databases.erase_from_sqlite(file, terms)
    if form == "duckdb":
        shutil.rmtree(file.with_suffix(FACTS), ignore_errors=True)
        file.unlink(missing_ok=True)
        return 1
    content, count = _erase_content(file.name, file.read_bytes(), terms)
    with write_atomically(file) as part:
        part.write_bytes(content)
        part.chmod(file.stat().st_mode & 0o777)
    return count


def is_named_in(file: Path, terms: Terms) -> bool:
    """Return whether a file names them, in its name, in what it holds, or in its bytes.

    Raises:
        OSError: It can't be read.
    """
    if terms.are_in(file.name) or _is_in_bytes(file, terms):
        return True
    form = _find_form(file)
    look: dict[str, Callable[[Path, Terms], bool]] = {
        "parquet": _is_in_parquet,
        "sqlite": databases.is_named_in_sqlite,
        "duckdb": _is_in_duckdb,
    }
    if form in look:
        return look[form](file, terms)
    return form == "other" and any(terms.are_in(text) for text in _list_texts(file.name, file.read_bytes()))


def _is_leftover(file: Path) -> bool:
    """Return whether a file was put aside as harmed, or is the half of one that a kill left: nothing can read it."""
    is_half = file.name.endswith(".part") and time.time() - file.stat().st_mtime > _AN_HOUR
    return is_half or file.name.endswith(SUFFIX)


def _find_form(file: Path) -> str:
    """Return parquet, sqlite, duckdb, or other: text and what is packed; by the first bytes, not the name."""
    with file.open("rb") as opened:
        head = opened.read(16)
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"SQLite format 3\0"):
        return "sqlite"
    return "duckdb" if head[8:12] == b"DUCK" else "other"


def _is_in_bytes(file: Path, terms: Terms) -> bool:
    before = b""
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            if terms.are_in_bytes(before + chunk):
                return True
            before = chunk[-_OVERLAP:]
    return False


def _is_in_parquet(file: Path, terms: Terms) -> bool:
    try:
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches():
                rows = pa.Table.from_batches([batch])
                if pc.any(_find_rows(rows, terms)).as_py() or any(map(terms.are_in, _list_cells(batch))):
                    return True
            about = opened.schema_arrow.metadata or {}
            return any(terms.are_in(text.decode("utf-8", "replace")) for text in about.values())
    except (pa.ArrowException, ValueError):  # harmed: its bytes were looked through
        return False


def read_parquet_rows(file: Path, terms: Terms) -> list[dict[str, Any]]:
    """Read the rows of a Parquet file that are about them."""
    with pq.ParquetFile(file) as opened:
        tables = (pa.Table.from_batches([batch]) for batch in opened.iter_batches())
        return [row for table in tables for row in table.filter(_find_rows(table, terms)).to_pylist()]


def _list_cells(batch: pa.RecordBatch) -> Iterator[str]:
    """Yield every distinct text of a batch, also those in structs and lists."""
    for column in batch.columns:
        if pa.types.is_nested(column.type):
            yield from (json.dumps(value, default=str, ensure_ascii=False) for value in column.to_pylist() if value)
        elif _is_text(column.type):
            yield from filter(None, column.unique().to_pylist())


def _erase_parquet(file: Path, terms: Terms) -> int:
    """Write a Parquet file anew, row group by row group, without the rows about them."""
    removed = 0
    try:
        with pq.ParquetFile(file) as opened, write_atomically(file) as part:
            schema = opened.schema_arrow
            with pq.ParquetWriter(part, schema, **_COMPRESSION, **CHECKSUMS) as writer:
                for n in range(opened.num_row_groups):
                    rows = opened.read_row_group(n)
                    kept = rows.filter(pc.invert(_find_rows(rows, terms)))
                    removed += rows.num_rows - kept.num_rows
                    kept = pa.table([_scrub_column(c, terms) for c in kept.columns], schema=schema)
                    writer.write_table(kept, row_group_size=max(1, kept.num_rows))
            part.chmod(file.stat().st_mode & 0o777)
    except (pa.ArrowException, ValueError):  # harmed: its reader would put it aside and make it again
        file.unlink(missing_ok=True)
    return max(removed, 1)


def _find_rows(rows: pa.Table, terms: Terms) -> pa.Array:
    """Return which rows are about them: by the column of ids or, without one, by any cell; or by a value inside one."""
    about = pa.array([False] * rows.num_rows)
    by_id = [name for name in rows.column_names if name in ID_COLUMNS]
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        if pa.types.is_nested(column.type):
            flags = pa.array([_holds_id(value, terms) for value in column.to_pylist()], pa.bool_())
        elif _is_text(column.type) and (name in by_id if by_id or terms.is_common else name not in _REFERENCES):
            flags = pc.fill_null(pc.equal(column.cast(pa.string()), terms.one), False)
        else:
            continue
        about = pc.or_(about, flags)
    return about


def _is_text(kind: pa.DataType) -> bool:
    of = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(of) or pa.types.is_large_string(of))


def _holds_id(value: Any, terms: Terms) -> bool:
    """Return whether a raw row, or another nested value, holds their id or that of another system."""
    if isinstance(value, dict):
        return any(_holds_id(inner, terms) for name, inner in value.items() if name not in _REFERENCES)
    if isinstance(value, list | tuple):
        return any(_holds_id(inner, terms) for inner in value)
    return terms.is_one(value) or value in terms.aliases


def _scrub_column(column: pa.ChunkedArray, terms: Terms) -> pa.ChunkedArray:
    """Scrub the texts of a column; a reference to them becomes null."""
    kind = column.type
    if pa.types.is_nested(kind):
        if not any(terms.are_in(json.dumps(v, default=str, ensure_ascii=False)) for v in column.to_pylist() if v):
            return column
        return pa.chunked_array([pa.array([_scrub_value(v, terms) for v in column.to_pylist()], kind)], kind)
    if not _is_text(kind):
        return column
    plain = column.cast(pa.string()) if pa.types.is_dictionary(kind) else column
    texts = filter(None, plain.unique().to_pylist())
    changed = {text: None if terms.is_one(text) else terms.scrub(text) for text in texts if terms.are_in(text)}
    if not changed:
        return column
    values = [changed.get(v, v) for v in plain.to_pylist()]
    return pa.chunked_array([pa.array(values, plain.type)]).cast(kind)


def _scrub_value(value: Any, terms: Terms) -> Any:
    if isinstance(value, dict):
        return {name: _scrub_value(inner, terms) for name, inner in value.items()}
    if isinstance(value, list):
        return [_scrub_value(inner, terms) for inner in value]
    return None if terms.is_one(value) else terms.scrub(value) if isinstance(value, str) else value


def _is_in_duckdb(file: Path, terms: Terms) -> bool:
    try:
        with duckdb.connect(str(file), read_only=True) as connection:
            columns = connection.execute(
                "SELECT schema_name, table_name, column_name FROM duckdb_columns() "
                "WHERE NOT internal AND (data_type = 'VARCHAR' OR data_type LIKE '%(%' OR data_type LIKE '%[]')"
            ).fetchall()
            for column in columns:
                schema, table, name = ('"' + part.replace('"', '""') + '"' for part in column)
                found = f"SELECT DISTINCT CAST({name} AS VARCHAR) FROM {schema}.{table} WHERE {name} IS NOT NULL"
                rows = connection.execute(found)
                while chunk := rows.fetchmany(10_000):
                    if any(terms.are_in(text) for (text,) in chunk):
                        return True
    except duckdb.Error:
        return True  # being written, or harmed: nobody can say, and it can be made again
    return False


def _list_texts(name: str, content: bytes) -> Iterator[str]:
    """Yield the texts in a file that is text, or packed text."""
    if content[:2] == b"\x1f\x8b":
        yield from _list_texts(name.removesuffix(".gz"), gzip.decompress(content))
    elif zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            for member in packed.namelist():
                yield member
                yield from _list_texts(member, packed.read(member))
    else:
        yield content.decode("utf-8", "surrogateescape")


def _erase_content(name: str, content: bytes, terms: Terms) -> tuple[bytes, int]:
    if content[:2] == b"\x1f\x8b":
        inner, count = _erase_content(name.removesuffix(".gz"), gzip.decompress(content), terms)
        return gzip.compress(inner), count
    if zipfile.is_zipfile(io.BytesIO(content)):
        return _erase_zip(content, terms)
    text, suffix = content.decode("utf-8", "surrogateescape"), Path(name).suffix.lower()
    forms = {".jsonl": _erase_lines, ".json": _erase_json, ".csv": _erase_csv}
    try:
        erased, count = forms.get(suffix, _erase_text)(text, terms)
    except (ValueError, csv.Error):  # not what its name says
        erased, count = _erase_text(text, terms)
    erased = terms.scrub(erased, prose=suffix in _PROSE)
    return erased.encode("utf-8", "surrogateescape"), max(count, 1)


def _erase_zip(content: bytes, terms: Terms) -> tuple[bytes, int]:
    packed, count = io.BytesIO(), 0
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as after:
        for member in before.namelist():
            inner = before.read(member)
            if any(terms.are_in(text) for text in _list_texts(member, inner)):
                inner, n = _erase_content(member, inner, terms)
                count += n
            after.writestr(terms.scrub(member), inner)
    return packed.getvalue(), count


def _erase_lines(text: str, terms: Terms) -> tuple[str, int]:
    lines, count = [], 0
    for line in text.splitlines(keepends=True):
        if not terms.are_in(line):
            lines.append(line)
            continue
        count += 1
        kept = terms.scrub_json(json.loads(line))
        lines += [] if kept is REMOVED else [json.dumps(kept, ensure_ascii=False) + "\n"]
    return "".join(lines), count


def _erase_json(text: str, terms: Terms) -> tuple[str, int]:
    kept = terms.scrub_json(json.loads(text))
    return json.dumps({} if kept is REMOVED else kept, ensure_ascii=False), 1


def _erase_csv(text: str, terms: Terms) -> tuple[str, int]:
    rows = list(csv.reader(io.StringIO(text, newline="")))
    by_id = [n for n, name in enumerate(rows[0]) if name in ID_COLUMNS] if rows else []
    places = by_id if by_id or terms.is_common else range(len(rows[0]))
    kept = [row for row in rows if not any(n < len(row) and terms.is_one(row[n]) for n in places)]
    written = io.StringIO(newline="")
    csv.writer(written, lineterminator="\n").writerows([[terms.scrub(cell) for cell in row] for row in kept])
    return written.getvalue(), len(rows) - len(kept)


def _erase_text(text: str, _: Terms) -> tuple[str, int]:
    return text, 1
