"""What one process of a run makes for all of them."""

from __future__ import annotations

import fcntl
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Made = TypeVar("Made")


def make_once(folder: Path, name: str, make: Callable[[], Made]) -> Made:
    """Return a copy of what `make` gives, which the first process to ask calls; the others wait for it.

    Args:
        folder: Of the run, the same for all its processes.
        name: Of what is made.
        make: Gives what pickle can hold. No test may write to files that it makes: they are everybody's.
    """
    file = folder / f"{name}.pickle"
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            made = pickle.dumps(make())
            file.write_bytes(made)
        return pickle.loads(file.read_bytes())  # noqa: S301  # our own bytes
