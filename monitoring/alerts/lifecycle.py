"""The alert lifecycle: open, continue and close episodes from the stored scores of one `as_of`.

An episode opens at a stronger condition than the one it closes at (hysteresis), so an account near the threshold does
not go in and out. What opens is what owners have time for, the most expected loss avoided first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from features.core.timestamps import from_micros
from features.definitions import plays
from features.settings import Experiment, Settings
from features.state.database import Store
from monitoring.alerts import decisions, kinds, queries, run_store
from monitoring.alerts.choice import IS_OPEN, Candidate, Choice, choose
from monitoring.alerts.decisions import ClosedEpisode, ContinuedEpisode
from monitoring.alerts.draws import Lots
from monitoring.alerts.episode_store import build_episode_id
from monitoring.alerts.facts import AccountFacts, Departure
from monitoring.alerts.letter_facts import Evidence, LetterFacts
from monitoring.alerts.limits import SaleLimits, Thresholds
from monitoring.alerts.mailing import Mailing, MailingRules
from monitoring.alerts.queries import AlertState, ClosedKind, ScoreDetails
from monitoring.alerts.signals import Signal, SignalInputs, find_signals
from monitoring.alerts.spoken import Spoken
from monitoring.binding.bindings import AccountBinding
from monitoring.letters.links import open_signer
from training.decisions.expected_loss import compute_expected_loss_avoided

# How often a run begins anew because a person changed an episode meanwhile.
_TRIES = 5

# Everybody who answers for accounts, of which each that is asked for is in the answer.
Bindings = Callable[[Collection[str]], Mapping[str, AccountBinding]]
Departures = Callable[[Collection[str]], Mapping[str, Departure]]


@dataclass(frozen=True)
class OpenedEpisode:
    """A new episode, and who answers for the account."""

    episode: str
    choice: Choice
    binding: AccountBinding

    @property
    def score(self) -> Signal:
        """Return the condition that it opens on: account_id, score, value."""
        return self.choice.candidate.signal


@dataclass(frozen=True)
class ToldAgain:
    """An open episode that speaks once more: it worsened, its time of rest is over, or it has another owner."""

    going: ContinuedEpisode
    event: str
    binding: AccountBinding


@dataclass(frozen=True)
class AlertRun:
    """The result of one run of the alerts.

    Args:
        as_of: Of the scores.
        horizon: In days.
        thresholds: The scores at which an account is at risk, and below which the risk is over.
        considered: Accounts in the cohort.
        opened: New episodes, the most expected loss avoided first.
        continued: Open episodes that stay open.
        closed: Episodes that ended.
        told_again: Those continued that speak once more.
        choices: What was done with each candidate, and why.
        exited: Episodes that a person had closed, and whose condition has ended now.
        owners: New owners of continued episodes, by episode.
        mailing: Its messages.
        draws: What lots decided, for the table of draws.
        experiment: The experiment that the settings name.
        fresh: False if this `as_of` had been processed before, and so nothing was done.
        lead: Days that the target leaves before the horizon begins.
    """

    as_of: datetime
    horizon: int
    thresholds: Thresholds
    considered: int = 0
    opened: tuple[OpenedEpisode, ...] = ()
    continued: tuple[ContinuedEpisode, ...] = ()
    closed: tuple[ClosedEpisode, ...] = ()
    told_again: tuple[ToldAgain, ...] = ()
    choices: tuple[Choice, ...] = ()
    exited: tuple[ClosedKind, ...] = ()
    owners: Mapping[str, str] | None = None
    mailing: Mailing = field(default_factory=Mailing)
    draws: tuple[Mapping[str, Any], ...] = ()
    experiment: Experiment = field(default_factory=Experiment)
    fresh: bool = True
    lead: int = 0

    @property
    def days(self) -> int:
        """Return the days from `as_of` to the horizon's end."""
        return self.lead + self.horizon


def run(  # noqa: PLR0913  # all named: what it works on, and what it is allowed to do
    settings: Settings,
    store: Store,
    *,
    limits: Thresholds,
    bindings: Bindings,
    as_of: datetime | None = None,
    evidence: Evidence = lambda _accounts, _as_of: {},
    facts: AccountFacts | None = None,
    departures: Departures = lambda _accounts: {},
    sale: SaleLimits | None = None,
    note: str = "",
    dry_run: bool = False,
    with_text: bool = True,
) -> AlertRun:
    """Open, continue and close episodes from the scores at `as_of`, and put new messages into the outbox.

    Everything is written in one transaction, so a killed run has written nothing. A second run for the same `as_of`
    does nothing, even at the same time in another process.

    Args:
        settings: The company's.
        store: Its state database.
        limits: Of the model that gave the scores.
        bindings: Returns who answers for accounts.
        as_of: Of the scores; by default the newest.
        evidence: Returns dated facts about accounts as of an instant, for their letters.
        facts: What is known of the accounts at `as_of` beside their scores; without it only scores open episodes.
        departures: Returns which accounts without a score are gone for certain.
        sale: Of the model that gave the upsell scores; None without one.
        note: What owners should know about the data behind these scores; "" where all is well.
        dry_run: Write nothing.
        with_text: Whether messages say anything; a replay asks only who would have got them.

    Raises:
        GarrisonError: There are no scores at `as_of`, they are of another model, or a later `as_of` has been
            processed.
    """
    horizon = settings.alert_horizon
    for _ in range(_TRIES):
        with store.reading() as connection:
            at = queries.find_scored_instant(connection, as_of, horizon)
            if queries.is_processed(connection, at):
                return AlertRun(from_micros(at), horizon, limits, fresh=False)
            state = queries.read_alert_state(connection, at, horizon, thresholds=limits, sale=sale)
            lots = Lots.read(connection, settings, at)
            case = _Case(settings, limits, sale, facts or AccountFacts(), state, lots)
            outcome, details = case.decide(connection, bindings, departures)
            spoken = Spoken.read(connection, at)
        letters = LetterFacts.prepare(
            store,
            settings,
            outcome,
            sale,
            details,
            evidence=evidence if with_text else _find_nothing,
            facts=case.facts,
            note=note,
        )
        now, signer = datetime.now(UTC), open_signer(settings.alerts.links)
        rules = MailingRules(settings, outcome.as_of, now, signer, is_blank=not with_text)
        mailing = rules.compose(letters.write(), spoken)
        outcome = replace(outcome, mailing=mailing)
        if dry_run:
            return outcome
        written = run_store.write(store, outcome, now)
        if written is not None:
            return outcome if written else AlertRun(outcome.as_of, horizon, limits, fresh=False)
    return run_store.refuse(outcome)


def _find_nothing(_accounts: Collection[str], _as_of: datetime) -> Mapping[str, Sequence[str]]:
    """Find no dated fact, for messages without text."""
    return {}


@dataclass(frozen=True)
class _Case:
    """Everything that a run decides on."""

    settings: Settings
    limits: Thresholds
    sale: SaleLimits | None
    facts: AccountFacts
    state: AlertState
    lots: Lots

    def decide(
        self, connection: sa.Connection, bindings: Bindings, departures: Departures
    ) -> tuple[AlertRun, Mapping[str, ScoreDetails]]:
        """Decide what the run does; the details are those of the scores that may be spoken of."""
        state, rules = self.state, self.settings.episodes
        scores = {a: s for a, s in state.scores.items() if s.in_cohort}
        found = find_signals(
            SignalInputs(self.settings, self.limits, scores, state.sales, self.sale, self.facts, state.at)
        )
        missing = [e.account_id for e in state.episodes if e.account_id not in state.scores]
        continued, closed = decisions.follow_episodes(state, found, departures(missing) if missing else {}, rules)
        is_open = {(e.account_id, e.kind) for e in state.episodes}
        entering = {
            (s.account_id, s.kind): s
            for signals in found.values()
            for s in (signals or {}).values()
            if s.enters and (s.account_id, s.kind) not in is_open
        }
        obstacles = decisions.find_obstacles(state, entering, continued, rules)
        accounts = {account for account, _ in entering} | {c.episode.account_id for c in continued}
        details = queries.read_details(connection, accounts, state.at, horizon=self.settings.alert_horizon)
        known = bindings(sorted(accounts | self.lots.accounts)) if accounts else {}
        lots = self.lots.recognise_families(known, self.facts.tiers) if accounts else self.lots
        standing = [c.signal for c in continued if c.signal and c.signal.enters]
        candidates = [
            self._build_candidate(signal, details, known, obstacles.get((signal.account_id, signal.kind), ""))
            for signal in entering.values()
        ]
        candidates += [self._build_candidate(signal, details, known, IS_OPEN) for signal in standing]
        units = {known[c.episode.account_id].unit for c in continued}
        entered = lots.enter(candidates, alerted=units)
        choices = lots.apply(choose(entered, self.settings.capacity, opened=state.opened, band=lots.band))
        chosen = [c for c in choices if c.chosen]
        merged = decisions.find_merged(
            continued, {(c.candidate.signal.account_id, c.candidate.signal.kind) for c in chosen}
        )
        gone = {m.episode.id for m in merged}
        continued = [c for c in continued if c.episode.id not in gone]
        owners = dict(self._find_new_owners(continued, known))
        opened, told_again = self._find_speakers(chosen, continued, owners, known, lots)
        outcome = AlertRun(
            as_of=from_micros(state.at),
            horizon=self.settings.alert_horizon,
            thresholds=self.limits,
            considered=state.considered,
            opened=opened,
            continued=tuple(continued),
            closed=(*closed, *merged),
            told_again=told_again,
            choices=choices,
            exited=tuple(decisions.find_exits(state, found)),
            owners=owners,
            draws=tuple(lots.find_draws(choices, known, scores)),
            experiment=self.settings.experiment,
            lead=self.settings.churn.lead_days,
        )
        return outcome, details

    def _build_candidate(
        self,
        signal: Signal,
        details: Mapping[str, ScoreDetails],
        known: Mapping[str, AccountBinding],
        obstacle: str,
    ) -> Candidate:
        about = details.get(signal.account_id)
        play = signal.play or plays.choose_play(about.drivers if about else ()).key
        expected = compute_expected_loss_avoided(
            self.settings.stakes,
            risk=signal.score or 0.0,
            value=signal.value,
            play=play,
            tier=self.facts.tiers.get(signal.account_id),
        )
        bound = known[signal.account_id]
        owner, is_unlimited = bound.owner, bound.owner is None or bound.owner.is_fallback
        address = owner.address if owner else None
        return Candidate(signal, expected, play, address, is_unlimited, obstacle, bound.unit)

    def _find_new_owners(
        self, continued: Sequence[ContinuedEpisode], known: Mapping[str, AccountBinding]
    ) -> Sequence[tuple[str, str]]:
        """Find the episodes that another person answers for now; not those that a person handed over."""
        return [
            (going.episode.id, owner.address)
            for going in continued
            if going.episode.id not in self.state.moved
            and going.episode.owner is not None
            and (owner := known[going.episode.account_id].owner) is not None
            and owner.address.lower() != going.episode.owner.lower()
        ]

    def _find_speakers(
        self,
        chosen: Sequence[Choice],
        continued: Sequence[ContinuedEpisode],
        owners: Mapping[str, str],
        known: Mapping[str, AccountBinding],
        lots: Lots,
    ) -> tuple[tuple[OpenedEpisode, ...], tuple[ToldAgain, ...]]:
        """Find the new episodes, and the open ones that speak once more."""
        company, at = self.settings.company.name, self.state.at
        opened = []
        for choice in chosen:
            signal = choice.candidate.signal
            episode = build_episode_id(company, signal.account_id, kind=signal.kind, opened=at)
            opened.append(OpenedEpisode(episode, choice, known[signal.account_id]))
        told = []
        for going in continued:
            before, event = going.episode, kinds.HANDED_OVER if going.episode.id in owners else going.speaks
            if event is not None:
                bound = known[before.account_id]
                moved_to = before.owner if before.id in self.state.moved else None
                same = replace(going, signal=lots.keep_play(going.signal, before.play))
                told.append(ToldAgain(same, event, bound.hand_over(moved_to) if moved_to else bound))
        return tuple(opened), tuple(told)
