"""How text files are written, found from their bytes: encoding, lines before the header, quotes."""

from __future__ import annotations

import codecs
import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

_CHUNK = 1 << 20
_HEAD = 40  # lines that the header is looked for in
_MARKS = ",;\t|"
# Bytes that stand for no character in windows-1252.
_UNDEFINED = frozenset(b"\x81\x8d\x8f\x90\x9d")
# Letters of Western languages: where more than this share of all letters is not ASCII, it is another alphabet.
_MOST_ACCENTS = 0.3


def find_form(files: Sequence[Path]) -> tuple[dict[str, Any], str]:
    """Return the keys of a source of text files that differ from the defaults, and the reason in words."""
    keys: dict[str, Any] = {}
    why = []
    encoding, reason = _find_encoding(files)
    if encoding:
        keys["encoding"] = encoding
        why.append(reason)
    lines = _read_head(files[0], encoding or "utf-8-sig")
    delimiter, skip = _find_header(lines)
    if skip:
        keys["skip"] = skip
        why.append(f"the header stands after {skip} other line{'s' * (skip > 1)}")
    if delimiter:
        keys["delimiter"] = {"\t": "tab"}.get(delimiter, delimiter)
    elif lines and _is_single_quoted(lines[skip:]):
        keys["quote"] = "'"
    return keys, "; ".join(why)


def _open(file: Path) -> Any:
    return pa.input_stream(str(file), compression="detect")


def _find_encoding(files: Sequence[Path]) -> tuple[str | None, str]:
    """Return the encoding of files that are not UTF-8 and have no byte-order mark, and why it is thought to be so."""
    for file in files:
        with _open(file) as stream:
            head = stream.read(_CHUNK)
            if head[:2] in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}:
                return None, ""
            if head[:400].count(0) > len(head[:400]) // 4:
                return ("utf-16-le" if head[1:2] == b"\0" else "utf-16-be"), "every other byte is zero"
            decoder, sound, chunk = codecs.getincrementaldecoder("utf-8")(), True, head
            accents, broken = bytearray(), 0
            while chunk:
                if sound:
                    try:
                        decoder.decode(chunk)
                    except UnicodeDecodeError:
                        sound = False
                        broken = sum(not _is_utf8(line) for line in chunk.splitlines())
                        accents += bytes(b for b in chunk if b > 0x7F)  # ASCII ends there
                chunk = stream.read(_CHUNK)
        if not sound and broken:
            other = sum(_is_utf8(line) and not line.isascii() for line in head.splitlines())
            if other >= broken:
                continue  # a few odd lines in UTF-8: they go to quarantine
            return _name_encoding(bytes(accents), head)
    return None, ""


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _name_encoding(accents: bytes, head: bytes) -> tuple[str, str]:
    letters = sum(bytes([b]).isalpha() for b in head) or 1
    if len(accents) > _MOST_ACCENTS * letters:
        for name in ("shift_jis", "gb18030"):
            try:
                head[: head.rfind(b"\n")].decode(name)
            except UnicodeDecodeError:
                continue
            return name, f"not UTF-8; readable as {name}"
        return "windows-1251", "not UTF-8; most letters are of another alphabet"
    if _UNDEFINED & set(accents):
        return "latin-1", "not UTF-8, and with bytes that windows-1252 lacks"
    return "windows-1252", "not UTF-8; single accented letters, as tools of Windows write them"


def _read_head(file: Path, encoding: str) -> list[str]:
    with _open(file) as stream:
        start = stream.read(_CHUNK)
    if start[:2] in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}:
        encoding = "utf-16"
    text = start.decode(encoding, errors="replace")
    return text.lstrip("\ufeff").splitlines()[:_HEAD]


def _find_header(lines: list[str]) -> tuple[str | None, int]:
    """Return the delimiter where it has to be said, and the number of lines before the header.

    A header has as many fields as most lines that follow it; a title or a date of the export has fewer.
    """
    if not lines or lines[0].startswith("sep="):
        return None, 0
    counted = {mark: [len(row) for row in csv.reader(lines, delimiter=mark)] for mark in _MARKS}
    usual = {mark: Counter(n for n in counts if n > 1).most_common(1) for mark, counts in counted.items()}
    mark = max(_MARKS, key=lambda m: usual[m][0][1] * (usual[m][0][0] > 1) if usual[m] else 0)
    if not usual[mark]:
        return None, 0
    width, times = usual[mark][0]
    counts = counted[mark]
    first = counts.index(width)
    if first == 0 or times < len([n for n in counts if n]) // 2 or any(n > width for n in counts[:first]):
        return None, 0
    rows = list(csv.reader(lines, delimiter=mark))
    if not all(field.strip() for field in rows[first]) or not any("".join(row).strip() for row in rows[:first]):
        return None, 0
    return mark, first


def _is_single_quoted(lines: list[str]) -> bool:
    fields = [field.strip() for line in lines[:10] for mark in _MARKS if mark in line for field in line.split(mark)]
    quoted = sum(len(f) > 1 and f[0] == f[-1] == "'" for f in fields)
    return bool(fields) and quoted > len(fields) / 2
