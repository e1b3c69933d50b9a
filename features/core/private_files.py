"""Keep what runs write to the user who runs them: tables, scores, messages and logs hold personal data."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from features.core.errors import GarrisonError

# The bits that new files and folders don't get, as of umask: by default nobody else may read them.
VARIABLE = "GARRISON_UMASK"
_PRIVATE = 0o077


def read_umask() -> int:
    """Return the umask of this process."""
    mask = os.umask(_PRIVATE)
    os.umask(mask)
    return mask


def restrict_new_files() -> None:
    """Let new files be 0600 and new folders 0700, also of child processes.

    The environment variable GARRISON_UMASK, such as 027, lets a group read what several users share.

    Raises:
        GarrisonError: The variable is no umask.
    """
    given = os.environ.get(VARIABLE)
    try:
        mask = int(given, 8) if given else _PRIVATE
    except ValueError:
        mask = -1
    if not 0 <= mask <= 0o777:
        raise GarrisonError(f"{VARIABLE} is no umask", found=repr(given), hint="Write it in octal, such as 027")
    os.umask(mask if given else read_umask() | mask)  # a stricter one of the user stays


def protect(place: Path) -> None:
    """Take the rights from a file or folder that the umask denies: an earlier release gave them to all.

    One of another user stays as it is.
    """
    with contextlib.suppress(OSError):
        mode, mask = place.stat().st_mode & 0o777, read_umask()
        if mode & mask:
            place.chmod(mode & ~mask)
