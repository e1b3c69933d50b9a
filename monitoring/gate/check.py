"""The gate: whether alerts may go out on this run. Late or broken data must not wake anybody."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from features.core.timestamps import from_micros
from features.engine import snapshots
from features.settings import Settings
from features.sources.history import History
from monitoring.drift.verdict import Verdict

# Days without any event after which the sources are taken to have stopped.
STALE_DAYS = 7


@dataclass(frozen=True)
class Gate:
    """Open when nothing speaks against alerts; otherwise each reason, in words."""

    reasons: tuple[str, ...]

    @property
    def state(self) -> Literal["open", "closed"]:
        """Whether alerts may go out."""
        return "closed" if self.reasons else "open"

    def lines(self) -> tuple[str, ...]:
        """For people."""
        if not self.reasons:
            return ("Alerts may go out.",)
        return ("No alerts may go out:", *(f"  {reason}" for reason in self.reasons))

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {"state": self.state, **asdict(self)}


def check(settings: Settings, *, as_of: datetime | None, champion: str | None) -> Gate:
    """Open or close the gate for one run, reading the history for its newest event.

    Args:
        settings: The company's.
        as_of: Of the scores that alerts would go by; None for the newest, which are as old as the data.
        champion: Version of the model that gave the scores; None where there is none.
    """
    with History.open(settings) as history:
        newest = from_micros(history.last_event)
        return decide(as_of=as_of or snapshots.latest(history), newest_event=newest, champion=champion, drift=None)


def decide(
    *,
    as_of: datetime,
    newest_event: datetime | None,
    champion: str | None,
    drift: Verdict | None,
    stale_days: int = STALE_DAYS,
) -> Gate:
    """Open or close the gate; drift alone does not close it, since a moved column may be the business itself.

    Args:
        as_of: Of the scores that alerts would go by.
        newest_event: The latest event of any table; None where there is none.
        champion: Version of the model that gave the scores; None where there is none.
        drift: On the same snapshot; None where it was not looked at, which does not close the gate.
        stale_days: The newest event may be so many days older than `as_of`.
    """
    reasons = []
    if champion is None:
        reasons.append("no model is champion")
    if newest_event is None:
        reasons.append("there is no event at all")
    elif (age := (as_of - newest_event).days) > stale_days:
        reasons.append(f"the data are stale: the newest event is {age} days old, {stale_days} are allowed")
    if drift is not None and drift.state == "broken":
        reasons += [f"the snapshot is broken: {finding}" for finding in drift.findings if finding.breaks]
    return Gate(tuple(reasons))
