"""Packs the service with a company's settings and champions as a Bento, which `bentoml serve` runs by itself."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from features.core.errors import GarrisonError
from features.settings import Settings
from features.settings.load import load_settings
from training.registry import promotion_log

_CODE = ("features", "training", "serving")
_LOCK = "requirements-service.lock"
_ROOT = Path(__file__).parents[2]


def pack_bento(config: Path, folder: Path) -> str:
    """Write a Bento: the code, what it needs by hash, the settings, the champions and the promotion log.

    No row of the company is in it: histories are posted, and state and snapshots are read from `paths.var` in the
    Bento's folder `src`, or from `state_url`.

    Args:
        config: The company's TOML file; its paths are relative.
        folder: To be made.

    Returns:
        The Bento's tag, as garrison:VERSION.

    Raises:
        GarrisonError: The settings are wrong, there is no champion, the folder is there, or this is no checkout.
    """
    settings = load_settings(config)
    if folder.exists():
        raise GarrisonError(f"{folder} is there already", hint="Name a new folder")
    if not (_ROOT / _LOCK).exists():
        raise GarrisonError(f"there is no {_LOCK} beside the code", hint="Pack from a checkout of the repository")
    if settings.paths.mlruns.is_absolute() or settings.paths.var.is_absolute():
        raise GarrisonError(
            "a Bento finds its files by relative paths", hint="Write paths.mlruns and paths.var without a / in front"
        )
    # Loaded here once, so that no Bento is made whose models can't be read.
    if not promotion_log.load_champions(settings):
        raise GarrisonError(f"no model of {settings.company.name} is champion yet", hint="Train and promote one")
    with tempfile.TemporaryDirectory() as name:
        _gather(settings, Path(name))
        os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
        os.environ["BENTOML_HOME"] = f"{name}/.bentoml"
        from serving.api.bento import build_bento

        return build_bento(Path(name), folder, lock=_LOCK)


def _gather(settings: Settings, context: Path) -> None:
    """Copy what a Bento holds to where it is built."""
    for package in _CODE:
        shutil.copytree(_ROOT / package, context / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(_ROOT / _LOCK, context)
    shutil.copy(settings.file, context / "garrison.toml")
    mlruns = context / settings.paths.mlruns
    mlruns.mkdir(parents=True)
    shutil.copy(promotion_log.locate_log(settings), mlruns)
    for promotion in promotion_log.read_current(settings).values():
        shutil.copytree(settings.paths.mlruns / promotion.bundle, mlruns / promotion.bundle)
