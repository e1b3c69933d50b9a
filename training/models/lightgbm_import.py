"""Imports LightGBM without scikit-learn, for commands and servers that only apply models."""

from __future__ import annotations

import importlib
import sys


def import_lightgbm() -> None:
    """Import LightGBM without scikit-learn, which takes a second or two of every start for wrappers that go unused.

    LightGBM offers no setting for this: its package always imports its scikit-learn wrappers, which try scikit-learn.
    A module that is None in `sys.modules` can't be imported, as Python's import system documents. The wrappers, such
    as `LGBMClassifier`, can't be used in this process then: so only commands call this, never a library.
    """
    if "lightgbm" in sys.modules or "sklearn" in sys.modules:
        return
    sys.modules["sklearn"] = None  # type: ignore[assignment]
    try:
        importlib.import_module("lightgbm")
    finally:
        del sys.modules["sklearn"]
