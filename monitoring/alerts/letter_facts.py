"""Gather what the letters of a run state: scores and their course, drivers, dated facts, promises, and readers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Self

from features.core.timestamps import to_micros
from features.definitions import plays
from features.settings import Settings
from features.state.database import Store
from monitoring.alerts import kinds, queries
from monitoring.alerts.facts import AccountFacts
from monitoring.alerts.limits import SaleLimits
from monitoring.alerts.mailing import Notice
from monitoring.alerts.queries import ScoreDetails
from monitoring.alerts.signals import Signal
from monitoring.binding.bindings import AccountBinding
from monitoring.letters.account_risk import AccountRisk, EarlierScore, Text

if TYPE_CHECKING:  # which itself calls this
    from monitoring.alerts.lifecycle import AlertRun, ToldAgain

# Dated facts about accounts, seen at an instant.
Evidence = Callable[[Collection[str], datetime], Mapping[str, Sequence[Text]]]


@dataclass(frozen=True)
class LetterFacts:
    """What the letters of a run state.

    Args:
        settings: The company's.
        outcome: The run, but for its messages.
        sale: Of the model that gave the upsell scores.
        details: Of the scores, by account.
        facts: What is known of the accounts beside their scores.
        earlier: The scores before, by account.
        courses: All earlier scores, oldest first, of the accounts that a sponsor reviews.
        evidence: Dated facts, by account.
        note: What owners should know about the data behind these scores.
    """

    settings: Settings
    outcome: AlertRun
    sale: SaleLimits | None
    details: Mapping[str, ScoreDetails]
    facts: AccountFacts
    earlier: Mapping[str, EarlierScore]
    courses: Mapping[str, Sequence[tuple[datetime, float]]]
    evidence: Mapping[str, Sequence[Text]]
    note: str

    @classmethod
    def prepare(  # noqa: PLR0913  # all that letters are made of
        cls,
        store: Store,
        settings: Settings,
        outcome: AlertRun,
        sale: SaleLimits | None,
        details: Mapping[str, ScoreDetails],
        *,
        evidence: Evidence,
        facts: AccountFacts,
        note: str,
    ) -> Self:
        """Read what the letters of a run state beside its scores."""
        told = [t.going.episode.account_id for t in outcome.told_again]
        spoken_of = sorted({*(o.score.account_id for o in outcome.opened), *told})
        at, horizon = to_micros(outcome.as_of), outcome.horizon
        reviewed = [a for a in spoken_of if facts.tiers.get(a) in settings.binding.escalation.at_once]
        with store.reading() as connection:
            earlier = queries.read_earlier_scores(connection, spoken_of, at, horizon=horizon)
            courses = queries.read_courses(connection, reviewed, at, horizon=horizon)
        dated = evidence(spoken_of, outcome.as_of) if spoken_of else {}
        return cls(settings, outcome, sale, details, facts, earlier, courses, dated, note)

    def write(self) -> Iterator[Notice]:
        """Yield what each episode that speaks says."""
        for o in self.outcome.opened:
            risk = self._build(o.score, o.episode, o.binding)
            yield self._build_notice(
                kinds.OPENED, risk, o.choice.candidate.expected, o.choice.candidate.play, o.binding
            )
        for t in self.outcome.told_again:
            episode = t.going.episode
            risk = self._build(t.going.signal, episode.id, t.binding, told=t)
            yield self._build_notice(t.event, risk, episode.expected or 0.0, episode.play, t.binding)

    def _build_notice(
        self, kind: str, risk: AccountRisk, expected: float, play: str | None, binding: AccountBinding
    ) -> Notice:
        step = plays.PLAYS.get(play or "")
        promise = (self.facts.promises or {}).get(risk.account_id)
        return Notice(
            kind,
            risk,
            expected,
            step.cause if step else None,
            binding,
            self.courses.get(risk.account_id, ()),
            (promise.describe(),) if promise else (),
        )

    def _build(
        self, signal: Signal | None, episode: str, binding: AccountBinding, *, told: ToldAgain | None = None
    ) -> AccountRisk:
        before = told.going.episode if told else None
        account, kind = (signal or before).account_id, (signal or before).kind  # type: ignore[union-attr]
        about = self.details.get(account, ScoreDetails("", []))
        is_sale = kind == kinds.UPSELL and self.sale is not None
        worsened = told is not None and told.event == kinds.WORSENED
        return AccountRisk(
            account_id=account,
            name=binding.name,
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
            why_you=binding.owner.why if binding.owner else "",
            reasons=() if signal is None or kind == kinds.CHURN else (signal.text,),
            play_key=(signal.play if signal else before.play if before else None) or "",
        )
