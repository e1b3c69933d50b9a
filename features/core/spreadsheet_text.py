"""Escape text that a spreadsheet would run, for every file that a person may open in one.

Source: OWASP, "CSV Injection". Excel takes full-width signs for plain ones, and passes over spaces before them.
"""

from __future__ import annotations

import re

# What a cell is run by, after spaces of any kind and signs that show nothing; a tab or line break begins a cell anew.
FORMULA = re.compile(r"^(?:[\t\r\n]|[\s\u200b-\u200f\u2060\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20|%])")


def escape_text(text: str) -> str:
    """Return text with an apostrophe before it if a spreadsheet would run it."""
    return f"'{text}" if FORMULA.match(text) else text
