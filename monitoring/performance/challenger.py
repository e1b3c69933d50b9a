"""Train a challenger and compare it with the champion, by the commands of `training`; never promote."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.core.errors import GarrisonError
from features.settings import Settings


@dataclass(frozen=True)
class TrainedChallenger:
    """A challenger that was trained and registered.

    Args:
        run: Of MLflow.
        config: Of the company.
        comparison: With the champion, by score, as `training compare --json` has it; None if that was not possible.
        reason: Why not.
    """

    run: str
    config: Path
    comparison: dict[str, Any] | None
    reason: str | None

    def lines(self) -> tuple[str, ...]:
        """Return the lines for the terminal."""
        compared = () if self.reason is None else (f"It could not be compared with the champion. {self.reason}",)
        command = f"python -m training promote {self.run} --config {self.config}"
        return (*compared, f"Challenger {self.run} is trained, and not promoted. To promote it: {command}")

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"run_id": self.run, "comparison": self.comparison, "reason": self.reason}


def train_challenger(settings: Settings) -> TrainedChallenger:
    """Train, register and compare; the commands print their own tables.

    Raises:
        GarrisonError: Nothing could be trained, or a leak is suspected.
    """
    with tempfile.TemporaryDirectory() as folder:
        fitted, compared = Path(folder) / "fit.json", Path(folder) / "compare.json"
        error = run_training("fit", "--json", str(fitted), config=settings.file)
        run = json.loads(fitted.read_text(encoding="utf-8"))["run_id"] if error is None and fitted.exists() else None
        if run is None:
            raise GarrisonError("no challenger could be trained", found=error, hint="Run `python -m training fit`")
        error = run_training("compare", "champion", run, "--json", str(compared), config=settings.file)
        comparison = json.loads(compared.read_text(encoding="utf-8"))["targets"] if error is None else None
    return TrainedChallenger(run, settings.file, comparison, error)


def run_training(*words: str, config: Path) -> str | None:
    """Run a command of `training` in a process of its own, and return its error line; None if it succeeded."""
    command = [sys.executable, "-m", "training", *words, "--config", str(config)]
    done = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)  # noqa: S603  # our own commands
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1].removeprefix("error: ")
