"""The alert lifecycle: open, continue and close episodes from the stored scores of one `as_of`.

An episode opens at a stronger condition than the one it closes at (hysteresis), so an account near the threshold does
not go in and out. What opens is what owners have time for, the most expected loss avoided first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

import sqlalchemy as sa

from features.core.timestamps import from_micros
from features.definitions import plays
from features.settings import Settings
from features.state.database import Store
from monitoring.alerts import decisions, kinds, queries, run_store
from monitoring.alerts.choice import IS_OPEN, Candidate, Choice, choose
from monitoring.alerts.decisions import ClosedEpisode, ContinuedEpisode
from monitoring.alerts.episode_store import build_episode_id
from monitoring.alerts.facts import AccountFacts, Departure
from monitoring.alerts.queries import AlertState, ClosedKind, SaleLimits, ScoreDetails, Thresholds
from monitoring.alerts.routing import (
    Contact,
    MessageRoute,
    RankedAccount,
    parse_address,
    parse_fallback_owner,
    route_messages,
)
from monitoring.alerts.signals import Signal, SignalInputs, find_signals
from monitoring.letters.message import AccountRisk, EarlierScore
from training.decisions.expected_loss import compute_expected_loss_avoided

# How often a run begins anew because a person changed an episode meanwhile.
_TRIES = 5

Contacts = Callable[[Collection[str]], Mapping[str, Contact]]
# Dated facts about accounts, seen at an instant.
Evidence = Callable[[Collection[str], datetime], Mapping[str, Sequence[str]]]
Departures = Callable[[Collection[str]], Mapping[str, Departure]]


@dataclass(frozen=True)
class OpenedEpisode:
    """A new episode, the account's name and owner, and where its message goes."""

    episode: str
    choice: Choice
    route: MessageRoute
    contact: Contact

    @property
    def score(self) -> Signal:
        """Return the condition that it opens on: account_id, score, value."""
        return self.choice.candidate.signal


@dataclass(frozen=True)
class ToldAgain:
    """An open episode that speaks once more: it worsened, its time of rest is over, or it has another owner."""

    going: ContinuedEpisode
    event: str
    route: MessageRoute
    contact: Contact


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
    contacts: Contacts,
    as_of: datetime | None = None,
    evidence: Evidence = lambda _accounts, _as_of: {},
    facts: AccountFacts | None = None,
    departures: Departures = lambda _accounts: {},
    sale: SaleLimits | None = None,
    note: str = "",
    dry_run: bool = False,
) -> AlertRun:
    """Open, continue and close episodes from the scores at `as_of`, and put new messages into the outbox.

    Everything is written in one transaction, so a killed run has written nothing. A second run for the same `as_of`
    does nothing, even at the same time in another process.

    Args:
        settings: The company's.
        store: Its state database.
        limits: Of the model that gave the scores.
        contacts: Returns the names and owners of accounts.
        as_of: Of the scores; by default the newest.
        evidence: Returns dated facts about accounts as of an instant, for their letters.
        facts: What is known of the accounts at `as_of` beside their scores; without it only scores open episodes.
        departures: Returns which accounts without a score are gone for certain.
        sale: Of the model that gave the upsell scores; None without one.
        note: What owners should know about the data behind these scores; "" where all is well.
        dry_run: Write nothing.

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
            case = _Case(settings, limits, sale, facts or AccountFacts(), state)
            outcome, details = case.decide(connection, contacts, departures)
        if dry_run:
            return outcome
        told = [t.going.episode.account_id for t in outcome.told_again]
        spoken_of = sorted({*(o.score.account_id for o in outcome.opened), *told})
        with store.reading() as connection:
            earlier = queries.read_earlier_scores(connection, spoken_of, at, horizon=horizon)
        dated = evidence(spoken_of, outcome.as_of) if spoken_of else {}
        letters = _Letters(settings, outcome, sale, details, earlier=earlier, evidence=dated, note=note)
        written = run_store.write(store, outcome, letters.write_opened(), letters.write_told_again())
        if written is not None:
            return outcome if written else AlertRun(outcome.as_of, horizon, limits, fresh=False)
    return run_store.refuse(outcome)


@dataclass(frozen=True)
class _Case:
    """Everything that a run decides on."""

    settings: Settings
    limits: Thresholds
    sale: SaleLimits | None
    facts: AccountFacts
    state: AlertState

    def decide(
        self, connection: sa.Connection, contacts: Contacts, departures: Departures
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
        known = contacts(sorted(accounts)) if accounts else {}
        fallback = parse_fallback_owner(self.settings.alerts)
        standing = [c.signal for c in continued if c.signal and c.signal.enters]
        candidates = [
            self._build_candidate(signal, details, known, fallback, obstacles.get((signal.account_id, signal.kind), ""))
            for signal in entering.values()
        ]
        candidates += [self._build_candidate(signal, details, known, fallback, IS_OPEN) for signal in standing]
        choices = choose(candidates, self.settings.capacity, opened=state.opened)
        chosen = [c for c in choices if c.chosen]
        merged = decisions.find_merged(
            continued, {(c.candidate.signal.account_id, c.candidate.signal.kind) for c in chosen}
        )
        gone = {m.episode.id for m in merged}
        continued = [c for c in continued if c.episode.id not in gone]
        owners = dict(self._find_new_owners(continued, known))
        opened, told_again = self._route(chosen, continued, owners, known)
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
            lead=self.settings.churn.lead_days,
        )
        return outcome, details

    def _build_candidate(
        self,
        signal: Signal,
        details: Mapping[str, ScoreDetails],
        known: Mapping[str, Contact],
        fallback: str | None,
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
        own = parse_address(known.get(signal.account_id, Contact()).owner)
        return Candidate(signal, expected, play, own or fallback, own is None, obstacle)

    def _find_new_owners(
        self, continued: Sequence[ContinuedEpisode], known: Mapping[str, Contact]
    ) -> Sequence[tuple[str, str]]:
        """Find the episodes whose account has another owner now; not those that a person handed over."""
        return [
            (going.episode.id, owner)
            for going in continued
            if going.episode.id not in self.state.moved
            and going.episode.owner is not None
            and (owner := parse_address(known.get(going.episode.account_id, Contact()).owner)) is not None
            and owner.lower() != going.episode.owner.lower()
        ]

    def _route(
        self,
        chosen: Sequence[Choice],
        continued: Sequence[ContinuedEpisode],
        owners: Mapping[str, str],
        known: Mapping[str, Contact],
    ) -> tuple[tuple[OpenedEpisode, ...], tuple[ToldAgain, ...]]:
        """Route the messages, the most expected first: those of new episodes, and of those that speak once more."""
        events = {
            c.episode.id: event
            for c in continued
            if (event := kinds.HANDED_OVER if c.episode.id in owners else c.speaks) is not None
        }
        telling = {c.episode.id: c for c in continued if c.episode.id in events}
        opening = {f"{c.rank}": c for c in chosen}
        contacts = {key: known.get(c.candidate.signal.account_id, Contact()) for key, c in opening.items()}
        for key, going in telling.items():
            own = known.get(going.episode.account_id, Contact())
            contacts[key] = Contact(own.name, owners.get(key, going.episode.owner or own.owner))
        stakes = chain(
            (RankedAccount(key, 1.0, c.candidate.expected) for key, c in opening.items()),
            (RankedAccount(key, going.score or 0.0, 0.0) for key, going in telling.items()),
        )
        routes = route_messages(stakes, contacts, self.settings.alerts)
        company, at = self.settings.company.name, self.state.at
        opened = [
            OpenedEpisode(
                build_episode_id(company, signal.account_id, kind=signal.kind, opened=at),
                opening[key],
                route,
                contacts[key],
            )
            for key, route in routes.items()
            if key in opening and (signal := opening[key].candidate.signal)
        ]
        told = [ToldAgain(telling[k], events[k], r, contacts[k]) for k, r in routes.items() if k in telling]
        return tuple(opened), tuple(told)


@dataclass(frozen=True)
class _Letters:
    """Builds what the letters of a run state."""

    settings: Settings
    outcome: AlertRun
    sale: SaleLimits | None
    details: Mapping[str, ScoreDetails]
    earlier: Mapping[str, EarlierScore]
    evidence: Mapping[str, Sequence[str]]
    note: str

    def write_opened(self) -> list[AccountRisk]:
        """Build the letters about new episodes."""
        return [self._build(o.score, o.episode, o.contact) for o in self.outcome.opened]

    def write_told_again(self) -> list[AccountRisk]:
        """Build the letters about those that speak once more."""
        return [self._build(t.going.signal, t.going.episode.id, t.contact, told=t) for t in self.outcome.told_again]

    def _build(
        self, signal: Signal | None, episode: str, contact: Contact, *, told: ToldAgain | None = None
    ) -> AccountRisk:
        before = told.going.episode if told else None
        account, kind = (signal or before).account_id, (signal or before).kind  # type: ignore[union-attr]
        about = self.details.get(account, ScoreDetails("", []))
        is_sale = kind == kinds.UPSELL and self.sale is not None
        worsened = told is not None and told.event == kinds.WORSENED
        return AccountRisk(
            account_id=account,
            name=contact.name,
            score=signal.score if signal else (before.last_score if before else None),
            days=self.outcome.lead + self.sale.horizon if is_sale and self.sale else self.outcome.days,
            as_of=self.outcome.as_of,
            earlier=None if is_sale else self.earlier.get(account),
            drivers=() if is_sale else about.drivers,
            value=signal.value if signal else None,
            currency=self.settings.company.currency,
            model=self.sale.model if is_sale and self.sale else self.outcome.thresholds.model,
            sources=about.sources,
            episode=episode,
            base_rate=None if is_sale else self.outcome.thresholds.base_rate,
            facts=self.evidence.get(account, ()),
            note=self.note,
            kind=kind,
            worsened_from=before.spoken_score if before and worsened else None,
            reasons=() if signal is None or kind == kinds.CHURN else (signal.text,),
        )
