"""Read what the lots of an experiment have shown, from its draws and what became of the accounts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import pandas as pd
import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.core.language import Phrase
from features.core.timestamps import DAY, from_micros, to_datetimes, to_micros
from features.definitions.plays import PLAYS
from features.settings import Experiment, Settings
from features.sources.history import History
from features.state.database import Store
from features.state.tables import EXPERIMENT_DRAWS
from monitoring.experiments import experiment_store
from monitoring.experiments.balance import compare_arms
from monitoring.experiments.contamination import find_contamination
from monitoring.experiments.effect import EffectEstimate, estimate_effect
from monitoring.experiments.experiment_status import Comparison, ExperimentStatus, PowerSoFar, State
from monitoring.experiments.experiment_store import HOLDOUT, LOTTERY, ExperimentRecord
from monitoring.experiments.plan import MOST_MONTHS, compute_power
from monitoring.experiments.plays import PLAYS_OF
from monitoring.experiments.statement import Text, Wording, compute_saved_revenue, state_result
from training.models.dataset import find_data_until
from training.targets.labels import compute_labels, compute_mature_until

# Effects that power is told for, in share of accounts kept, and the one worth finding.
EFFECTS = (0.02, 0.05, 0.1, 0.2)
_WORTH = 0.05
_MONTH = 30 * DAY
# Retention of those not alerted on, where none has been seen yet.
_RETENTION = 0.7
# Simulated experiments behind each figure of power: enough for a whole percent.
_RUNS = 4_000


def read_status(settings: Settings, store: Store, history: History, *, name: str | None = None) -> ExperimentStatus:
    """Read what an experiment has shown, as of all outcomes that are known.

    Args:
        settings: The company's.
        store: Its state database.
        history: Its history.
        name: Of the experiment. Default: the one that the settings name.

    Raises:
        GarrisonError: There is no experiment of that name.
    """
    asked = settings.experiment
    with store.reading() as connection:
        record = experiment_store.read_experiment(connection, name or asked.name)
        draws = _read_draws(connection, name or asked.name)
    if record is None and name not in {None, asked.name}:
        raise GarrisonError(f"there is no experiment {name!r}", hint="Its name is the one of the settings of then")
    experiment = asked if record is None else Experiment(name=record.name, **record.design)
    look = _Look(settings, store, history, record, find_data_until(history, settings))
    wanted = dict(list_wordings(experiment))
    comparisons = tuple(
        look.compare(purpose, title, words, draws.loc[draws["purpose"] == purpose].reset_index(drop=True))
        for purpose, (title, words) in wanted.items()
    )
    ended = record is not None and record.stopped_at is not None
    state: State = "off" if not experiment.has_lots else "not begun" if record is None else "running"
    started = None if record is None else from_micros(record.started_as_of)
    return ExperimentStatus(
        company=settings.company.name,
        name=experiment.name,
        state="stopped" if ended else state,
        as_of=look.until,
        started=started,
        planned_end=started and started + timedelta(days=round(365.25 / 12 * experiment.months)),
        stopped_at=from_micros(record.stopped_at) if record and record.stopped_at is not None else None,
        stopped_by=record.stopped_by if record else None,
        stop_rule=record.stop_rule if record else None,
        stop_reason=record.stop_reason if record else None,
        days=look.days,
        value_days=settings.churn.value_days,
        comparisons=comparisons,
        changed=_describe_changes(asked, record),
    )


def list_wordings(experiment: Experiment) -> Iterator[tuple[str, tuple[Phrase, Wording]]]:
    """Yield each purpose that the lots of an experiment have, with its title and words."""
    alerts = (
        Phrase("Whether alerts save accounts"),
        Phrase("Alerts save accounts"),
        Phrase("Alerts lose accounts"),
    )
    told = Phrase("alerted on")
    if experiment.band:
        yield LOTTERY, (Phrase("Lottery at the line of owners' time"), Wording(*alerts, (told, Phrase("not drawn"))))
    if experiment.holdout:
        yield HOLDOUT, (Phrase("Global holdout"), Wording(*alerts, (told, Phrase("held out"))))
    for pair in experiment.plays:
        one, other = (
            Phrase("“{play}”", {"play": Phrase(PLAYS[key].title)}) if key in PLAYS else key for key in pair.plays
        )
        plays = {"one": one, "other": other}
        words = Wording(
            Phrase("Whether {one} keeps more accounts than {other}", plays),
            Phrase("{one} keeps more accounts than {other}", plays),
            Phrase("{one} keeps fewer accounts than {other}", plays),
            (Phrase("with {play}", {"play": one}), Phrase("with {play}", {"play": other})),
        )
        yield f"{PLAYS_OF}{pair.cause}", (Phrase("Plays against {cause}", {"cause": Phrase(pair.cause)}), words)


class _Look:
    """What one look at an experiment reads."""

    def __init__(
        self, settings: Settings, store: Store, history: History, record: ExperimentRecord | None, until: datetime
    ) -> None:
        self.settings, self.store, self.history, self.record, self.until = settings, store, history, record, until
        self.days = settings.churn.lead_days + settings.alert_horizon
        self.last = to_micros(compute_mature_until(settings.churn, settings.alert_horizon, until))

    def compare(self, purpose: str, title: Text, words: Wording, draws: pd.DataFrame) -> Comparison:
        """Compare the arms of one purpose."""
        known = self._find_outcomes(draws)
        estimate = estimate_effect(known)
        power = self._find_power(draws, estimate)
        months_to_go, effect_to_go = self._find_months_to_go(draws, power)
        currency = self.settings.company.currency
        treated = known.loc[known["treated"]].assign(currency=known["currency"].fillna(currency))
        saved = compute_saved_revenue(estimate, treated.groupby("currency")["value"].sum().to_dict())
        has_alerts = purpose in {LOTTERY, HOLDOUT}
        return Comparison(
            purpose=purpose,
            title=title,
            words=words,
            drawn=len(draws),
            waiting=len(draws) - len(known),
            estimate=estimate,
            balance=compare_arms(draws),
            contamination=find_contamination(self.store, self.history, known, days=self.days) if has_alerts else None,
            power=power,
            months_to_go=months_to_go,
            effect_to_go=effect_to_go,
            saved=saved,
            statement=state_result(
                estimate,
                words,
                saved=saved,
                span=_say_span(self.settings.churn.value_days),
                when=self._say_when(draws, months_to_go, effect_to_go),
            ),
        )

    def _find_outcomes(self, draws: pd.DataFrame) -> pd.DataFrame:
        """Return the draws whose outcome is known, with `kept`: 1 or 0."""
        if draws.empty:
            return draws.assign(kept=draws["score"])
        pairs = draws[["account_id"]].assign(as_of=to_datetimes(draws["as_of"]))
        settings = self.settings
        labels = compute_labels(self.history, settings.churn, settings.alert_horizon, pairs, data_until=self.until)
        found = draws.assign(kept=1.0 - labels)
        return found.loc[found["kept"].notna() & (found["as_of"] <= self.last)].reset_index(drop=True)

    def _find_power(self, draws: pd.DataFrame, estimate: EffectEstimate) -> tuple[PowerSoFar, ...]:
        """Find the power so far, by size of the effect, at the rate of the draws."""
        if draws.empty:
            return ()
        first, last = int(draws["as_of"].min()), int(draws["as_of"].max())
        ended = self.record.stopped_at if self.record and self.record.stopped_at is not None else to_micros(self.until)
        units = max(1, round(len(draws) / max(1.0, (max(last, ended) - first) / _MONTH)))
        seen = math.floor((min(self.last, last) - first) / _MONTH) if self.last >= first else 0
        planned = self.settings.experiment.months if self.record is None else int(self.record.design["months"])
        retention = _RETENTION if estimate.kept_control is None else estimate.kept_control
        power = []
        for effect in EFFECTS:
            table = compute_power(
                units,
                retention=min(retention, 1 - effect),
                effect=effect,
                probability=float(draws["probability"].mean()),
                months=MOST_MONTHS,
                # Of a few, the variance is not known: that of the plan stands in.
                variance=estimate.variance if estimate.low is not None else None,
                runs=_RUNS,
            )
            now = table.power[min(seen, MOST_MONTHS) - 1] if seen >= 1 else 0.0
            power.append(PowerSoFar(effect, now, table.power[planned - 1], table.find_month()))
        return tuple(power)

    def _find_months_to_go(self, draws: pd.DataFrame, power: Sequence[PowerSoFar]) -> tuple[int | None, float | None]:
        """Find the months to go until an effect worth finding would show, or the smallest larger one that would."""
        if draws.empty or (self.record is not None and self.record.stopped_at is not None):
            return None, None
        shows = next((p for p in power if p.effect >= _WORTH and p.month is not None), None)
        if shows is None or shows.month is None:
            return None, None
        known = (self.last - int(draws["as_of"].min())) / _MONTH
        return max(1, math.ceil(shows.month - known)), shows.effect

    def _say_when(self, draws: pd.DataFrame, months_to_go: int | None, effect: float | None) -> Text:
        """Say when more can be told; "" where no more will be drawn, or nothing is known of the rate."""
        if draws.empty or (self.record is not None and self.record.stopped_at is not None):
            return ""
        if months_to_go is None or effect is None:
            sentence = "At this rate not even an effect of {n:.0f} points would show within five years."
            return Phrase(sentence, {"n": 100 * EFFECTS[-1]})
        months = Phrase("{n} month" if months_to_go == 1 else "{n} months", {"n": months_to_go})
        values = {"months": months, "n": 100 * effect, "worth": 100 * _WORTH}
        if effect == _WORTH:
            return Phrase("{months} to go at this rate for an effect of {n:.0f} points.", values)
        return Phrase(
            "{months} to go at this rate for an effect of {n:.0f} points; one of {worth:.0f} would not show within "
            "five years.",
            values,
        )


def _say_span(days: int) -> Phrase:
    return Phrase("a year") if days == 365 else Phrase("in {days} days", {"days": days})


def _read_draws(connection: sa.Connection, experiment: str) -> pd.DataFrame:
    columns = [c for c in EXPERIMENT_DRAWS.c if c.name not in {"experiment", "drawn_at"}]
    query = sa.select(*columns).where(EXPERIMENT_DRAWS.c.experiment == experiment)
    rows = connection.execute(query.order_by(EXPERIMENT_DRAWS.c.as_of, EXPERIMENT_DRAWS.c.unit)).all()
    frame = pd.DataFrame(rows, columns=[c.name for c in columns])
    kinds = {"treated": bool, "as_of": "int64", "score": float, "value": float, "probability": float}
    return frame.astype(kinds)


def _describe_changes(asked: Experiment, record: ExperimentRecord | None) -> str:
    """Describe how the settings differ from the running experiment; "" where they agree or it does not run."""
    if record is None or record.stopped_at is not None or record.name != asked.name:
        return ""
    try:
        experiment_store.check_design(asked, record)
    except GarrisonError as error:
        return f"{error.problem}: {error.found}. The next run of the alerts is refused. {error.hint}"
    return ""
