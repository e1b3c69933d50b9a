"""Name the cause of a missing warning, where it is shown: by the message, the scores, or the scores with other data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

from features.state.message_states import UNDELIVERABLE, WITHHELD
from monitoring.notifications.claims import FAILED
from monitoring.notifications.dead_letters import BOUNCED
from monitoring.performance.past_scores import PastScore
from monitoring.performance.rescored_accounts import HypotheticalScore

Cause = Literal["source", "late data", "no signal", "threshold", "capacity", "owner", "not run", "not known"]
CAUSES: dict[Cause, str] = {
    "source": "a source was missing or held: with its rows the score would have reached the entry, or did",
    "late data": "rows that became known only afterwards would have brought the score to the entry",
    "no signal": "the score stayed below the base rate",
    "threshold": "the score was above the base rate, and below the entry",
    "capacity": "its owner's time was full with accounts that had more to lose, or a person had muted it",
    "owner": "the message had no recipient, or none that could be reached",
    "not run": "no score, no alerts on it, or the message was never delivered",
    "not known": "the model that scored it is gone",
}


def blame_message(status: str | None, reason: str | None) -> tuple[Cause, str]:
    """Return why the message of an episode did not reach the owner."""
    if status == WITHHELD:
        return "capacity", reason or "withheld"
    if status in {UNDELIVERABLE, FAILED, BOUNCED}:
        return "owner", reason or str(status)
    return "not run", f"an episode was open, its message is {status or 'missing'}"


def blame_scores(
    scores: Sequence[PastScore],
    again: HypotheticalScore | None,
    *,
    holds: Mapping[datetime, str],
    sources: Sequence[str],
) -> tuple[Cause, str]:
    """Return why no episode opened, and the figures that show it: the first cause that is shown counts.

    Args:
        scores: Of the account, oldest first.
        again: As of its last score.
        holds: By instant of the runs that were not accepted, what held them.
        sources: Event tables that the company has now.
    """
    if not scores or again is None:
        return "not run", "no run scored it while it was in the cohort"
    entered = next((s for s in reversed(scores) if s.is_at_entry), None)
    if entered:
        return _blame_run(entered, holds)
    return _blame_data(scores[-1], again, holds=holds, sources=sources) or _blame_model(scores)


def _blame_data(
    last: PastScore, again: HypotheticalScore, *, holds: Mapping[datetime, str], sources: Sequence[str]
) -> tuple[Cause, str] | None:
    """Return whether other data would have opened an episode; None if they would not."""
    before = f"{last.score:.1%} on {last.as_of:%Y-%m-%d}"
    if last.enter is None:
        return None
    if again.complete is not None and again.complete >= last.enter:
        missing = ", ".join(s for s in sources if s not in last.sources) or holds.get(last.as_of)
        lacking = f"without {missing}" if missing else "from tables that lacked rows which are there now"
        return "source", f"{before} {lacking}, {again.complete:.1%} with them"
    if again.late and again.punctual is not None and again.punctual >= last.enter:
        rows = ", ".join(f"{n:,} of {table}" for table, n in again.late.items())
        return "late data", f"{before}, {again.punctual:.1%} with the rows known later: {rows}"
    return None


def _blame_model(scores: Sequence[PastScore]) -> tuple[Cause, str]:
    """Return whether the scores saw anything at all."""
    last, highest = scores[-1], max(scores, key=lambda s: s.score)
    if last.enter is None or last.base_rate is None:
        return "not known", f"{last.model}, which gave its last score {last.score:.1%}, is gone"
    reached = f"at most {highest.score:.1%} ({highest.as_of:%Y-%m-%d})"
    if all(s.base_rate is not None and s.score < s.base_rate for s in scores):
        return "no signal", f"{reached}, the base rate is {last.base_rate:.1%}"
    return "threshold", f"{reached}, episodes open at {last.enter:.1%}"


def _blame_run(entered: PastScore, holds: Mapping[datetime, str]) -> tuple[Cause, str]:
    """Return why a score that reached the entry opened no episode."""
    reached = f"{entered.score:.1%} on {entered.as_of:%Y-%m-%d}"
    if entered.as_of in holds and not entered.was_alerted_on:
        return "source", f"{reached}, and that run was held: {holds[entered.as_of] or 'discarded'}"
    if entered.refused:
        return "capacity", f"{reached}: {entered.refused}"
    if entered.was_alerted_on:
        return "not run", f"{reached}, after the alerts of that run: it was scored again"
    return "not run", f"{reached}, and no alerts were raised on that run"
