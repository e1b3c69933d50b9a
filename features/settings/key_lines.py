"""Find the lines of a TOML file on which its keys stand: tomllib keeps none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from features.core.errors import QualityError, SourceError

Key = tuple[str, ...]

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_KEY = re.compile(rf"\s*({_PART}(?:\s*\.\s*{_PART})*)\s*=\s*")
_TABLE = re.compile(rf"\s*(\[\[?)\s*({_PART}(?:\s*\.\s*{_PART})*)\s*\]\]?\s*(?:#.*)?$")
# Texts, also those of several lines, and comments: brackets and keys inside them are none.
_TEXT = re.compile(r'"""[\s\S]*?"""|\'\'\'[\s\S]*?\'\'\'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*')


def find_key_lines(text: str) -> dict[Key, int]:
    r"""Return the line of each key of a TOML text, from 1; of a table that of its header.

    Examples:
        >>> find_key_lines('[churn]\nlabel = { kind = "lapse" }\nhorizons = [\n  30,\n]\n')
        {('churn',): 1, ('churn', 'label'): 2, ('churn', 'label', 'kind'): 2, ('churn', 'horizons'): 3}
    """
    lines = dict[Key, int]()
    # A text keeps its line ends, so that lines keep their numbers, and loses all that looks like a key.
    masked = _TEXT.sub(lambda m: re.sub(r"[\[\]{},=#]", "\x00", m[0]), text)
    table: Key = ()
    key: Key = ()
    inside = 0  # brackets that are open
    for number, line in enumerate(masked.splitlines(), start=1):
        if inside == 0 and (header := _TABLE.match(line)):
            table = _split(header[2])
            lines.setdefault(table, number)
            continue
        if inside == 0 and (pair := _KEY.match(line)):
            key = table + _split(pair[1])
            line = line[pair.end() :]  # noqa: PLW2901  # the rest is the key's value
            lines.setdefault(key, number)
        elif not inside:
            continue
        for name in _list_inner_keys(line):
            lines.setdefault(key + name, number)
        inside += sum(map(line.count, "[{")) - sum(map(line.count, "]}"))
    return lines


def _list_inner_keys(text: str) -> Iterator[Key]:
    """Yield the keys inside the inline tables of a value, from that value's own key on."""
    around: list[Key] = []
    pending: Key = ()
    position = 0
    while position < len(text):
        if text[position] == "{":
            around.append(pending)
            pending, position = (), position + 1
        elif text[position] == "}":
            around = around[:-1]
            position += 1
        elif (pair := _KEY.match(text, position)) and around:
            pending = _split(pair[1])
            yield tuple(part for key in (*around, pending) for part in key)
            position = pair.end()
        else:
            position += 1


def _split(dotted: str) -> Key:
    return tuple(part.strip("\"'") for part in re.findall(_PART, dotted))


def find_line(lines: dict[Key, int], key: str) -> int | None:
    """Return the line of a dotted key, or of the nearest table around it; None where there is neither."""
    parts = tuple(key.split("."))
    return next((lines[parts[:n]] for n in range(len(parts), 0, -1) if parts[:n] in lines), None)


# A key in the words of an error; those of tables and sources say more than a limit that was passed.
_NAMED = re.compile(r"\b(?:sources|tables|company|quality)\.\w+(?:\.\w+)*")
_LIMITS = ("company.", "quality.")


@contextmanager
def add_places(file: Path) -> Iterator[None]:
    """Put the settings file, and the line of the key that an error names, before the errors of reading sources."""
    try:
        yield
    except (SourceError, QualityError) as error:
        if str(file) in error.problem:
            raise
        words = f"{error.problem} {error.hint or ''}"
        lines = _read_lines(file)
        keys = [key for key in _NAMED.findall(words) if find_line(lines, key)]
        key = max(keys, key=lambda one: (not one.startswith(_LIMITS), one.count(".")), default="")
        line = find_line(lines, key)
        problem = f"{file}{f', line {line}' if line else ''}: {error.problem}"
        raise type(error)(problem, found=error.found, hint=error.hint) from error.__cause__


def _read_lines(file: Path) -> dict[Key, int]:
    try:
        return find_key_lines(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError):
        return {}
