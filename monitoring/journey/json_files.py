"""Write and read what a build leaves for pages, as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from features.core.atomic_write import write_atomically


def write_json_file(file: Path, plain: dict[str, Any]) -> Path:
    """Write it whole or not at all; NaN is refused."""
    with write_atomically(file) as part:
        part.write_text(json.dumps(plain, allow_nan=False, ensure_ascii=False), encoding="utf-8")
    return file


def read_json(file: Path) -> dict[str, Any] | None:
    """Read it; None where it was not made yet, or by a version that wrote it otherwise."""
    try:
        plain = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return plain if isinstance(plain, dict) else None
