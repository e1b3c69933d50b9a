"""Reads and writes the promotion log: which model serves, since when and why.

One JSON object a line in mlruns/, only ever appended to; the last line of a target names its champion. Reading
it needs no MLflow, so that a service starts fast and runs where MLflow isn't.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from features.core.atomic_write import write_atomically
from features.core.errors import RegistryError
from features.settings import Settings
from features.state.locks import lock_file
from training.models.model import Model

# A promotion holds the log while it moves an alias in MLflow.
_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Promotion:
    """One change of champion.

    Args:
        at: When, ISO.
        action: promote or rollback.
        target: churn or upsell.
        version: Such as churn-3.
        run_id: The MLflow run that made it.
        bundle: Its folder, relative to mlruns/.
        reason: In words.
        checks: What each promotion check said, by its name; empty for a rollback.
    """

    at: str
    action: str
    target: str
    version: str
    run_id: str
    bundle: str
    reason: str
    checks: dict[str, str] = field(default_factory=dict)


def format_now() -> str:
    """Return the present second in ISO format."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def locate_log(settings: Settings) -> Path:
    """Return the file of the log."""
    return settings.paths.mlruns / f"{settings.company.slug}-promotions.jsonl"


def read_promotions(settings: Settings) -> list[Promotion]:
    """Read all promotions, the oldest first; a last line that a kill cut short is no promotion.

    Raises:
        RegistryError: A whole line can't be read.
    """
    path = locate_log(settings)
    if not path.exists():
        return []
    complete_lines = path.read_text(encoding="utf-8").rpartition("\n")[0]
    try:
        return [Promotion(**json.loads(line)) for line in complete_lines.splitlines() if line]
    except (ValueError, TypeError) as error:
        raise RegistryError(
            f"{path} has a line that is no promotion", found=str(error), hint="Correct or remove that line"
        ) from error


def append_promotion(settings: Settings, promotion: Promotion) -> None:
    """Append a line, and have it on disk before returning; another process that appends waits."""
    with hold_log(settings) as append:
        append(promotion)


@contextmanager
def hold_log(settings: Settings) -> Iterator[Callable[[Promotion], None]]:
    """Keep other processes from appending, and yield the function that appends.

    Raises:
        GarrisonError: Another process holds the log for too long.
    """
    path = locate_log(settings)
    path.parent.mkdir(parents=True, exist_ok=True)

    def append(promotion: Promotion) -> None:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        whole = text.rpartition("\n")[0] + "\n" if "\n" in text else ""
        with write_atomically(path) as part:
            part.write_text(whole + json.dumps(asdict(promotion)) + "\n", encoding="utf-8")

    with lock_file(path.with_suffix(".lock"), patience_s=_PATIENCE_S):
        yield append


def read_current(settings: Settings) -> dict[str, Promotion]:
    """Return the promotion in force, by target."""
    return {p.target: p for p in read_promotions(settings)}


def load_champions(settings: Settings) -> dict[str, Model]:
    """Load the models that serve, by target; a target without one is missing.

    Raises:
        RegistryError: A champion's folder is gone or not whole.
    """
    return {
        target: load_model(settings, p) for target, p in read_current(settings).items() if target in settings.targets
    }


def load_model(settings: Settings, promotion: Promotion) -> Model:
    """Load the model that a promotion made champion.

    Raises:
        RegistryError: Its folder is gone or not whole.
    """
    return Model.load(settings.paths.mlruns / promotion.bundle, version=promotion.version)


def find_previous(settings: Settings, target: str) -> Promotion:
    """Return the last champion of a target other than the present one.

    Raises:
        RegistryError: There was none.
    """
    log = [p for p in read_promotions(settings) if p.target == target]
    for promotion in reversed(log):
        if promotion.version != log[-1].version:
            return promotion
    present = f"only {log[-1].version}" if log else "no promotion at all"
    raise RegistryError(f"there is no earlier champion of {target} to go back to", found=present)
