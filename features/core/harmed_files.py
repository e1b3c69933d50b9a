"""Recognise a harmed file of a cache or of results, and put it aside so that it is made again."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

# Ends the name of a file that was put aside: no reader looks for it, and the night removes it after a while.
SUFFIX = ".harmed"
# What writers of Parquet files that this module checks hand to pyarrow.
CHECKSUMS = {"write_page_checksum": True}
_ROWS = 50_000  # in memory at once
_log = logging.getLogger("garrison.files")


def set_aside(file: Path, remedy: str) -> None:
    """Rename a harmed file so that nothing reads it again, and log that in one line.

    Args:
        file: The file; it may be gone, or its folder may be read-only.
        remedy: What happens or what to do now, such as "it is made again".
    """
    aside = file.with_name(file.name + SUFFIX)
    try:
        file.replace(aside)
    except FileNotFoundError:  # another process was faster
        return
    except OSError as error:
        _log.warning("%s is harmed and can't be put aside (%s): %s", file, error.strerror, remedy)
        return
    _log.warning("%s was harmed and was put aside as %s: %s", file, aside.name, remedy)


def is_parquet_whole(file: Path) -> bool:
    """Return whether every page of a Parquet file can be read and has its checksum.

    A file is read once a process, and again after it changed.

    Raises:
        FileNotFoundError: It is gone.
        PermissionError: It may not be read.
    """
    status = file.stat()
    return _read_through(file, status.st_ino, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=4_096)
def _read_through(file: Path, _inode: int, _size: int, _changed_at: int) -> bool:
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as opened:
            for _ in opened.iter_batches(_ROWS):
                pass
    except (FileNotFoundError, PermissionError):
        raise
    except (pa.ArrowException, OSError, ValueError):
        return False
    return True


def find_whole(files: Iterable[Path], remedy: str) -> Path | None:
    """Return the first file that is whole, and put aside the harmed ones before it; None without any.

    Args:
        files: Parquet files, the best one first.
        remedy: As of `set_aside`.
    """
    for file in files:
        try:
            if is_parquet_whole(file):
                return file
        except FileNotFoundError:
            continue
        set_aside(file, remedy)
    return None
