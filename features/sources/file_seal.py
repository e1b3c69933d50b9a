"""Seal a file with its length and a checksum at its end, so that one cut short or spoiled is recognised before use.

DuckDB finds what it needs by the head of its file, and ignores what follows the last block.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

_MARK = b"garrison"
_SEAL = struct.Struct("<8sQI")  # mark, bytes before the seal, checksum
SIZE = _SEAL.size  # bytes that it adds to a file
# Larger files are read at so many places: DuckDB checks each block that it reads itself.
_BLOCK, _PLACES = 1 << 18, 512


def seal(file: Path) -> None:
    """Append the seal to a finished file."""
    size = file.stat().st_size
    with file.open("r+b") as opened:
        checksum = _compute_checksum(file, size)
        opened.seek(size)
        opened.write(_SEAL.pack(_MARK, size, checksum))


def is_seal_intact(file: Path) -> bool:
    """Return whether a file ends with its seal and matches it.

    Raises:
        OSError: It is gone or can't be read.
    """
    size = file.stat().st_size - _SEAL.size
    if size < 0:
        return False
    with file.open("rb") as opened:
        opened.seek(size)
        mark, length, checksum = _SEAL.unpack(opened.read(_SEAL.size))
    return mark == _MARK and length == size and checksum == _compute_checksum(file, size)


def _compute_checksum(file: Path, size: int) -> int:
    """Compute the checksum of the first `size` bytes: of all, or of evenly spread blocks and the last one."""
    blocks = -(-size // _BLOCK)
    step = max(1, -(-blocks // _PLACES))
    checksum = 0
    with file.open("rb") as opened:
        for block in sorted({*range(0, blocks, step), blocks - 1} - {-1}):
            opened.seek(block * _BLOCK)
            checksum = zlib.crc32(opened.read(min(_BLOCK, size - block * _BLOCK)), checksum)
    return checksum
