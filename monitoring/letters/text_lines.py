"""Break text into lines of a mail, also in languages without spaces."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterator

WIDTH = 76  # columns
# What may not begin a line, such as a comma, and what may not end one, such as a parenthesis that opens.
_CLOSING = "\uff0c\u3002\uff1b\uff1a\u3001\uff1f\uff01\uff09\u300b\u300d\u300f\u201d\u2019\u2026\uff05%"
_OPENING = "\uff08\u300a\u300c\u300e\u201c\u2018"
_CHARACTERS = r"\u2018-\u201d\u2026\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef"
_UNITS = re.compile(rf"\s+|[{_CHARACTERS}]|[^\s{_CHARACTERS}]+")
_WIDE = frozenset("WF")


def wrap(text: str, first: str = "", later: str | None = None) -> list[str]:
    """Break a text into lines of at most 76 columns where words allow; a wide character takes two.

    Args:
        text: On one line.
        first: Stands before the first line.
        later: Stands before the others; by default spaces as wide as `first`.
    """
    rest = " " * measure(first) if later is None else later
    if not any(unicodedata.east_asian_width(c) in _WIDE for c in text):
        return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest)
    lines, line = [], first
    for piece in _split(text):
        if measure(line) + measure(piece.rstrip()) > WIDTH and line.strip() not in {"", first.strip()}:
            lines.append(line.rstrip())
            line = rest + piece.lstrip()
        else:
            line += piece
    return [*lines, line.rstrip()]


def measure(text: str) -> int:
    """Return how many columns a text takes."""
    return sum(2 if unicodedata.east_asian_width(c) in _WIDE else 1 for c in text)


def _split(text: str) -> Iterator[str]:
    """Yield the parts between which a line may end: words, and single wide characters with their punctuation."""
    piece = ""
    for unit in _UNITS.findall(text):
        if unit.isspace() or unit[0] in _CLOSING or (piece and piece[-1] in _OPENING):
            piece += unit
            continue
        if piece:
            yield piece
        piece = unit
    if piece:
        yield piece
