"""Keep a scratch copy of the company: its settings, with state, scores and models in a folder of their own.

Production code runs on it as on the company itself, and nothing that people see changes. What a replay has finished is
found again by the next one with the same settings, data and code.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from features.core.code_fingerprint import fingerprint_packages
from features.settings import Experiment, Paths, Settings
from features.sources.history import History

# Settings that change no score: scores made with others are used again.
_AFTER_SCORES = {"alerts", "capacity", "binding", "console", "crm", "monitoring", "experiment", "cadence", "serving"}
_SCORING = ("features.catalog", "features.engine", "training.models", "training.fitting", "serving.scoring")
_DECIDING = ("monitoring.alerts", "monitoring.binding", "monitoring.replay")
# Replays whose scratch folders are kept.
_KEPT = 4


def open_folder(settings: Settings, history: History, *, part: str, **choices: Any) -> Path:
    """Return the folder of the scratch company with the same data, code and settings of scores.

    Args:
        settings: Of the company.
        history: Of the company.
        part: Which part of the time it is for.
        choices: What else its scores follow from.
    """
    scoring = settings.model_dump(mode="json", exclude=_AFTER_SCORES | {"paths", "state_url"})
    key = _hash([part, scoring, settings.alert_horizon, choices, history.compute_fingerprint(), _SCORING])
    folder = settings.var / "replay" / f"{part}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    folder.touch()
    old = sorted(folder.parent.glob(f"{part}-*"), key=lambda f: f.stat().st_mtime, reverse=True)[_KEPT:]
    for one in old:
        shutil.rmtree(one, ignore_errors=True)
    return folder


def make_scratch(settings: Settings, folder: Path, name: str, *, with_experiment: bool) -> Settings:
    """Return the company's settings with a state database of that name, and with all that runs write, in a folder.

    Args:
        settings: Of the company.
        folder: Of the scratch company.
        name: Of the state database.
        with_experiment: Whether lots decide, as they did in runs that took place.
    """
    changes: dict[str, Any] = {
        "state_url": f"sqlite:///{folder.absolute() / f'{name}.db'}",
        "paths": Paths(var=folder.absolute() / "var", mlruns=folder.absolute() / "mlruns"),
        # No letter is sent, so none has links to sign.
        "alerts": settings.alerts.model_copy(update={"links": None}),
    }
    if not with_experiment:
        changes["experiment"] = Experiment()
    return settings.model_copy(update=changes)


def share_snapshots(settings: Settings, scratch: Settings) -> None:
    """Let the scratch company read the snapshots that training has cached."""
    link, cached = scratch.var / "features", settings.var / "features"
    if cached.exists() and not link.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(cached.absolute(), target_is_directory=True)


def name_decisions(settings: Settings, *choices: Any) -> str:
    """Return the name of the state database in which these settings and this code decide."""
    decided = settings.model_dump(mode="json", exclude={"paths", "state_url"})
    return _hash([decided, [str(c) for c in choices], _DECIDING])


def _hash(parts: list[Any]) -> str:
    *rest, packages = parts
    text = json.dumps([*rest, fingerprint_packages(*packages)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
