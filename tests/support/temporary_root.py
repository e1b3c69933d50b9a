"""Where a run's temporary files lie: in memory where there is plenty, for databases wait for a disk at each commit."""

from __future__ import annotations

import os
from pathlib import Path

_SHARED_MEMORY = Path("/dev/shm")  # pytest makes folders of its own in it
_NEEDED = 10 * 2**30  # bytes: a run leaves some two thousand million


def choose_temporary_root() -> None:
    """Let pytest make its temporary folders in memory, unless it was told where or there is little."""
    if _has_room():
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_SHARED_MEMORY))


def _has_room() -> bool:
    try:
        found = os.statvfs(_SHARED_MEMORY)
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # not on Linux
        return False
    # Some tests run scripts that they wrote.
    runs = not found.f_flag & os.ST_NOEXEC and os.access(_SHARED_MEMORY, os.W_OK)
    return runs and min(available, found.f_bavail * found.f_frsize) >= _NEEDED
