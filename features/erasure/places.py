"""Where a company's data are kept: its files, and what lies out of reach."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from features.core.redaction import hide_password
from features.settings import Settings

# Locks, and the parts of databases that are looked at with them.
_NO_DATA = (".lock", "-shm")


def list_roots(settings: Settings) -> list[Path]:
    """Return what to go through: the company's folder, MLflow's, letters, the state, and what restores put aside."""
    own = [settings.var, settings.paths.mlruns]
    if settings.alerts.folder:
        own.append(settings.folder / settings.alerts.folder)
    state = find_state_file(settings)
    own += [state] if state else []
    roots = dict.fromkeys(path.resolve() for root in own for path in (root, *root.parent.glob(f"{root.name}.before-*")))
    return [root for root in roots if root.exists()]


def list_files(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Yield every file with the place that it is counted under: the folder below its root, such as scores."""
    seen = set[Path]()
    for root in list_roots(settings):
        if root.is_file():
            found = [(root.parent, root.name)]
        else:
            found = [(Path(folder), name) for folder, _, names in os.walk(root) for name in sorted(names)]
        for folder, name in found:
            file = folder / name
            if file in seen or file.is_symlink() or not file.is_file() or name.endswith(_NO_DATA):
                continue
            seen.add(file)
            inside = file.relative_to(root).parts if root.is_dir() else (name,)
            yield (f"{root.name}/{inside[0]}" if len(inside) > 1 else root.name), file


def find_state_file(settings: Settings) -> Path | None:
    """Return the file of the state database; None where it lies on a server."""
    address = sa.make_url(settings.state)
    return Path(address.database).resolve() if address.get_backend_name() == "sqlite" and address.database else None


def record_backup(settings: Settings, file: Path) -> None:
    """Record that a backup was written, so that an erasure can name it."""
    with _locate_record(settings).open("a", encoding="utf-8") as record:
        record.write(json.dumps({"file": str(file.resolve())}, ensure_ascii=False) + "\n")


def list_out_of_reach(settings: Settings) -> list[str]:
    """Return, in words, where else they may be kept: backups, destinations, the company's own tables."""
    record = _locate_record(settings)
    lines = record.read_text(encoding="utf-8").splitlines() if record.exists() else []
    files = dict.fromkeys(json.loads(line)["file"] for line in lines)
    places = [f"the backup {file}: a restore erases again" for file in files]
    if find_state_file(settings) is None:
        places.append("backups and logs of the PostgreSQL server: after restoring one, erase again")
    places += [f"what was delivered to {place}" for place in map(hide_password, settings.monitoring.deliver_to)]
    names = ", ".join(sorted(settings.sources))
    return [*places, f"the company's own tables ({names}): their rows are dropped whenever they are read"]


def _locate_record(settings: Settings) -> Path:
    """Return the file with the backups that were made; beside the company's folder, so that a restore leaves it."""
    return settings.var.with_name(f"{settings.var.name}.backups.jsonl")
