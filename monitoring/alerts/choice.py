"""Choose which accounts alerts open on: the most expected loss avoided that each owner's capacity takes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from features.settings import Capacity
from monitoring.alerts.signals import Signal

CHOSEN, IS_OPEN = "chosen", "its episode is open"
NOT_WORTH_IT = "the contact costs more than it can save"
FULL = "over what its owner has time for this week"


@dataclass(frozen=True)
class Candidate:
    """A condition on an account that an episode may open on.

    Args:
        signal: The condition.
        expected: Expected loss avoided by acting, or gain, less the contact's cost, in money.
        play: What to do.
        owner: Who would get the alert; None where nobody can be found.
        is_unlimited: Whether its owner takes any number, as the fallback owner does.
        obstacle: Why no episode may open; "" where none stands in the way.
    """

    signal: Signal
    expected: float
    play: str
    owner: str | None
    is_unlimited: bool = False
    obstacle: str = ""


@dataclass(frozen=True)
class Choice:
    """What a run did with a candidate.

    Args:
        candidate: Which.
        rank: Among all candidates of the run, 1 the most expected.
        threshold: The least that its owner's time took; None where that had no end.
        capacity: Minutes that its owner had left before this run; None without a limit.
        chosen: Whether an episode opens.
        reason: Why, or why not.
    """

    candidate: Candidate
    rank: int
    threshold: float | None
    capacity: float | None
    chosen: bool
    reason: str


def choose(
    candidates: Iterable[Candidate], capacity: Capacity, *, opened: Sequence[tuple[str | None, str]]
) -> tuple[Choice, ...]:
    """Choose the candidates that open: each owner's best, until the first that no longer fits into the week.

    So an owner's threshold is what fills the capacity among the candidates of today, and never below break-even.

    Args:
        candidates: Of one run, each account and kind once.
        capacity: Of the company's owners.
        opened: Owner and kind of the episodes opened in the seven days before: they have taken their time already.

    Returns:
        One for each candidate, the most expected first; equal ones by score, then by account.
    """
    ranked = sorted(candidates, key=_rank_key)
    left = _measure_time_left(ranked, capacity, opened)
    rest, full = dict(left), dict[str, float]()
    choices = []
    for rank, candidate in enumerate(ranked, 1):
        owner = candidate.owner
        reason = candidate.obstacle or (NOT_WORTH_IT if candidate.expected <= 0 else CHOSEN)
        if reason == CHOSEN and owner is not None and not candidate.is_unlimited:
            minutes = capacity.get_minutes(candidate.signal.kind)
            if owner in full or minutes > rest[owner] + 1e-9:
                full.setdefault(owner, candidate.expected)
                reason = FULL
            else:
                rest[owner] -= minutes
        limit = None if owner is None or candidate.is_unlimited else left[owner]
        choices.append(Choice(candidate, rank, None, limit, reason == CHOSEN, reason))
    least = _find_least(choices)
    return tuple(
        replace(c, threshold=least.get(str(c.candidate.owner), full[str(c.candidate.owner)]))
        if c.candidate.owner in full and c.capacity is not None
        else c
        for c in choices
    )


def _measure_time_left(
    candidates: Sequence[Candidate], capacity: Capacity, opened: Sequence[tuple[str | None, str]]
) -> Mapping[str, float]:
    """Return each owner's minutes left in the week."""
    used: defaultdict[str, float] = defaultdict(float)
    for owner, kind in opened:
        used[str(owner)] += capacity.get_minutes(kind)
    owners = {c.owner for c in candidates if c.owner is not None}
    return {owner: max(0.0, capacity.get_week(owner) - used[owner]) for owner in owners}


def _find_least(choices: Sequence[Choice]) -> dict[str, float]:
    """Return the least expected of what was chosen, by owner."""
    return {str(c.candidate.owner): c.candidate.expected for c in choices if c.chosen}


def _rank_key(candidate: Candidate) -> tuple[float, float, str, str]:
    signal = candidate.signal
    return (-candidate.expected, -(signal.score or 0.0), signal.account_id, signal.kind)
