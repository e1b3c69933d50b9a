"""Text files as tools write them: encoding, delimiter, quotes; and the lines that can't be read.

RFC 4180 is taken at its word: the quote and its escape are known, and the delimiter is found once, from the header.
A file that DuckDB can't read as it is gets rewritten in UTF-8, without the lines that are at fault.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import pyarrow as pa

from features.core.errors import SourceError
from features.settings import Source

_DELIMITERS = ",;\t|"
_SAMPLE = 20  # lines that decide between delimiters that the header has both
_LONGEST = 10_000  # lines of one record: a quote that is not closed would swallow the rest of the file
_MOST_CHARACTERS = 2**24  # of one field
_MOST_BYTES = 2_000_000  # of a line: DuckDB reads no longer ones
_UTF8 = "utf-8-sig"


@dataclass(frozen=True)
class BadLine:
    """A line that can't be read.

    Args:
        file: Its file.
        line: Its number, from 1.
        text: The line as it came; bytes that can't be decoded in hexadecimal.
        why: The reason.
    """

    file: str
    line: int
    text: str
    why: str


@dataclass(frozen=True)
class TextForm:
    """How the rows of a text file are written.

    Args:
        columns: Names in the header, each once; () for JSON lines.
        delimiter: Between two fields.
        quote: Around a field; "" for none.
        escape: Before a quote inside quotes.
        encoding: Name of the codec.
        skipped: Lines before the header.
    """

    columns: tuple[str, ...]
    delimiter: str
    quote: str
    escape: str
    encoding: str
    skipped: int

    @property
    def is_utf8(self) -> bool:
        """Return whether DuckDB can read the encoding."""
        return self.encoding == _UTF8


def read_form(file: Path, source: Source, *, name: str) -> TextForm | None:
    """Read how a CSV file is written, from what its source says and from its header; None for an empty file.

    Raises:
        SourceError: The header is not UTF-8, and no encoding is given.
    """
    encoding, quote = find_encoding(file, source), '"' if source.quote is None else source.quote
    escape = source.escape or quote
    with _open_text(file, encoding) as lines:
        before, header = list(islice(lines, source.skip)), ""
        for line in lines:
            before.append(line)
            if line.strip("\ufeff \t\n"):
                header = line
                break
        separator = re.fullmatch(r"\ufeff?sep=(.)\n?", header)  # Excel's own first line
        if separator:
            header = next(lines, "")
            before.append(header)
        while quote and header.count(quote) % 2 and (more := next(lines, "")):
            header += more
        sample = list(islice(lines, _SAMPLE))
    if not header:
        return None
    if any("\udc80" <= character <= "\udcff" for character in header):
        raise _refuse_encoding(name, file, len(before))
    header = header.lstrip("\ufeff")
    delimiter = source.delimiter or (separator[1] if separator else _sniff_delimiter(header, sample, quote))
    form = TextForm((), delimiter, quote, escape, encoding, len(before) - 1)
    names = next(_parse(header.splitlines(keepends=True), form, strict=False), [])
    return replace(form, columns=name_columns(names))


def find_encoding(file: Path, source: Source) -> str:
    """Return the codec of a file: the one given, or what its byte-order mark says, or UTF-8."""
    if source.encoding:
        name = codecs.lookup(source.encoding).name
        return _UTF8 if name in {"utf-8", "ascii"} else name
    with pa.input_stream(str(file), compression="detect") as stream:
        start = stream.read(2)
    return "utf-16" if start in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE} else _UTF8


def rewrite_csv(file: Path, form: TextForm, target: Path, *, name: str, source: Source) -> list[BadLine]:
    """Write a CSV file again in UTF-8, without the lines that can't be read, and return these.

    Args:
        file: The file.
        form: How it is written; the new file is written likewise, but begins with the header.
        target: The file to write.
        name: Name of the source.
        source: The source.

    Raises:
        SourceError: Its encoding is not the one given, or not UTF-8 where none is given.
    """
    count, special = len(form.columns), form.quote + (form.escape if form.escape != form.quote else "")

    def check(line: str, lines: _NumberedLines) -> tuple[str, str | None]:
        if any(mark in line for mark in special):
            fields, record = _read_record(line, lines, form)
        else:
            fields, record = line.count(form.delimiter) + 1, line
        if fields is None:
            return line, "a quote in the line is not closed"
        return record, None if fields == count else f"the line has {fields} fields, the header {count}"

    return _rewrite(file, form, target, check, name=name, source=source)


def rewrite_json(file: Path, form: TextForm, target: Path, *, name: str, source: Source) -> list[BadLine]:
    """Write a file of JSON lines again in UTF-8, without the lines that hold no object; the rest as `rewrite_csv`."""

    def check(line: str, _: _NumberedLines) -> tuple[str, str | None]:
        try:
            is_object = isinstance(json.loads(line, parse_constant=_refuse_constant), dict)
        except ValueError:
            is_object = False
        return line, None if is_object else "the line is not a JSON object"

    return _rewrite(file, form, target, check, name=name, source=source)


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _rewrite(  # noqa: PLR0913  # all but the first four named
    file: Path, form: TextForm, target: Path, check: _Check, *, name: str, source: Source
) -> list[BadLine]:
    bad: list[BadLine] = []
    undecodable: list[BadLine] = []
    decoded = 0  # lines that are not plain ASCII and can be read
    with _open_text(file, form.encoding) as text, target.open("wb") as out:
        lines = _NumberedLines(text)
        for _ in range(form.skipped):
            next(lines, None)
        for line in lines:
            number = lines.number
            if not line.strip("\ufeff\n"):
                continue
            record, why = check(line.lstrip("\ufeff"), lines)
            try:
                plain = record.encode()
            except UnicodeEncodeError:
                undecodable.append(BadLine(str(file), number, _show(line), f"the line is not {_describe(form)}"))
                lines.push_back(record.splitlines(keepends=True)[1:])
                continue
            if why is None and len(plain) > _MOST_BYTES:
                why = f"the line has over {_MOST_BYTES:,} bytes"
            if why is None:
                decoded += not record.isascii()
                out.write(plain if plain.endswith(b"\n") else plain + b"\n")
            else:
                bad.append(BadLine(str(file), number, _show(line), why))
    if not source.encoding and len(undecodable) > decoded:
        raise _refuse_encoding(name, file, undecodable[0].line)
    return sorted(bad + undecodable, key=lambda line: line.line)


def _describe(form: TextForm) -> str:
    return "UTF-8" if form.is_utf8 else form.encoding


def _refuse_encoding(name: str, file: Path, line: int) -> SourceError:
    return SourceError(
        f"sources.{name}: {file} is not UTF-8",
        found=f"line {line} has bytes of another encoding",
        hint=f'Name it: sources.{name}.encoding = "windows-1252" is what most tools of Windows write; '
        '"utf-8" puts such lines into quarantine',
    )


def _show(line: str) -> str:
    """Return a line as it came, with the bytes that could not be decoded in hexadecimal."""
    return line.rstrip("\n").encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


class _NumberedLines(Iterator[str]):
    """The lines of a file, numbered from 1; lines can be pushed back."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines, self._waiting, self.number = iter(lines), deque[str](), 0

    def __next__(self) -> str:
        line = self._waiting.popleft() if self._waiting else next(self._lines)
        self.number += 1
        return line

    def push_back(self, lines: list[str]) -> None:
        """Make these the next lines."""
        self._waiting.extendleft(reversed(lines))
        self.number -= len(lines)


# Takes a line and those after it; returns the record that begins with it, and why it can't be read.
_Check: TypeAlias = Callable[[str, _NumberedLines], tuple[str, str | None]]


def _read_record(first: str, lines: _NumberedLines, form: TextForm) -> tuple[int | None, str]:
    """Read a record that may go on over several lines.

    Returns:
        Its number of fields, None if a quote is not closed; and its text. A record of several lines that is not right
        is given back: the first line alone is at fault.
    """
    taken = [first]

    def feed() -> Iterator[str]:
        yield first
        for line in islice(lines, _LONGEST):
            taken.append(line)
            yield line

    try:
        fields: int | None = len(next(_parse(feed(), form, strict=True)))
    except (csv.Error, StopIteration):
        fields = None
    if len(taken) > 1 and fields != len(form.columns):
        lines.push_back(taken[1:])
        return None, first
    return fields, "".join(taken)


def read_records(file: Path, form: TextForm) -> Iterator[tuple[int, list[str]]]:
    """Yield the records after the header of a CSV file, each with the number of its first line, from 1."""
    with _open_text(file, form.encoding) as lines:
        skipped = sum(1 for _ in islice(lines, form.skipped))
        records: Any = _parse(lines, form, strict=False)
        begin = 0
        for fields in records:
            if begin:
                yield skipped + begin + 1, fields
            begin = records.line_num


def _parse(lines: Iterable[str], form: TextForm, *, strict: bool) -> Iterator[list[str]]:
    csv.field_size_limit(_MOST_CHARACTERS)
    doubled = form.escape == form.quote
    return csv.reader(
        lines,
        delimiter=form.delimiter,
        quotechar=form.quote or None,
        quoting=csv.QUOTE_MINIMAL if form.quote else csv.QUOTE_NONE,
        doublequote=doubled,
        escapechar=None if doubled else form.escape,
        strict=strict,
    )


def _sniff_delimiter(header: str, sample: list[str], quote: str) -> str:
    """Return the delimiter that stands in the header, and in most lines as often as there."""

    def count(line: str, mark: str) -> int:
        bare = re.sub(f"{re.escape(quote)}[^{re.escape(quote)}]*{re.escape(quote)}", "", line) if quote else line
        return bare.count(mark)

    counts = {mark: count(header, mark) for mark in _DELIMITERS}
    return max(
        _DELIMITERS,
        key=lambda mark: (
            counts[mark] > 0,
            sum(count(line, mark) == counts[mark] for line in sample),
            counts[mark],
            -_DELIMITERS.index(mark),
        ),
    )


def name_columns(names: list[str]) -> tuple[str, ...]:
    """Return the names of a header as DuckDB gives them: trimmed, none empty, none twice in any case of letters."""
    columns: list[str] = []
    width = len(str(len(names) - 1))
    for number, name in enumerate(names):
        base = name.strip() or f"column{number:0{width}}"
        taken = {column.casefold() for column in columns}
        unique, suffix = base, 0
        while unique.casefold() in taken:
            suffix += 1
            unique = f"{base}_{suffix}"
        columns.append(unique)
    return tuple(columns)


def _open_text(file: Path, encoding: str) -> io.TextIOWrapper:
    """Open a text file, plain or compressed; every end of line is read as that of Unix, and no byte is an error."""
    stream: BinaryIO = pa.input_stream(str(file), compression="detect")
    # Codecs of several bytes a character can't carry single bytes.
    errors = "replace" if encoding.startswith(("utf-16", "utf-32")) else "surrogateescape"
    return io.TextIOWrapper(stream, encoding=encoding, errors=errors)
