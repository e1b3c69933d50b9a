"""Keep reports as JSON beside their pages, so that the console shows them without making them anew."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from features.core.atomic_write import write_atomically
from features.settings import Settings

# Reports of whole periods, by their names, such as 2026-04, 2026-Q1 or 2026.
PERIOD = re.compile(r"[0-9]{4}(-[0-9]{2}|-Q[1-4])?")


def locate_reports(settings: Settings) -> Path:
    """Return the folder of all reports."""
    return settings.var / "reports"


def write_report(file: Path, plain: dict[str, Any]) -> Path:
    """Write a report as JSON, with the instant at which it was made; NaN is refused."""
    text = json.dumps({"made_at": datetime.now(UTC).isoformat(timespec="seconds"), **plain}, allow_nan=False)
    with write_atomically(file) as part:
        part.write_text(text, encoding="utf-8")
    return file


def read_report(file: Path) -> dict[str, Any] | None:
    """Read a report; None where it was not made yet, or by a version that wrote it otherwise."""
    try:
        plain = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return plain if isinstance(plain, dict) else None


def list_periods(settings: Settings) -> list[str]:
    """List the periods that reports were made of, the newest first."""
    files = locate_reports(settings).glob("*.json")
    return sorted((f.stem for f in files if PERIOD.fullmatch(f.stem)), reverse=True)
