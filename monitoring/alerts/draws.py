"""Let lots decide whom a run alerts on and by which play, and keep what they decided.

For each family of accounts and purpose its first draw counts, whatever comes later.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import sqlalchemy as sa

from features.core.timestamps import DAY
from features.settings import Experiment, Settings
from features.state.tables import EXPERIMENT_DRAWS
from monitoring.alerts import kinds
from monitoring.alerts.choice import Candidate, Choice
from monitoring.alerts.queries import AccountScore
from monitoring.alerts.signals import Signal
from monitoring.binding.bindings import AccountBinding
from monitoring.experiments import experiment_store
from monitoring.experiments.assignment import draw_lot
from monitoring.experiments.experiment_store import HOLDOUT, LOTTERY, LOTTERY_OF_HELD_OUT, PastDraw
from monitoring.experiments.plays import PLAYS_OF, check_plays, find_pair, pick_play

HELD_OUT = "held out by lot"


@dataclass(frozen=True)
class Lots:
    """The lots of one run.

    Args:
        experiment: The settings in force.
        is_drawing: Whether lots decide on anything: not without settings, nor after the experiment was stopped.
        at: The run's `as_of` (µs).
        days: From a draw to the end of its outcome: so long those not drawn wait.
        worsened: A rise of the risk after which an account that was not drawn is alerted on by its rank all the same.
        currency: That values are in.
        drawn: Earlier draws, oldest first.
        past: The same by purpose and today's family.
        exempt: Families that are never held out.
    """

    experiment: Experiment
    is_drawing: bool
    at: int
    days: int
    worsened: float
    currency: str
    drawn: tuple[PastDraw, ...] = ()
    past: Mapping[tuple[str, str], PastDraw] = field(default_factory=dict)
    exempt: frozenset[str] = frozenset()

    @classmethod
    def read(cls, connection: sa.Connection, settings: Settings, at: int) -> Self:
        """Read what earlier runs drew.

        Raises:
            GarrisonError: The settings have changed while the experiment runs, or name a play that can't be compared.
        """
        experiment = settings.experiment
        check_plays(experiment)
        record = experiment_store.read_experiment(connection, experiment.name)
        days = settings.churn.lead_days + settings.alert_horizon
        rules = (days, settings.episodes.worsened, settings.company.currency)
        if record is not None and record.stopped_at is None:
            experiment_store.check_design(experiment, record)
        elif record is not None or not experiment.has_lots:
            return cls(experiment, False, at, *rules)
        drawn = experiment_store.read_draws(connection, experiment.name)
        return cls(experiment, True, at, *rules, drawn)

    @property
    def accounts(self) -> frozenset[str]:
        """Return the topmost accounts of the families drawn so far, as they were then."""
        return frozenset(draw.unit for draw in self.drawn)

    @property
    def band(self) -> int:
        """Return the ranks on each side of an owner's line that lots decide on."""
        return self.experiment.band if self.is_drawing else 0

    def recognise_families(self, bindings: Mapping[str, AccountBinding], tiers: Mapping[str, str]) -> Lots:
        """Return the lots with each earlier draw under today's topmost account of its family.

        Args:
            bindings: Of all accounts of this run, and of those drawn before.
            tiers: By account.
        """
        if not self.is_drawing:
            return self
        past = dict[tuple[str, str], PastDraw]()
        for draw in self.drawn:
            past.setdefault((_name_lot(draw.purpose), bindings[draw.unit].unit), draw)
        wanted = set(self.experiment.exempt_tiers)
        exempt = {b.unit for b in bindings.values() if {b.tier, tiers.get(b.unit)} & wanted}
        return replace(self, past=past, exempt=frozenset(exempt))

    def enter(self, candidates: Sequence[Candidate], *, alerted: Collection[str]) -> list[Candidate]:
        """Return the candidates with the lots that decide on them, and without the families held out before.

        Args:
            candidates: Of this run.
            alerted: Families with an open episode.
        """
        if not self.is_drawing:
            return [*candidates]
        # Families that are alerted on already, or may be whatever their lot says.
        certain = {*alerted, *(c.unit for c in candidates if not c.obstacle and _is_beyond_lots(c))}
        return [
            candidate
            if candidate.obstacle
            else replace(
                candidate,
                obstacle=self._find_obstacle(candidate.unit),
                lot=self._find_lot(candidate, certain),
                has_lost=self._has_lost(candidate),
            )
            for candidate in candidates
        ]

    def is_held_out(self, unit: str) -> bool:
        """Return whether a family is, or would be, held out."""
        if not self.is_drawing or not self.experiment.holdout or unit in self.exempt:
            return False
        past = self.past.get((HOLDOUT, unit))
        return self._draw(unit, HOLDOUT) < self.experiment.holdout if past is None else not past.treated

    def apply(self, choices: Sequence[Choice]) -> tuple[Choice, ...]:
        """Return the choices without the families held out, and with the plays drawn."""
        return tuple(self._apply(choice) for choice in choices)

    def keep_play(self, signal: Signal | None, play: str | None) -> Signal | None:
        """Return the signal of an open episode with the play that it opened with, where plays are compared."""
        is_compared = self.is_drawing and play is not None and find_pair(self.experiment, play) is not None
        is_churn = signal is not None and signal.kind == kinds.CHURN
        return replace(signal, play=play) if signal is not None and is_churn and is_compared else signal

    def find_draws(
        self,
        choices: Sequence[Choice],
        bindings: Mapping[str, AccountBinding],
        scores: Mapping[str, AccountScore],
    ) -> Iterator[dict[str, Any]]:
        """Yield a row for each purpose and family that a lot decided on for the first time.

        Args:
            choices: After `apply`, the most valuable first.
            bindings: By account.
            scores: Of the risk of leaving, by account.
        """
        seen = set(self.past)
        for choice in choices if self.is_drawing else ():
            account = choice.candidate.signal.account_id
            bound, about = bindings[account], scores.get(account)
            for purpose, row in self._list_draws(choice, bound.unit):
                key = (_name_lot(purpose), bound.unit)
                if key in seen:
                    continue
                seen.add(key)
                yield row | {
                    "experiment": self.experiment.name,
                    "purpose": purpose,
                    "unit": bound.unit,
                    "account_id": account,
                    "rank": choice.rank,
                    "score": about.score if about else None,
                    "value": about.value if about else None,
                    "currency": self.currency,
                    "tier": bound.tier,
                    "owner": choice.candidate.owner,
                }

    def _list_draws(self, choice: Choice, unit: str) -> Iterator[tuple[str, dict[str, Any]]]:
        candidate, share = choice.candidate, self.experiment.holdout
        is_held_out = self.is_held_out(unit)
        is_lottery = choice.probability is not None and candidate.signal.kind == kinds.CHURN
        if is_lottery:
            drawn = {"treated": choice.chosen or choice.reason == HELD_OUT, "probability": choice.probability}
            yield LOTTERY_OF_HELD_OUT if is_held_out else LOTTERY, drawn | {"arm": None}
        if share and unit not in self.exempt and (choice.chosen or choice.reason == HELD_OUT):
            yield HOLDOUT, {"treated": not is_held_out, "probability": 1 - share, "arm": None}
        pair = find_pair(self.experiment, candidate.play) if candidate.signal.kind == kinds.CHURN else None
        if choice.chosen and pair is not None:
            is_first = candidate.play == pair.plays[0]
            yield f"{PLAYS_OF}{pair.cause}", {"treated": is_first, "probability": 0.5, "arm": candidate.play}

    def _find_obstacle(self, unit: str) -> str:
        return HELD_OUT if (HOLDOUT, unit) in self.past and self.is_held_out(unit) else ""

    def _find_lot(self, candidate: Candidate, certain: Collection[str]) -> float | None:
        """Return the lot that decides at the line; None where rank alone does."""
        unit = candidate.unit
        is_old = (LOTTERY, unit) in self.past or unit in certain
        return None if not self.band or candidate.signal.kind != kinds.CHURN or is_old else self._draw(unit, LOTTERY)

    def _has_lost(self, candidate: Candidate) -> bool:
        """Return whether a family was not drawn so lately that its outcome is still to come, and is no worse since."""
        past = self.past.get((LOTTERY, candidate.unit)) if self.band else None
        if past is None or past.treated or self.at >= past.as_of + self.days * DAY or _is_beyond_lots(candidate):
            return False
        now = candidate.signal.score
        return now is None or past.score is None or now - past.score < self.worsened

    def _apply(self, choice: Choice) -> Choice:
        candidate = choice.candidate
        signal, unit = candidate.signal, candidate.unit
        if not choice.chosen or not self.is_drawing:
            return choice
        if self.is_held_out(unit):
            return replace(choice, chosen=False, reason=HELD_OUT)
        play = pick_play(self.experiment, candidate.play, unit=unit) if signal.kind == kinds.CHURN else candidate.play
        if play == candidate.play and find_pair(self.experiment, play) is None:
            return choice
        return replace(choice, candidate=replace(candidate, play=play, signal=replace(signal, play=play)))

    def _draw(self, unit: str, purpose: str) -> float:
        return draw_lot(unit, experiment=self.experiment.name, purpose=purpose)


def write_draws(connection: sa.Connection, draws: Sequence[Mapping[str, Any]], *, at: int, now: int) -> None:
    """Write the draws of a run (instants in µs); a family that was drawn before keeps its first draw."""
    c = EXPERIMENT_DRAWS.c
    for draw in draws:
        same = (c.experiment == draw["experiment"], c.purpose == draw["purpose"], c.unit == draw["unit"])
        if connection.scalar(sa.select(c.unit).where(*same)) is None:
            connection.execute(sa.insert(EXPERIMENT_DRAWS), {**draw, "as_of": at, "drawn_at": now})


def _name_lot(purpose: str) -> str:
    """Return the purpose whose lot was drawn: those held out have the same one."""
    return LOTTERY if purpose == LOTTERY_OF_HELD_OUT else purpose


def _is_beyond_lots(candidate: Candidate) -> bool:
    """Return whether no lot at the line can keep a candidate from being alerted on."""
    is_other = candidate.signal.kind != kinds.CHURN and kinds.CHURN not in kinds.SPOKEN_FOR_BY.get(
        candidate.signal.kind, ()
    )
    return candidate.is_unlimited or is_other
