"""Make both sheets, of costs and of paths, and keep them for pages and reports."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from features.core.atomic_write import write_atomically
from features.settings import Settings
from features.sources.history import History
from features.state.database import Store
from monitoring.cost_to_serve.cost_sheet import CostSheet, locate_costs, make_sheet
from monitoring.cost_to_serve.paths import PathSheet, compare_paths


def make_reports(
    settings: Settings, store: Store, history: History, as_of: datetime, *, has_paths: bool = True
) -> tuple[CostSheet, PathSheet | None]:
    """Make the sheet of costs and, unless told otherwise, that of paths; keep both for pages and reports.

    Raises:
        GarrisonError: The company has no tickets.
    """
    sheet = make_sheet(settings, store, history, as_of)
    paths = compare_paths(settings, store, history, as_of) if has_paths else None
    _keep(settings, "costs", sheet.as_dict())
    if paths:
        _keep(settings, "paths", paths.as_dict())
    return sheet, paths


def make_night_reports(settings: Settings, store: Store, history: History, as_of: datetime) -> None:
    """Make the sheet of costs each night, and that of paths, which moves slowly, once a month."""
    paths = read_kept(settings, "paths")
    is_due = paths is None or paths["as_of"][:7] != f"{as_of:%Y-%m}"
    make_reports(settings, store, history, as_of, has_paths=is_due)


def read_kept(settings: Settings, name: str) -> dict[str, Any] | None:
    """Read a sheet that was kept, `costs` or `paths`; None before it was made."""
    try:
        plain = json.loads((locate_costs(settings) / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return plain if isinstance(plain, dict) else None


def _keep(settings: Settings, name: str, plain: dict[str, Any]) -> None:
    text = json.dumps({"made_at": datetime.now(UTC).isoformat(timespec="seconds"), **plain}, allow_nan=False)
    with write_atomically(locate_costs(settings) / f"{name}.json") as part:
        part.write_text(text, encoding="utf-8")
