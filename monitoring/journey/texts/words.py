"""Split texts into words: Chinese ones by its dictionary (rjieba), others at what is no letter."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_WORD = re.compile(r"[^\W\d_]{2,}")
_SPACE = re.compile(r"\s+")
# Codes of redacted parts, such as [mail], and addresses: they name no topic.
_MARKS = re.compile(r"[\[<⟨][\w -]{1,24}[\]>⟩]|https?://\S+")
_SENTENCES = re.compile(r"(?<=[.!?。])\s*|\n+")
_GREETING = re.compile(
    r"^(?:hi|hello|hey|dear|good (?:morning|day|afternoon)|.{0,3}你好|您好|.{0,2}早上好|各位好)\b[^,.!?]{0,24}[,!]\s*"
)
# A sentence in so many of the texts is of form: a closing, a signature, what the form adds.
_COMMON_SHARE, _COMMON = 0.015, 20
# The first letters of a text that are read: what it is about is said at its beginning.
_MOST = 1_200


def clean_text(subject: str | None, body: str | None = None) -> str:
    """Join subject and body as one text in lower case, without marks of redacted parts; digits become 0."""
    text = f"{subject or ''}. {(body or '')[:_MOST]}"
    plain = _MARKS.sub(" ", unicodedata.normalize("NFKC", text)).lower()
    return re.sub(r"\d+", "0", _SPACE.sub(" ", plain)).strip()


def strip_forms(texts: Sequence[str]) -> list[str]:
    """Return cleaned texts without greetings and without sentences that many of them share, such as a closing.

    A text of nothing else stays as it is.
    """
    split = [[_GREETING.sub("", part.strip()) for part in _SENTENCES.split(text)] for text in texts]
    counts = Counter(part for parts in split for part in set(parts))
    most = max(_COMMON, _COMMON_SHARE * len(texts))
    kept = (" ".join(part for part in parts if part and counts[part] <= most) for parts in split)
    return [short or text for short, text in zip(kept, texts, strict=True)]


def find_language(text: str, given: str | None = None) -> str:
    """Return the language of a text as a code: the given one's first letters, or else zh or en by its script.

    Examples:
        >>> find_language("导出失败"), find_language("export fails"), find_language("Ausfall", "de-DE")
        ('zh', 'en', 'de')
    """
    if given:
        return given.strip().lower().replace("_", "-").partition("-")[0]
    return "zh" if 5 * len(_HAN.findall(text)) > len(text) else "en"


def split_words(text: str) -> list[str]:
    """Split a text into words of two letters or more.

    Examples:
        >>> split_words("The export fails, 404")
        ['the', 'export', 'fails']
    """
    parts = _cut(text) if _HAN.search(text) else [text]
    return [word for part in parts for word in _WORD.findall(part.lower())]


def space_words(texts: Sequence[str]) -> list[str]:
    """Return the texts with spaces between their words."""
    return [" ".join(split_words(text)) for text in texts]


@lru_cache(maxsize=4_096)
def _cut(text: str) -> tuple[str, ...]:
    return tuple(_load_dictionary().cut(text, hmm=False))


@cache
def _load_dictionary() -> Any:
    import rjieba  # its dictionary takes a moment to load

    return rjieba
