"""Reads the environment variables that `serve` sets for its server processes."""

from __future__ import annotations

import os

CONFIG = "GARRISON_CONFIG"
WORKERS = "GARRISON_WORKERS"


def config_path() -> str:
    """Return the path of the settings file."""
    return os.environ.get(CONFIG, "garrison.toml")


def worker_count() -> int:
    """Return how many processes share the port."""
    return int(os.environ.get(WORKERS, "1"))
