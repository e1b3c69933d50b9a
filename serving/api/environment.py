"""What a server process is told by whoever starts it, through environment variables."""

from __future__ import annotations

import os

CONFIG = "GARRISON_CONFIG"
WORKERS = "GARRISON_WORKERS"


def config_path() -> str:
    """The settings file."""
    return os.environ.get(CONFIG, "garrison.toml")


def worker_count() -> int:
    """How many processes share the port."""
    return int(os.environ.get(WORKERS, "1"))
