"""Name the person who runs a command."""

from __future__ import annotations

import getpass


def name_user() -> str:
    """Return the person's name on this machine."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no name
        return "unknown"
