"""Say what changed since an account's last score, by the difference of what its causes contributed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from features.core.safe_line import to_safe_line
from features.definitions import plays
from monitoring.letters.wording import format_day

if TYPE_CHECKING:
    from monitoring.letters.message import EarlierScore

# A cause whose contribution moved by less (log-odds) has not changed to speak of.
_LEAST = 0.1


def find_changes(drivers: Sequence[Mapping[str, Any]], earlier: EarlierScore | None) -> list[str]:
    """Return what raised the score most since the last one, in a sentence with what was then; [] without such a cause.

    Only scores of the same model have causes that can be compared, and drivers that were not found count as 0.

    Args:
        drivers: Of the score.
        earlier: The last score, with its drivers; None without one.
    """
    if earlier is None or not earlier.drivers:
        return []
    now, then = _by_cause(drivers), _by_cause(earlier.drivers)
    rises = {cause: float(d["contribution"]) - _contribution(then.get(cause)) for cause, d in now.items()}
    cause = max(rises, key=lambda name: rises[name], default=None)
    if cause is None or rises[cause] < _LEAST:
        return []
    text, before = to_safe_line(str(now[cause]["text"]), 120), then.get(cause)
    if before is None or before["text"] == now[cause]["text"]:
        return [text if before is None else f"{text}, as before, which weighs more now"]
    # What is typical stands there once already.
    then_text = str(before["text"]).partition(" (typical: ")[0]
    return [f"{text}; on {format_day(earlier.as_of)}: {to_safe_line(then_text, 120)}"]


def _by_cause(drivers: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the strongest driver of each cause that someone can act on."""
    found: dict[str, Mapping[str, Any]] = {}
    for driver in sorted(drivers, key=lambda d: float(d["contribution"])):
        play = plays.PLAYS.get(str(driver["play"]))
        if play and play.cause != "renewal":
            found[play.cause] = driver
    return found


def _contribution(driver: Mapping[str, Any] | None) -> float:
    return 0.0 if driver is None else float(driver["contribution"])
