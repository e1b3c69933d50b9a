"""Choose which accounts alerts open on: the most expected loss avoided that each owner's capacity takes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from features.settings import Capacity
from monitoring.alerts.signals import Signal
from monitoring.experiments.lottery import draw_at_line

CHOSEN, IS_OPEN = "chosen", "its episode is open"
NOT_WORTH_IT = "the contact costs more than it can save"
FULL = "over what its owner has time for this week"
NOT_DRAWN = "not drawn by lot at the line of its owner's time"
WAITS = "another account of its family comes first"


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
        unit: The topmost account of its family.
        lot: That decides at the line where its owner's time ends, 0 to 1; None where its rank alone does.
        has_lost: Whether its family was not drawn in an earlier run, so that it gets only time that is left.
    """

    signal: Signal
    expected: float
    play: str
    owner: str | None
    is_unlimited: bool = False
    obstacle: str = ""
    unit: str = ""
    lot: float | None = None
    has_lost: bool = False


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
        probability: Of being chosen, where a lot decided; None where it did not.
    """

    candidate: Candidate
    rank: int
    threshold: float | None
    capacity: float | None
    chosen: bool
    reason: str
    probability: float | None = None


def choose(
    candidates: Iterable[Candidate], capacity: Capacity, *, opened: Sequence[tuple[str | None, str]], band: int = 0
) -> tuple[Choice, ...]:
    """Choose the candidates that open: each owner's best, until the first that no longer fits into the week.

    So an owner's threshold is what fills the capacity among the candidates of today, and never below break-even.

    Args:
        candidates: Of one run, each account and kind once.
        capacity: Of the company's owners.
        opened: Owner and kind of the episodes opened in the seven days before: they have taken their time already.
        band: Ranks on each side of an owner's line among which lots decide.

    Returns:
        One for each candidate, the most expected first; equal ones by score, then by account.
    """
    ranked = _name_families_once(sorted(candidates, key=_rank_key))
    left = _measure_time_left(ranked, capacity, opened)
    by_owner = defaultdict[str, list[Candidate]](list)
    for candidate in ranked:
        if candidate.owner is not None and not candidate.is_unlimited and _find_obstacle(candidate) == CHOSEN:
            by_owner[candidate.owner].append(candidate)
    weeks = {owner: _fill_week(theirs, left[owner], capacity, band) for owner, theirs in by_owner.items()}
    choices = []
    for rank, candidate in enumerate(ranked, 1):
        week, reason = weeks.get(candidate.owner or ""), _find_obstacle(candidate)
        is_limited = candidate.owner is not None and not candidate.is_unlimited
        probability = None
        if reason == CHOSEN and is_limited and week is not None:
            probability = week.probabilities.get(id(candidate))
            has_lost = candidate.has_lost or probability is not None
            reason = CHOSEN if id(candidate) in week.taken else NOT_DRAWN if has_lost else FULL
        limit = left[candidate.owner] if is_limited and candidate.owner else None
        threshold = week.threshold if is_limited and week else None
        choices.append(Choice(candidate, rank, threshold, limit, reason == CHOSEN, reason, probability))
    return tuple(choices)


@dataclass(frozen=True)
class _Week:
    """What fills one owner's time: ids of the objects, the least expected among them, and chances where lots decide."""

    taken: frozenset[int]
    threshold: float | None
    probabilities: Mapping[int, float]


def _fill_week(candidates: Sequence[Candidate], minutes: float, capacity: Capacity, band: int) -> _Week:
    """Fill an owner's time with candidates, the most expected first, by lot around the line."""
    free, lost = ([c for c in candidates if c.has_lost is flag] for flag in (False, True))
    drawn = draw_at_line([c.lot for c in free], taken=_count_fitting(free, minutes, capacity), band=band)
    ordered = [*(free[place] for place in drawn.order), *lost]
    taken = ordered[: _count_fitting(ordered, minutes, capacity)]
    is_full = len(taken) < len(candidates)
    least = min((c.expected for c in taken), default=candidates[0].expected if candidates else None)
    chances = {id(free[place]): drawn.probability for place in drawn.band}
    return _Week(frozenset(map(id, taken)), least if is_full else None, chances)


def _name_families_once(ranked: Sequence[Candidate]) -> list[Candidate]:
    """Let each family that a lot may decide on compete with its best account alone: no lot splits a family."""
    first = dict[str, int]()
    for place, candidate in enumerate(ranked):
        if candidate.lot is not None and _find_obstacle(candidate) == CHOSEN:
            first.setdefault(candidate.unit, place)
    return [
        replace(candidate, obstacle=WAITS)
        if first.get(candidate.unit, place) != place and not candidate.obstacle
        else candidate
        for place, candidate in enumerate(ranked)
    ]


def _count_fitting(candidates: Sequence[Candidate], minutes: float, capacity: Capacity) -> int:
    """Count how many of the first candidates fit into an owner's time, until the first that does not."""
    for place, candidate in enumerate(candidates):
        minutes -= capacity.get_minutes(candidate.signal.kind)
        if minutes < -1e-9:
            return place
    return len(candidates)


def _find_obstacle(candidate: Candidate) -> str:
    return candidate.obstacle or (NOT_WORTH_IT if candidate.expected <= 0 else CHOSEN)


def _measure_time_left(
    candidates: Sequence[Candidate], capacity: Capacity, opened: Sequence[tuple[str | None, str]]
) -> Mapping[str, float]:
    """Return each owner's minutes left in the week."""
    used: defaultdict[str, float] = defaultdict(float)
    for owner, kind in opened:
        used[str(owner)] += capacity.get_minutes(kind)
    owners = {c.owner for c in candidates if c.owner is not None}
    return {owner: max(0.0, capacity.get_week(owner) - used[owner]) for owner in owners}


def _rank_key(candidate: Candidate) -> tuple[float, float, str, str]:
    signal = candidate.signal
    return (-candidate.expected, -(signal.score or 0.0), signal.account_id, signal.kind)
