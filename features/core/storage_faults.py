"""Recognise that a disk is full, broken or read-only, whichever library found it, and say so in one line."""

from __future__ import annotations

import errno

from features.core.errors import GarrisonError

_NO_ROOM = ("No space left on device", "database or disk is full", "Disk quota exceeded", "disk is full")
_READ_ONLY = ("Read-only file system", "readonly database", "read-only")
_REFUSED = ("Permission denied", "unable to open database file")
_BROKEN = ("Input/output error", "disk I/O error", "fsync failed")
_BY_NUMBER = {errno.ENOSPC: 0, errno.EDQUOT: 0, errno.EROFS: 1, errno.EACCES: 2, errno.EPERM: 2, errno.EIO: 3}
_SAYS = (
    ("the disk is full", "Free some space, then run the command again: nothing half written counts"),
    (
        "a folder can't be written to: its file system is read-only",
        "Name writable folders under [paths], then try again",
    ),
    ("a file or folder may not be opened or written", "Give this user the right to it, or name others under [paths]"),
    ("the disk failed", "Look after it (dmesg, its log), then run the command again: nothing half written counts"),
)


def find_storage_fault(error: BaseException) -> GarrisonError | None:
    """Return the plain error behind an error of a library; None where the disk and the rights have no part in it.

    Args:
        error: Of Python, DuckDB, SQLite, SQLAlchemy, Arrow or MLflow; its causes are looked at too.
    """
    seen: BaseException | None = error
    for _ in range(5):
        if seen is None:
            return None
        kind = _classify(seen)
        if kind is not None:
            problem, hint = _SAYS[kind]
            found = str(seen).strip().splitlines()[0] if str(seen).strip() else None
            return GarrisonError(problem, found=found, hint=hint)
        seen = seen.__cause__ or seen.__context__
    return None


def _classify(error: BaseException) -> int | None:
    if isinstance(error, OSError) and error.errno in _BY_NUMBER:
        return _BY_NUMBER[error.errno]
    if not isinstance(error, Exception):
        return None
    text = str(error)
    for kind, phrases in enumerate((_NO_ROOM, _READ_ONLY, _REFUSED, _BROKEN)):
        if any(phrase in text for phrase in phrases):
            return kind
    return None
