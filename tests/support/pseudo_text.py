"""Read what the pseudo-locale wrote: find letters that no catalog knows, and give back the English."""

from __future__ import annotations

import re
from collections.abc import Iterable

from features.core.language import ACCENTED, PLAIN

_PLAINLY = str.maketrans(ACCENTED, PLAIN)


def remove_accents(text: str) -> str:
    """Return a text of the pseudo-locale without accents; its marks stay."""
    return text.translate(_PLAINLY)


def to_english(text: str) -> str:
    """Return the English sentence of which the pseudo-locale made a text."""
    return remove_accents(text).replace("⟦", "").replace("⟧", "")


def find_raw_words(text: str, data: Iterable[str] = ()) -> list[str]:
    """Return the words that no catalog knows, but for data such as names and ids."""
    for known in sorted(data, key=len, reverse=True):
        text = text.replace(known, " ")
    return re.findall(r"[A-Za-z]{2,}|\b[A-Za-z]\b", text)
