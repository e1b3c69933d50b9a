"""Fingerprints of the product's own code, for the names of what is cached."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable


@cache
def fingerprint_packages(*packages: str) -> str:
    """Return a number, in hexadecimal digits, that changes with any Python file of the packages.

    Whole packages are read, so that a new module can't be forgotten.

    Args:
        packages: Dotted names, such as `features.engine`.

    Raises:
        ModuleNotFoundError: There is no such package.
    """
    digest = hashlib.sha256()
    for package in packages:
        for path, code in _read_modules(resources.files(package), package):
            digest.update(f"{path}\n{len(code)}\n".encode() + code)
    return digest.hexdigest()


def _read_modules(folder: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    """Yield path and code of each Python file in a folder and those below it, in the order of names."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _read_modules(entry, f"{path}/{entry.name}")
        elif entry.name.endswith(".py"):
            yield f"{path}/{entry.name}", entry.read_bytes()
