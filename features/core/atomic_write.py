"""Writing files whole or not at all: a reader, or a rerun after a kill, never meets half of one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def write_atomically(file: Path) -> Iterator[Path]:
    """Gives a name of this process's own beside `file` to write to; it takes the file's place when all went well.

    The folder is made. After an error the part is removed and the file is what it was.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
