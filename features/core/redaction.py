"""Hide passwords in texts that people and logs may see."""

from __future__ import annotations

import re


def hide_password(text: str) -> str:
    """Return a URL, or an error that quotes connection parameters, with `***` in place of each password.

    Examples:
        >>> hide_password("postgresql://me:secret@db.example/scores")
        'postgresql://me:***@db.example/scores'
        >>> hide_password("no answer from host=db password=secret user=me")
        'no answer from host=db password=*** user=me'
    """
    # An unescaped password may hold anything, even @ and /: it ends at the last @ of the line.
    text = re.sub(r"(://[^:/@\s]*):.*@", r"\1:***@", text)
    return re.sub(r"(?i)\b(password=)[^&\s]+", r"\1***", text)
