"""Say an error to people who need not know how the installation is built: without paths and addresses."""

from __future__ import annotations

import re

from features.core.errors import GarrisonError

# Addresses with a scheme, absolute paths, and relative ones with the ending of a data file.
_PLACE = re.compile(
    r"[A-Za-z][\w+.-]*://\S+|(?<![\w.])/(?:[^\s/:]+/)+[^\s:,;]*"
    r"|[^\s/:]+(?:/[^\s/:]+)*/[^\s/:]+\.(?:db|duckdb|parquet|jsonl?|csv|toml|txt)\b"
)


def hide_places(text: str) -> str:
    """Return a text with `…` in place of addresses and paths of files.

    Examples:
        >>> hide_places("no table in postgresql://db.example/scores or /var/lib/a.db; see 1/2 and and/or")
        'no table in … or …; see 1/2 and and/or'
    """
    return _PLACE.sub("…", text)


def describe_publicly(error: GarrisonError) -> str:
    """Return an error for strangers; the whole error belongs into the log.

    What was found is left out, since it quotes other programs.

    Examples:
        >>> describe_publicly(GarrisonError("the database sqlite:////var/a.db is locked", found="x", hint="Wait"))
        'the database … is locked. Wait.'
    """
    parts = (error.problem, error.hint or "")
    return " ".join(hide_places(part).rstrip(".") + "." for part in parts if part)
