"""Say what changed since an account's last score, by the difference of what its causes contributed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from features.core.language import Phrase
from features.core.local_formats import Day
from features.core.safe_line import to_safe_line
from monitoring.letters.account_risk import EarlierScore, Text
from monitoring.letters.driver_words import get_bare_text, get_cause

# A cause whose contribution moved by less (log-odds) has not changed to speak of.
_LEAST = 0.1


def find_changes(drivers: Sequence[Mapping[str, Any]], earlier: EarlierScore | None) -> list[Text]:
    """Return what raised the score most since the last one, in a sentence with what was then; [] without such a cause.

    Only scores of the same model have causes that can be compared, and drivers that were not found count as 0.

    Args:
        drivers: Of the score, in the reader's language.
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
    if before is None:
        return [text]
    if before["text"] == now[cause]["text"]:
        return [Phrase("{driver}, as before, which weighs more now", {"driver": text})]
    # What is typical stands there once already.
    then_text = to_safe_line(get_bare_text(before), 120)
    return [Phrase("{driver}; on {day}: {before}", {"driver": text, "day": Day(earlier.as_of), "before": then_text})]


def _by_cause(drivers: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the strongest driver of each cause that someone can act on."""
    found: dict[str, Mapping[str, Any]] = {}
    for driver in sorted(drivers, key=lambda d: float(d["contribution"])):
        cause = get_cause(driver)
        if cause and cause != "renewal":
            found[cause] = driver
    return found


def _contribution(driver: Mapping[str, Any] | None) -> float:
    return 0.0 if driver is None else float(driver["contribution"])
