"""Make text that strangers wrote safe to show, on one line or on several."""

from __future__ import annotations

import textwrap
import unicodedata

# Marks that reverse the direction of text, and so can disguise it.
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNSAFE = frozenset({"Cc", "Cs", "Zl", "Zp"})


def to_safe_line(text: str, most: int = 100) -> str:
    """Return the text on one line, without control and direction marks, and at most `most` characters long.

    Strangers write account names: a line break in a name could forge a header or a line.
    """
    if text.isascii() and text.isprintable() and 0 < len(text) <= most and text == " ".join(text.split()):
        return text  # most names: nothing to mend
    clean = "".join(" " if unicodedata.category(c) in _UNSAFE or c in _BIDI else c for c in text)
    short = textwrap.shorten(clean, most, placeholder="…")
    if short in {"", "…"} and (plain := " ".join(clean.split())):  # one long word, or a language without spaces
        return f"{plain[: most - 1]}…" if len(plain) > most else plain
    return short or "…"


def to_safe_text(text: str) -> str:
    """Return text of several lines, without control and direction marks; line breaks stay."""
    return "".join(c for c in text if c == "\n" or not (unicodedata.category(c) in _UNSAFE or c in _BIDI))
