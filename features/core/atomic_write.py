"""Write files whole or not at all: a reader, or a rerun after a crash, never meets half of one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def write_atomically(file: Path) -> Iterator[Path]:
    """Yield a temporary path beside `file` to write to; without an error it replaces `file`, synced to disk.

    The folder is created. After an error the temporary file is removed, and `file` is unchanged.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        yield part
        # Without this, a power failure soon after could leave an empty file under the final name.
        _sync(part)
        part.replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    _sync(file.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
