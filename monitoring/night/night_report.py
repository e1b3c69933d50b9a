"""Sum up one night from its log: done, held, failed or unfinished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from features.core.errors import GarrisonError
from features.state.database import Store
from monitoring.night import night_log
from monitoring.night.night_log import ACCEPTED, HELD, STEPS, LoggedStep, NightLog


@dataclass(frozen=True)
class NightReport:
    """What one night came to.

    Args:
        as_of: The instant that it scores.
        steps: By name, in their order; all that were ever begun.
        is_repeated: Whether the night had been finished before, so that nothing was done now.
    """

    as_of: datetime
    steps: Mapping[str, LoggedStep]
    is_repeated: bool = False

    @property
    def state(self) -> str:
        """Return `done`, `held` where the run waits for a decision, `failed`, or `unfinished` where it was cut off."""
        if len(self.steps) < len(STEPS) or any(step.state == "running" for step in self.steps.values()):
            return "unfinished"
        if any(step.state == "failed" for step in self.steps.values()):
            return "failed"
        return "held" if self.steps["gate"].figures.get("decision") == HELD else "done"

    @property
    def is_closed(self) -> bool:
        """Return whether nothing is left to do: it is done, and its run was acted on."""
        return self.state == "done" and self.steps["gate"].figures.get("decision") == ACCEPTED

    @property
    def ended_at(self) -> int:
        """Return when its last step ended (µs); 0 where none did."""
        return max((step.ended_at or 0 for step in self.steps.values()), default=0)

    @property
    def last_line(self) -> str:
        """Return the line that sums it up, where it did not fail."""
        if not self.is_repeated:
            return f"{self.name} is done."
        ended = datetime.fromtimestamp(self.ended_at / 1e6, UTC)
        return f"{self.name} was done already, at {ended:%Y-%m-%d %H:%M} UTC: nothing to do."

    @property
    def name(self) -> str:
        """Return what it is called in texts."""
        return f"The night of {self.as_of:%Y-%m-%d}"

    def raise_for_failures(self) -> None:
        """Raise an error unless the night is done, so that a command ends with status 1.

        Raises:
            GarrisonError: A step failed, or the run is on hold.
        """
        failed = [f"{name}: {step.summary}" for name, step in self.steps.items() if step.state == "failed"]
        if failed:
            hint = "Run the night again once that is mended: what is done is not repeated"
            raise GarrisonError(f"{self.name} failed", found="; ".join(failed), hint=hint)
        if self.state == "held":
            gate = self.steps["gate"]
            hint = f"{gate.figures['advice']}; then run the night again"
            raise GarrisonError(f"{self.name} is on hold", found=gate.summary, hint=hint)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        steps = {
            name: {
                "state": step.state,
                "attempts": step.attempts,
                "seconds": step.seconds,
                "summary": step.summary,
                "figures": dict(step.figures),
            }
            for name, step in self.steps.items()
        }
        return {"night": self.as_of.isoformat(), "state": self.state, "repeated": self.is_repeated, "steps": steps}


def read_night(store: Store, as_of: datetime) -> NightReport:
    """Read what is known of a night."""
    return NightReport(as_of, NightLog(store, as_of).read())


def find_last_success(store: Store, until: datetime) -> NightReport | None:
    """Return the newest night, not after an instant, that was done; None without one."""
    night: datetime | None = until
    while night is not None:
        report = read_night(store, night)
        if report.state == "done":
            return report
        night = night_log.find_previous(store, night)
    return None
