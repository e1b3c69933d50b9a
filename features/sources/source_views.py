"""Connection to a company's sources: each becomes a view or table in the schema `source` of DuckDB.

A file is read by DuckDB if it can be read whole. Otherwise it is rewritten without the lines that are at fault, which
go into the table `BAD_LINES`.
"""

from __future__ import annotations

import contextlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import ibis
import pyarrow as pa

from features.core.errors import SourceError, nearest
from features.core.redaction import hide_password
from features.settings import Settings, Source
from features.sources import spreadsheets, text_files
from features.sources.files import are_partitioned, find_format, list_files
from features.sources.mapping import quote_identifier, quote_literal, summarize_error
from features.sources.text_files import BadLine, TextForm

# No source can be called so.
BAD_LINES = 'source."=bad_lines"'
_DEEPEST, _MOST_KEYS = 4, 500


def attach_sources(connection: duckdb.DuckDBPyConnection, settings: Settings, scratch: Path) -> None:
    """Attach every source as a view or table in the schema `source` of DuckDB.

    Args:
        connection: To DuckDB.
        settings: The company's.
        scratch: Folder for rewritten files, which the views read; it need not exist.

    Raises:
        SourceError: A file or database table is missing or can't be read; the message names its key.
    """
    connection.execute("CREATE SCHEMA source; SET search_path = 'source'; SET TimeZone = 'UTC'")
    connection.execute(
        f"CREATE TABLE {BAD_LINES} (source VARCHAR, file VARCHAR, line BIGINT, text VARCHAR, why VARCHAR)"
    )
    for number, (name, source) in enumerate(settings.sources.items()):
        if source.path is not None:
            _attach_files(connection, name, source, settings.folder, scratch / str(number))
        else:
            _attach_database(connection, name, source, settings.folder)


def _attach_files(
    connection: duckdb.DuckDBPyConnection, name: str, source: Source, folder: Path, scratch: Path
) -> None:
    files, place = list_files(source, folder) or [], folder / str(source.path)
    if not files:
        raise SourceError(f"sources.{name}.path names no file", found=str(place), hint=_name_neighbours(place))
    formats = {find_format(file) for file in files}
    if None in formats or len(formats) > 1:
        raise SourceError(
            f"sources.{name}.path has no known format"
            if None in formats
            else f"sources.{name}.path has several formats",
            found=str(place),
            hint="Use CSV, CSV.gz, JSON lines, Excel (.xlsx) or Parquet",
        )
    (form,) = formats
    of_text = sorted({"encoding", "delimiter", "quote", "escape"} & source.model_fields_set)
    if of_text and form not in {"csv", "json"}:
        raise SourceError(f"sources.{name}: {', '.join(of_text)} can be said of text files alone", found=str(place))
    reader = _FileReader(connection, name, source, scratch)
    read = {"csv": reader.read_csv, "json": reader.read_json, "excel": reader.read_excel, "parquet": _read_parquet}
    try:
        rows = read[str(form)](files)
        connection.execute(f"CREATE VIEW source.{quote_identifier(name)} AS {rows}")
    except (duckdb.Error, OSError, EOFError, UnicodeError) as error:
        hint = "See that the file is whole, is what its ending says, and may be read"
        if isinstance(error, UnicodeError):
            hint = f"Correct sources.{name}.encoding"
        raise SourceError(
            f"sources.{name}.path can't be read: {place}", found=summarize_error(error), hint=hint
        ) from error


def _name_neighbours(place: Path) -> str:
    """Return a hint with the files that are called alike in the place of a file that is not there."""
    if place.is_dir():
        return "It is a folder without a CSV, JSON, Excel or Parquet file: correct the path in the TOML"
    if str(place).startswith("~") or "/~" in str(place):
        return "~ stands for nothing here: write the whole path"
    if not place.parent.is_dir():
        return f"There is no folder {place.parent}: correct the path in the TOML"
    return f"Correct the path in the TOML. {nearest(place.name, [file.name for file in place.parent.iterdir()])}"


def _read_parquet(files: Sequence[Path]) -> str:
    return f"SELECT * FROM read_parquet({_list(files)}, union_by_name = true, {_partitions(files)})"


@dataclass(frozen=True)
class _FileReader:
    """Writes the SQL that reads the files of one source.

    Args:
        connection: To DuckDB.
        name: Of the source.
        source: Its settings.
        scratch: Folder for rewritten files.
    """

    connection: duckdb.DuckDBPyConnection
    name: str
    source: Source
    scratch: Path

    def read_csv(self, files: Sequence[Path]) -> str:
        groups: dict[TextForm, list[Path]] = defaultdict(list)
        for file in files:
            form = text_files.read_form(file, self.source, name=self.name)
            if form is not None:
                groups[form].append(file)
        if not groups:
            raise SourceError(f"sources.{self.name}: {files[0]} is empty", hint="A CSV file needs a header")
        parts = [part for form, group in groups.items() for part in self._read_group(form, group)]
        return " UNION ALL BY NAME ".join(f"SELECT * FROM {part}" for part in parts)

    def _read_group(self, form: TextForm, files: Sequence[Path]) -> Iterator[str]:
        """Yield the table functions that read files of one form: as they are, and those rewritten."""
        sound, faulty = self._divide(form, files, _csv_reader)
        if sound:
            yield _csv_reader(form, sound)
        if faulty:
            rewritten = self._rewrite(form, faulty)
            yield _csv_reader(TextForm(form.columns, form.delimiter, form.quote, form.escape, "utf-8", 0), rewritten)

    def read_json(self, files: Sequence[Path]) -> str:
        form = TextForm((), "", "", "", text_files.find_encoding(files[0], self.source), self.source.skip)
        sound, faulty = self._divide(form, files, _json_reader)
        read = sound + self._rewrite(form, faulty)
        reader = _json_reader(form, read)
        ((structure,),) = self.connection.execute(f"SELECT json_group_structure(json) FROM {reader}").fetchall()
        paths = dict(_list_paths(json.loads(structure or "{}")))
        if not paths:
            raise SourceError(
                f"sources.{self.name}: {files[0]} holds no JSON objects",
                hint="Write one object a line, or a list of them",
            )
        values = "[" + ", ".join(quote_literal(path) for path in paths.values()) + "]"
        columns = ", ".join(f"v[{n}] AS {quote_identifier(c)}" for n, c in enumerate(paths, start=1))
        partitions = "* EXCLUDE (json, v)" if are_partitioned(read) else ""
        each = ", ".join(part for part in (columns, partitions) if part)
        return f"SELECT {each} FROM (SELECT *, json_extract_string(json, {values}) AS v FROM {reader})"

    def read_excel(self, files: Sequence[Path]) -> str:
        table = spreadsheets.read_sheets(files, skip=self.source.skip, name=self.name)
        _create_table(self.connection, "=" + self.name, table)
        return f"SELECT * FROM source.{quote_identifier('=' + self.name)}"

    def _divide(self, form: TextForm, files: Sequence[Path], reader: Any) -> tuple[list[Path], list[Path]]:
        """Return the files that DuckDB can read to their end, and the others."""
        if not form.is_utf8 or (reader is _json_reader and form.skipped):
            return [], list(files)
        if self._can_read(reader(form, files)):
            return list(files), []
        if len(files) == 1:
            return [], list(files)
        sound = [file for file in files if self._can_read(reader(form, [file]))]
        return sound, [file for file in files if file not in sound]

    def _can_read(self, reader: str) -> bool:
        try:
            self.connection.execute(f"SELECT count(*), count(COLUMNS(*)) FROM {reader}").fetchall()
        except duckdb.Error:
            return False
        return True

    def _rewrite(self, form: TextForm, files: Sequence[Path]) -> list[Path]:
        """Rewrite files without the lines at fault, which are noted; folders such as month=1 keep their names."""
        rewrite = text_files.rewrite_csv if form.columns else text_files.rewrite_json
        targets, bad = list[Path](), list[BadLine]()
        for file in files:
            partitions = [part for part in file.parts[:-1] if "=" in part]
            target = self.scratch.joinpath(str(len(targets)), *partitions, "rows.csv" if form.columns else "rows.jsonl")
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            bad += rewrite(file, form, target, name=self.name, source=self.source)
            targets.append(target)
        self._note(bad)
        return targets

    def _note(self, bad: Sequence[BadLine]) -> None:
        if not bad:
            return
        lines = pa.Table.from_pylist([{"source": self.name, **vars(line)} for line in bad])
        self.connection.register("bad_lines", lines)
        try:
            self.connection.execute(f"INSERT INTO {BAD_LINES} BY NAME SELECT * FROM bad_lines")
        finally:
            self.connection.unregister("bad_lines")


def _csv_reader(form: TextForm, files: Sequence[Path]) -> str:
    # All as text: the contract casts, row by row.
    columns = ", ".join(f"{quote_literal(column)}: 'VARCHAR'" for column in form.columns)
    marks = {"delim": form.delimiter, "quote": form.quote, "escape": form.escape}
    said = ", ".join(f"{option} = {quote_literal(mark)}" for option, mark in marks.items())
    return (
        f"read_csv({_list(files)}, auto_detect = false, header = true, skip = {form.skipped}, {said}, nullstr = '', "
        f"columns = {{{columns}}}, {_partitions(files)})"
    )


def _json_reader(_: TextForm, files: Sequence[Path]) -> str:
    return f"read_json_objects({_list(files)}, format = 'auto', {_partitions(files)})"


def _create_table(connection: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    connection.register("rows", rows)
    try:
        connection.execute(f"CREATE TABLE source.{quote_identifier(name)} AS SELECT * FROM rows")
    finally:
        connection.unregister("rows")


def _list(files: Sequence[Path]) -> str:
    return "[" + ", ".join(quote_literal(str(file)) for file in files) + "]"


def _partitions(files: Sequence[Path]) -> str:
    return f"hive_partitioning = {str(are_partitioned(files)).lower()}, hive_types_autocast = false"


def _list_paths(structure: Any, name: str = "", path: str = "$", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield the columns of JSON objects and their paths; an object inside is text, and its own columns outer.inner."""
    if not isinstance(structure, dict) or depth > _DEEPEST or len(structure) > _MOST_KEYS:
        return
    for key, inner in structure.items():
        if '"' not in key and key:
            column, place = f"{name}.{key}".lstrip("."), f'{path}."{key}"'
            yield column, place
            yield from _list_paths(inner, column, place, depth + 1)


def _attach_database(connection: duckdb.DuckDBPyConnection, name: str, source: Source, folder: Path) -> None:
    url, table = str(source.url), str(source.table)
    shown = hide_password(url)
    if url.startswith("sqlite:///"):
        file = folder / url.removeprefix("sqlite:///")
        # SQLite would create an empty database where there is none.
        if not file.exists():
            raise SourceError(f"sources.{name}.url names no file", found=str(file), hint="Correct the url in the TOML")
        url = f"sqlite:///{file.absolute()}"
    try:
        with contextlib.closing(_ClosableBackend(ibis.connect(url))) as database:
            typed = database.backend.table(table)
            # All as text, as from a file: a column of UUIDs or one odd value must not cost the table.
            plain = {c: "string" for c, kind in typed.schema().items() if not kind.is_nested()}
            rows = typed.cast(plain).to_pyarrow()
    except Exception as error:  # noqa: BLE001  # every backend raises errors of its own; all mean that it can't be read
        reason = hide_password(summarize_error(error).replace(url, shown))
        hint = f"Correct sources.{name}.url and table, or see that the server runs and lets this machine in"
        raise SourceError(
            f"sources.{name}: table {table!r} can't be read from {shown}", found=reason, hint=hint
        ) from None
    _create_table(connection, name, rows)


@dataclass(frozen=True)
class _ClosableBackend:
    """An Ibis backend with the `close` that contextlib calls."""

    backend: ibis.BaseBackend

    def close(self) -> None:
        self.backend.disconnect()
