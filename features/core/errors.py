"""Define the errors that a user can cause: each names the problem, what was found and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GarrisonError(Exception):
    """The base of all errors that a command shows as one line with exit status 1.

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
    """The TOML file is missing, unreadable, or has a setting that is not allowed."""


class SourceError(GarrisonError):
    """A table could not be read as its settings say: no file, no column, no rows, no database."""


class QualityError(GarrisonError):
    """Too large a share of a table's rows is bad for the rest to be trusted."""


class FeatureError(GarrisonError):
    """A feature of the company's own can't be used, or reads what was not known yet."""


class LabelError(GarrisonError):
    """No model can be trained on these labels: too short a history, one class only, no cohort."""


class FrameError(GarrisonError, ValueError):
    """A frame or estimator of one's own can't be used; a ValueError too, as scikit-learn's callers expect."""


class RegistryError(GarrisonError):
    """A model or run does not exist, or MLflow's database can't be used now."""


class DeliveryError(GarrisonError):
    """A message or a batch of scores could not be delivered."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the closest known names, or all of them if none is close.

    Examples:
        >>> nearest("usge", ["tickets", "usage"])
        'Did you mean usage?'
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    return f"There are: {', '.join(names)}" if names else "There are none"
