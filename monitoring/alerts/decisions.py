"""Decide what a run does with each open episode, and what may open anew; nothing is read or written here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from features.core.timestamps import DAY
from features.settings import Episodes
from monitoring.alerts import kinds
from monitoring.alerts.facts import Departure
from monitoring.alerts.queries import AlertState, ClosedKind, OpenEpisode, format_instant
from monitoring.alerts.signals import Signal, Signals

_ENDINGS: Mapping[str, tuple[str, str]] = {
    kinds.CHURN: (kinds.RECOVERED, "the risk is no longer high"),
    kinds.SILENT_DECLINE: (kinds.RECOVERED, "usage no longer falls"),
    kinds.SERVICE_FAILURE: (kinds.RECOVERED, "no urgent ticket stands open"),
    kinds.RENEWAL_NEAR: (kinds.RECOVERED, "the term was renewed"),
    kinds.UPSELL: (kinds.EXPIRED, "the chance has passed"),
    kinds.PROMISE_DUE: (kinds.RECOVERED, "the promise was kept"),
    kinds.VISIT_DUE: (kinds.RECOVERED, "somebody was in touch"),
}


@dataclass(frozen=True)
class ContinuedEpisode:
    """An open episode that stays open.

    Args:
        episode: As it was before.
        signal: What keeps it open; None where that can't be seen now, or has just ended.
        is_seen: Whether the account has a score.
        events: What changes, in order.
        exited_as_of: When its condition was first seen to be gone (µs); None while it lasts.
    """

    episode: OpenEpisode
    signal: Signal | None
    is_seen: bool = True
    events: tuple[str, ...] = ()
    exited_as_of: int | None = None

    @property
    def score(self) -> float | None:
        """Return its score now; the last one where there is none now."""
        return self.signal.score if self.signal else self.episode.last_score

    @property
    def speaks(self) -> str | None:
        """Return the event that its owner is told; None where there is nothing new."""
        return next((event for event in self.events if event in {kinds.WORSENED, kinds.WOKEN}), None)


@dataclass(frozen=True)
class ClosedEpisode:
    """An episode that ended; the score is None where the account has none now."""

    episode: OpenEpisode
    outcome: str
    score: float | None
    reason: str
    has_exited: bool = True


def follow_episodes(
    state: AlertState,
    signals: Mapping[str, Signals | None],
    departures: Mapping[str, Departure],
    rules: Episodes,
) -> tuple[list[ContinuedEpisode], list[ClosedEpisode]]:
    """Decide which open episodes continue, with what changes, and which close.

    Args:
        state: What earlier runs and people left.
        signals: By kind and account; None for a kind that can't be judged now.
        departures: Of accounts without a score.
        rules: The company's.
    """
    continued, closed = list[ContinuedEpisode](), list[ClosedEpisode]()
    for episode in state.episodes:
        row = state.scores.get(episode.account_id)
        outcome: ContinuedEpisode | ClosedEpisode
        if episode.kind not in rules.kinds:
            outcome = ClosedEpisode(episode, kinds.EXPIRED, None, "alerts of this kind are switched off")
        elif row is None or row.in_cohort is None:
            outcome = _follow_unseen(state, episode, departures.get(episode.account_id), rules)
        elif not row.in_cohort:
            outcome = ClosedEpisode(episode, kinds.LEFT, None, "it is no longer a customer")
        else:
            outcome = _follow_seen(state, episode, signals.get(episode.kind), rules)
        if isinstance(outcome, ClosedEpisode):
            closed.append(outcome)
        else:
            continued.append(outcome)
    return continued, closed


def _follow_unseen(
    state: AlertState, episode: OpenEpisode, departure: Departure | None, rules: Episodes
) -> ContinuedEpisode | ClosedEpisode:
    """Close an episode whose account is gone for certain, or missing from so many runs; else wait for it."""
    if departure is not None:
        return ClosedEpisode(episode, departure.outcome, None, departure.reason)
    missed = state.missed[episode.last_as_of] + 1
    if missed >= rules.absent_runs:
        return ClosedEpisode(episode, kinds.LEFT, None, f"missing from {missed} runs in a row")
    return ContinuedEpisode(episode, None, is_seen=False, events=(kinds.UNSEEN,), exited_as_of=episode.exited_as_of)


def _follow_seen(
    state: AlertState, episode: OpenEpisode, signals: Signals | None, rules: Episodes
) -> ContinuedEpisode | ClosedEpisode:
    if signals is None:
        return ContinuedEpisode(episode, None, exited_as_of=episode.exited_as_of)
    signal = signals.get(episode.account_id)
    if signal is not None:
        return ContinuedEpisode(episode, signal, events=tuple(_list_events(state, episode, signal, rules)))
    first, confirm = episode.exited_as_of, rules.exit_days * DAY
    # Runs that are far apart confirm by themselves: what is gone after a week has not flickered.
    is_far = state.previous is not None and state.at - state.previous >= confirm
    if is_far or (first is not None and state.at - first >= confirm):
        outcome, reason = _ENDINGS[episode.kind]
        score = state.scores[episode.account_id].score
        return ClosedEpisode(episode, outcome, score if episode.kind != kinds.UPSELL else None, reason)
    events = () if first is not None else (kinds.EASED,)
    return ContinuedEpisode(episode, None, events=events, exited_as_of=state.at if first is None else first)


def _list_events(state: AlertState, episode: OpenEpisode, signal: Signal, rules: Episodes) -> Iterator[str]:
    if episode.exited_as_of is not None:
        yield kinds.RETURNED
    told = episode.spoken_score
    is_worse = told is not None and signal.score is not None and signal.score - told >= rules.worsened
    has_slept = episode.state == kinds.SNOOZED and (episode.snoozed_until or 0) <= state.at
    if is_worse:
        yield kinds.WORSENED
        has_slept |= episode.state == kinds.SNOOZED
    if has_slept:
        yield kinds.WOKEN


def find_exits(state: AlertState, signals: Mapping[str, Signals | None]) -> list[ClosedKind]:
    """Find the episodes that a person closed and whose condition has ended since."""
    return [
        closed
        for closed in state.unexited
        if closed.account_id in state.scores
        and (known := signals.get(closed.kind)) is not None
        and closed.account_id not in known
    ]


def find_obstacles(
    state: AlertState, entering: Mapping[tuple[str, str], Signal], continued: list[ContinuedEpisode], rules: Episodes
) -> dict[tuple[str, str], str]:
    """Find why conditions that are strong enough open no episode.

    Args:
        state: What earlier runs and people left.
        entering: By account and kind.
        continued: Episodes that stay open.
        rules: The company's.

    Returns:
        Why, by account and kind; without those that nothing stands in the way of.
    """
    obstacles: dict[tuple[str, str], str] = {}
    wait = rules.reopen_days * DAY
    for closed in state.unexited:
        if state.at - closed.closed_as_of < wait:
            words = closed.outcome.replace("_", " ")
            obstacles[closed.account_id, closed.kind] = f"closed as {words}, and its condition has not ended since"
    muted = {(m.account_id, m.kind): m for m in state.mutes}
    for account, kind in entering:
        if mute := muted.get((account, None)) or muted.get((account, kind)):
            obstacles[account, kind] = f"muted until {format_instant(mute.until)}: {mute.reason}"
    is_open = {(c.episode.account_id, c.episode.kind) for c in continued}
    clear = is_open | {key for key in entering if key not in obstacles}
    for account, kind in entering:
        louder = next((k for k in kinds.SPOKEN_FOR_BY.get(kind, ()) if (account, k) in clear), None)
        if louder and (account, kind) not in obstacles:
            obstacles[account, kind] = f"the alert “{kinds.KINDS[louder]}” on the account speaks for it"
    return obstacles


def find_merged(continued: list[ContinuedEpisode], opened: set[tuple[str, str]]) -> list[ClosedEpisode]:
    """Find the open episodes that one opened now speaks for; a chance to sell ends by its own rule."""
    merged = []
    for going in continued:
        episode = going.episode
        speakers = kinds.SPOKEN_FOR_BY.get(episode.kind, ()) if episode.kind != kinds.UPSELL else ()
        louder = next((k for k in speakers if (episode.account_id, k) in opened), None)
        if louder:
            reason = f"the alert “{kinds.KINDS[louder]}” speaks for it now"
            merged.append(ClosedEpisode(episode, kinds.MERGED, going.score, reason, has_exited=False))
    return merged
