"""Report what the lots have shown: both arms, the effect with bounds, balance, contamination, and how long to go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import pandas as pd
import sqlalchemy as sa

from features.core.timestamps import DAY, from_micros, to_datetimes, to_micros
from features.settings import Settings
from features.sources.history import History
from features.state.database import Store
from features.state.tables import EPISODES, EXPERIMENT_DRAWS
from monitoring.experiments.effect import EffectEstimate, describe_effect, estimate_effect
from monitoring.experiments.plan import compute_power
from training.models.dataset import find_data_until
from training.targets.labels import compute_labels, compute_mature_until

# An effect worth finding, in share of accounts kept, where none has been seen yet.
_WORTH = 0.05
_SUSPICIOUS = 0.001


@dataclass(frozen=True)
class ExperimentStatus:
    """One experiment at one look.

    Args:
        name: Of the experiment.
        drawn: Families drawn so far.
        waiting: Of these, those whose outcome is not known yet.
        estimate: From the others.
        treated_value: Money a year of the accounts alerted on among them.
        currency: Of the money.
        crossed: Control families that were alerted on later all the same, within their outcome's days.
        months_to_go: Until an effect of five points would show, at this rate; None where it would take five years.
    """

    name: str
    drawn: int
    waiting: int
    estimate: EffectEstimate
    treated_value: float
    currency: str
    crossed: int
    months_to_go: int | None

    def lines(self) -> Iterator[str]:
        """Yield the status for people, line by line."""
        found = self.estimate
        yield f"Experiment {self.name}: {self.drawn:,} families drawn, {self.waiting:,} wait for their outcome"
        for name, number, kept in (
            ("alerted on", found.treated, found.kept_treated),
            ("not drawn", found.control, found.kept_control),
        ):
            yield f"  {name:<11} {number:>6,}" + ("" if kept is None else f", {kept:.1%} of them kept")
        said = describe_effect(found, treated_value=self.treated_value, currency=self.currency)
        yield f"You may say: {said['say']}"
        if said["do_not_say"]:
            yield f"You may not say: {said['do_not_say']}"
        if found.verdict == "open":
            yield self._say_when()
        if found.imbalance is not None and found.imbalance < _SUSPICIOUS:
            yield f"Warning: the arms are not as the lots say (p = {found.imbalance:.1g}): something else chose too."
        if self.crossed:
            share = self.crossed / max(1, found.control)
            yield f"Contaminated: {self.crossed:,} of those not drawn ({share:.0%}) were alerted on later all the same"

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        said = describe_effect(self.estimate, treated_value=self.treated_value, currency=self.currency)
        plain = {k: v for k, v in asdict(self).items() if k != "estimate"}
        looks = [
            {"as_of": from_micros(at).isoformat(), "effect": effect, "low": _finite(low), "high": _finite(high)}
            for at, effect, low, high in self.estimate.looks
        ]
        return plain | asdict(self.estimate) | {"looks": looks, "verdict": self.estimate.verdict, **said}

    def _say_when(self) -> str:
        if self.months_to_go is None:
            return f"At this rate an effect of {100 * _WORTH:.0f} points would not show within five years."
        return (
            f"At this rate an effect of {100 * _WORTH:.0f} points would show in some {self.months_to_go} months more."
        )


def report_status(settings: Settings, store: Store, history: History) -> ExperimentStatus:
    """Report the experiment that the settings name, as of all outcomes that are known."""
    draws = _read_draws(store, settings.experiment.name)
    until, horizon = find_data_until(history, settings), settings.alert_horizon
    pairs = draws[["account_id"]].assign(as_of=to_datetimes(draws["as_of"]))
    last = to_micros(compute_mature_until(settings.churn, horizon, until))
    labels = compute_labels(history, settings.churn, horizon, pairs, data_until=until) if len(draws) else draws["score"]
    known = draws.assign(kept=1.0 - labels).loc[lambda rows: rows["kept"].notna() & (rows["as_of"] <= last)]
    estimate = estimate_effect(known)
    return ExperimentStatus(
        name=settings.experiment.name,
        drawn=len(draws),
        waiting=len(draws) - len(known),
        estimate=estimate,
        treated_value=float(known.loc[known["treated"], "value"].sum()),
        currency=settings.company.currency,
        crossed=_count_crossed(store, known, timedelta(days=horizon)),
        months_to_go=_find_months(draws, estimate),
    )


def _read_draws(store: Store, experiment: str) -> pd.DataFrame:
    columns = [c for c in EXPERIMENT_DRAWS.c if c.name not in {"experiment", "drawn_at"}]
    query = sa.select(*columns).where(EXPERIMENT_DRAWS.c.experiment == experiment)
    with store.reading() as connection:
        rows = connection.execute(query.order_by(EXPERIMENT_DRAWS.c.as_of, EXPERIMENT_DRAWS.c.unit)).all()
    frame = pd.DataFrame(rows, columns=[c.name for c in columns])
    return frame.astype({"treated": bool, "as_of": "int64", "score": float, "value": float, "probability": float})


def _count_crossed(store: Store, draws: pd.DataFrame, span: timedelta) -> int:
    """Count the control families whose account had an episode of risk within its outcome's days."""
    control = draws.loc[~draws["treated"]]
    e = EPISODES.c
    with store.reading() as connection:
        opened = connection.execute(sa.select(e.account_id, e.opened_as_of).where(e.kind == "churn")).all()
    later = pd.DataFrame(opened, columns=["account_id", "opened"])
    both = control.merge(later, on="account_id")
    within = (both["opened"] > both["as_of"]) & (both["opened"] < both["as_of"] + span.days * DAY)
    return int(both.loc[within, "unit"].nunique())


def _find_months(draws: pd.DataFrame, estimate: EffectEstimate) -> int | None:
    """Find how many months more an effect worth finding needs, at the rate of the draws so far."""
    if draws.empty:
        return None
    months = max(1.0, (draws["as_of"].max() - draws["as_of"].min()) / (30 * DAY))
    units = max(1, round(len(draws) / months))
    retention = 0.7 if estimate.kept_control is None else estimate.kept_control
    needed = compute_power(units, retention=min(retention, 1 - _WORTH), effect=_WORTH, months=60).find_month()
    return None if needed is None else max(1, needed - round(months))


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None
