"""Cut texts into tokens to search by: words where words have spaces between them, else pairs of characters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

# Scripts that are written without spaces: Chinese characters, Japanese kana, Hangul (whose spaces divide phrases).
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_RUN = re.compile(rf"[{_UNSPACED}]+|[^\W_{_UNSPACED}]+")
_IS_UNSPACED = re.compile(rf"[{_UNSPACED}]")
# Longer words, such as addresses and codes, are cut: they are no words to search by.
_LONGEST_WORD = 40
# Distinct tokens kept of a text, and of a query: what a ticket is about stands at its beginning.
_MOST, _MOST_ASKED = 400, 60
_SHORTEST_PREFIX = 3


@dataclass(frozen=True)
class AskedToken:
    """A token of a query.

    Args:
        text: The token.
        is_prefix: Whether tokens that begin with it match too.
    """

    text: str
    is_prefix: bool = False

    def is_in(self, tokens: AbstractSet[str]) -> bool:
        """Return whether any of a text's tokens matches."""
        if self.is_prefix:
            return any(token.startswith(self.text) for token in tokens)
        return self.text in tokens


def is_unspaced(token: str) -> bool:
    """Return whether a token is of a script without spaces."""
    return bool(_IS_UNSPACED.match(token))


def tokenize(text: str) -> list[str]:
    """Cut a text into its distinct tokens, in the order in which they come.

    Letters lose case, width and accents. A run of Chinese characters becomes its pairs, each overlapping the next, so
    that words of two characters are found without a dictionary; a run of one character stays as it is.

    Examples:
        >>> tokenize("Login fails: 登录失败")
        ['login', 'fails', '登录', '录失', '失败']
    """
    return list(dict.fromkeys(_iterate_tokens(text)))[:_MOST]


def tokenize_query(text: str) -> list[AskedToken]:
    """Cut what a person typed into tokens; the last word, which may be unfinished, matches as a beginning.

    A single Chinese character matches the pairs that it begins.

    Examples:
        >>> tokenize_query("log")
        [AskedToken(text='log', is_prefix=True)]
    """
    tokens = tokenize(text)[:_MOST_ASKED]
    return [
        AskedToken(token, is_prefix=_is_prefix(token, is_last=n == len(tokens) - 1)) for n, token in enumerate(tokens)
    ]


def _is_prefix(token: str, *, is_last: bool) -> bool:
    if is_unspaced(token):
        return len(token) == 1
    return is_last and len(token) >= _SHORTEST_PREFIX and token.isalpha()


def _iterate_tokens(text: str) -> Iterator[str]:
    decomposed = unicodedata.normalize("NFKD", text)
    plain = "".join(c for c in decomposed if not unicodedata.combining(c))
    # Hangul and kana that came apart are put together again.
    for match in _RUN.finditer(unicodedata.normalize("NFC", plain).casefold()):
        run = match[0]
        if not is_unspaced(run):
            yield run[:_LONGEST_WORD]
        elif len(run) == 1:
            yield run
        else:
            yield from (run[n : n + 2] for n in range(len(run) - 1))
