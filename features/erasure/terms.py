"""What names somebody in a text: ids, each in the forms in which files and pages write it."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any
from urllib.parse import quote, quote_plus

# What stands in a text for what was erased.
ERASED = "[erased]"
# Shorter ids are in the bytes of any compressed file by chance: they are looked for in what can be read alone.
LEAST_BYTES = 6
# Letters of scripts that put no space between words: next to one an id may begin or end.
_JOINED = r"\u2e80-\u9fff\uf900-\ufaff\uac00-\ud7af"  # of Chinese, Japanese and Korean
_WORD = rf"[^\W{_JOINED}]"
# Columns, and keys of objects, that hold an id; and keys of lists of ids.
ID_COLUMNS = frozenset({"account_id", "account", "person_id", "id", "unit", "row_id"})
_ID_LISTS = frozenset({"accounts", "account_ids"})
# Ids of fewer bytes, and numbers of fewer digits, are also words and figures of their own.
_LEAST_TEXT, _LEAST_DIGITS = 4, 7
_BEFORE = r"\b(?:accounts?|account_id|unit)\b[\"'=:/\s]{1,4}"
REMOVED: Any = object()


class Terms:
    """What names one account or person.

    A short id or number is looked for where an id is expected alone: in columns and keys of ids, and after the word
    account. Anywhere else 42 may be a figure.

    Args:
        one: The id.
        longer: Ids of others that hold it, such as A-12 for A-1: where one of these stands, nobody is named.
        aliases: Ids of the same in other systems, which are looked for in rows as they came.
        names: Names and addresses, looked for in what is written for people alone: another may be called so.

    Examples:
        >>> terms = Terms("A-1", longer=["A-1-b"])
        >>> terms.scrub("A-1, A-12, A-1-b and A-1.")
        '[erased], A-12, A-1-b and [erased].'
        >>> Terms("甲 公司").scrub("与甲 公司的合同")
        '与[erased]的合同'
        >>> Terms("42").scrub("42 seats of account 42")
        '42 seats of account [erased]'
    """

    def __init__(
        self, one: str, *, longer: Iterable[str] = (), aliases: Iterable[str] = (), names: Iterable[str] = ()
    ) -> None:
        self.one, self.aliases, self.names = one, frozenset(aliases), frozenset(names) | frozenset(aliases)
        self.longer = frozenset(longer) - {one}
        self.is_common = len(one.encode()) < _LEAST_TEXT or (one.isdigit() and len(one) < _LEAST_DIGITS)

    @cached_property
    def forms(self) -> frozenset[str]:
        """Return the id as plain text, HTML, JSON and URLs write it."""
        return _write_forms([self.one])

    @cached_property
    def _others(self) -> frozenset[str]:
        return _write_forms(self.longer)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return _compile(self.forms, self._others, before=_BEFORE if self.is_common else "")

    @cached_property
    def name_forms(self) -> frozenset[str]:
        """Return names, addresses and other ids in the same forms."""
        return _write_forms(self.names)

    @cached_property
    def _names(self) -> re.Pattern[str]:
        return _compile(self.name_forms, self._others)

    @cached_property
    def _bytes(self) -> re.Pattern[bytes] | None:
        long = [] if self.is_common else [form for form in self.forms if len(form.encode()) >= LEAST_BYTES]
        every = sorted({*long, *self._others}, key=len, reverse=True)
        return re.compile(b"|".join(re.escape(form.encode()) for form in every)) if long else None

    def is_one(self, value: object) -> bool:
        """Return whether a value is the id and nothing else."""
        return value == self.one

    def are_in(self, text: str) -> bool:
        """Return whether a text names them by the id."""
        return self.scrub(text) != text

    def are_in_bytes(self, content: bytes) -> bool:
        """Return whether bytes of any form hold the id; of one too short for that, never."""
        if self._bytes is None:
            return False
        return any(match[0].decode() not in self._others for match in self._bytes.finditer(content))

    def scrub(self, text: str, *, prose: bool = False) -> str:
        """Return a text with `ERASED` in place of the id; in prose also of names, addresses and other ids."""
        text = self._pattern.sub(self._replace, text)
        return self._names.sub(self._replace, text) if prose and self.names else text

    def _replace(self, match: re.Match[str]) -> str:
        return match[0] if match[0] in self._others else (match["before"] or "") + ERASED

    def scrub_json(self, value: Any, key: str = "") -> Any:
        """Return a JSON value without what is about them, `REMOVED` for one that is whole about them.

        Objects that name them under a key such as account_id go, and list items and keys that are the id; in other
        texts `ERASED` takes its place.

        Args:
            value: As `json.loads` returns it.
            key: That it stands under.
        """
        is_listed = not self.is_common or key in _ID_LISTS
        if isinstance(value, str):
            return ERASED if self.is_one(value) and key in ID_COLUMNS else self.scrub(value)
        if isinstance(value, list):
            kept = (self.scrub_json(item, key) for item in value if not (is_listed and self.is_one(item)))
            return [item for item in kept if item is not REMOVED]
        if not isinstance(value, dict):
            return value
        if any(self.is_one(value.get(name)) for name in ID_COLUMNS):
            return REMOVED
        inside = {n: inner for n, inner in value.items() if not (is_listed and self.is_one(n))}
        scrubbed = {self.scrub(n): self.scrub_json(inner, n) for n, inner in inside.items()}
        return {n: inner for n, inner in scrubbed.items() if inner is not REMOVED}


def _write_forms(ids: Iterable[str]) -> frozenset[str]:
    forms = set[str]()
    for one in filter(None, ids):
        escaped = json.dumps(one)[1:-1]
        forms |= {one, html.escape(one), html.escape(one, quote=False), quote(one), quote(one, safe="")}
        forms |= {quote_plus(one), escaped, json.dumps(one, ensure_ascii=False)[1:-1], one.replace('"', '""')}
        forms |= {html.escape(one).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")}
    return frozenset(forms)


def _compile(forms: Iterable[str], others: Iterable[str], before: str = "") -> re.Pattern[str]:
    """Compile what finds a form that stands by itself, or after `before`; the longest first, those of others too."""
    known = set(forms)
    own = "|".join(_bound(form) for form in sorted(known, key=len, reverse=True)) or r"(?!)"
    longer = "".join(f"{_bound(form)}|" for form in sorted({*others} - known, key=len, reverse=True))
    return re.compile(f"{longer}(?P<before>{before})(?:{own})")


def _bound(form: str) -> str:
    start = rf"(?<!{_WORD})" if re.match(_WORD, form[0]) else ""
    end = rf"(?!{_WORD})" if re.match(_WORD, form[-1]) else ""
    return start + re.escape(form) + end
