"""Every error a user can cause: each says what was wrong, what was there and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GarrisonError(Exception):
    """Base of all errors that a command shows as one line with exit status 1.

    Args:
        problem: What was wrong, without a full stop.
        found: What was found in its place.
        hint: What the user can do next.
    """

    def __init__(self, problem: str, *, found: str | None = None, hint: str | None = None) -> None:
        self.problem, self.found, self.hint = problem, found, hint
        parts = [problem, f"found: {found}" if found else "", hint or ""]
        super().__init__(". ".join(part.rstrip(".") for part in parts if part) + ".")


class SettingsError(GarrisonError):
    """The TOML file is missing, unreadable, or says something that is not allowed."""


class SourceError(GarrisonError):
    """A table could not be read as its settings say: no file, no column, no rows, no database."""


class QualityError(GarrisonError):
    """Too large a share of a table's rows is bad for the rest to be trusted."""


class FeatureError(GarrisonError):
    """A feature of the company's own can't be used, or sees what it must not."""


class LabelError(GarrisonError):
    """No model can be trained on these labels: too short a history, one class only, no cohort."""


class RegistryError(GarrisonError):
    """A model or run is not there, or MLflow's database can't be used now."""


class DeliveryError(GarrisonError):
    """A message or a batch of scores could not be handed over."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint sentence naming the closest known names, or all of them when none is close."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    return f"There are: {', '.join(names)}" if names else "There are none"
