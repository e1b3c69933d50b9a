"""Replay a past time: score as then, raise alerts as production does, and hold them against what came true."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from features.core.errors import GarrisonError
from features.core.progress import Progress, ignore
from features.core.timestamps import from_micros
from features.settings import Settings
from features.sources.history import History
from features.state import database
from features.state.database import Store
from monitoring.performance.post_mortem import UnannouncedDeparture
from monitoring.replay.equality import Equality, compare_with_runs
from monitoring.replay.figures import ReplayFigures, ReplayGroup, count_figures, divide
from monitoring.replay.load_curve import LoadCurve
from monitoring.replay.past_models import Refit, copy_promotions, find_past_models
from monitoring.replay.period import Period, Rhythm, divide_period, find_mature_until
from monitoring.replay.replayer import Replayer
from monitoring.replay.reruns import ReplayedPart, ScoredPast, read_past, score_past
from monitoring.replay.scratch_company import make_scratch, open_folder
from monitoring.replay.sent_alerts import NOBODY


@dataclass(frozen=True)
class Replay:
    """What the alerts of a past time would have done.

    Args:
        settings: Of the company.
        period: The time.
        origins: By model of then, how many instants it scored.
        mature_until: The last instant of which it is known who left.
        alerts: Those that opened, as of `read_alerts`, in the order of time.
        departed: Who left, as of `match_alerts`, with owner, tier and name.
        figures: Of all together.
        groups: By owner, tier and week.
        messages: That owners, teams and sponsors would have got, by kind.
        unannounced: Who left without a message, and why.
        equality: With the runs that took place; None where none did.
        curve: Of load and value; None where nothing could be compared.
        failed_acts: What people did with episodes that could not be repeated.
        left_out: Runs that took place whose scores have been replaced since.
    """

    settings: Settings
    period: Period
    origins: dict[str, int]
    mature_until: datetime
    alerts: pd.DataFrame
    departed: pd.DataFrame
    figures: ReplayFigures
    groups: tuple[ReplayGroup, ...]
    messages: dict[str, int]
    unannounced: tuple[UnannouncedDeparture, ...]
    equality: Equality | None
    curve: LoadCurve | None
    failed_acts: int
    left_out: tuple[datetime, ...]

    @property
    def currency(self) -> str:
        """Return the currency of all values: the company's, into which every amount is converted."""
        return self.settings.company.currency

    def list_alerts(self) -> Iterator[dict[str, Any]]:
        """Yield what would have been sent, to whom, and when."""
        for row in self.alerts.itertuples():
            yield {
                "day": f"{from_micros(int(row.opened_as_of)):%Y-%m-%d}",
                "recipient": None if row.owner == NOBODY else row.owner,
                "account_id": row.account_id,
                "kind": row.kind,
                "tier": row.tier or None,
                "score": None if pd.isna(row.opened_score) else float(row.opened_score),
                "value": float(row.value),
                "play": row.play,
                "verdict": row.verdict,
            }

    def list_departed(self) -> Iterator[dict[str, Any]]:
        """Yield who left, when, and whether the owner had been told."""
        for row in self.departed.itertuples():
            told = bool(row.told)
            yield {
                "account_id": row.account_id,
                "name": row.name,
                "owner": None if row.owner == NOBODY else row.owner,
                "tier": row.tier or None,
                "lost": f"{from_micros(int(row.lost)):%Y-%m-%d}",
                "value": float(row.value),
                "told": f"{from_micros(int(row.alerted_at)):%Y-%m-%d}" if told else None,
                "lead_days": float(row.lead_days) if told else None,
            }

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "from": self.period.since.isoformat(),
            "to": self.period.until.isoformat(),
            "data_until": self.period.data_until.isoformat(),
            "mature_until": self.mature_until.isoformat(),
            "currency": self.currency,
            "runs_that_took_place": self.period.replayed_runs,
            "instants_by_model_of_then": self.origins,
            "figures": self.figures.as_dict(),
            "groups": [group.as_dict() for group in self.groups],
            "messages": self.messages,
            "alerts": list(self.list_alerts()),
            "departed": list(self.list_departed()),
            "unannounced": [gone.as_dict() for gone in self.unannounced],
            "equality": self.equality.as_dict() if self.equality else None,
            "curve": self.curve.as_dict() if self.curve else None,
            "failed_acts": self.failed_acts,
            "runs_left_out": [at.isoformat() for at in self.left_out],
        }


def run(  # noqa: PLR0913  # all but the first named
    settings: Settings,
    *,
    since: datetime,
    until: datetime,
    every: Rhythm = "week",
    refit: Refit = "quarter",
    with_curve: bool = True,
    progress: Progress = ignore,
) -> Replay:
    """Replay a time.

    Args:
        settings: Of the company.
        since: The first instant.
        until: The instant after the last.
        every: How often alerts look, where no run took place.
        refit: How often a model of then is trained, where no champion served.
        with_curve: Whether other hours of owners are tried too.
        progress: Called as each step goes on.

    Raises:
        GarrisonError: There are no data of that time, no model could have been trained by then, or no alerts could be
            raised.
    """
    progress("history")
    with database.open(settings) as real, History.open(settings) as history:
        period = divide_period(settings, history, real, since=since, until=until, every=every)
        pasts = list(_prepare(settings, history, real, period, refit=refit, progress=progress))
        origins: dict[str, int] = {}
        for past in pasts:
            for at, models in past.models.items():
                if at >= since and "churn" in models:
                    version = models["churn"].version
                    origins[version] = origins.get(version, 0) + 1
        if not any(past.models for past in pasts):
            raise GarrisonError(
                "no run of that time can be replayed",
                found=f"{len(period.runs):,} runs, whose scores have been replaced since",
                hint="Give a time before the first run, or one whose scores are kept",
            )
        replayer = Replayer(settings, history, real, period, pasts)
        parts = replayer.rerun(settings, progress=progress)
        alerts, departed = replayer.read_outcomes(parts)
        progress("causes")
        unannounced = tuple(replayer.explain(parts, alerts, departed))
        equality = next((_compare(real, part, since) for part in parts if part.is_stored), None)
        curve = replayer.draw_curve(parts, progress) if with_curve else None
        messages = replayer.count_messages(parts)
    counted = alerts[alerts["counts"]]
    return Replay(
        settings=settings,
        period=period,
        origins=origins,
        mature_until=find_mature_until(settings, period.data_until),
        alerts=counted,
        departed=departed,
        figures=count_figures(counted, departed),
        groups=tuple(divide(counted, departed)),
        messages=messages,
        unannounced=unannounced,
        equality=equality,
        curve=curve,
        failed_acts=sum(part.failed_acts for part in parts),
        left_out=tuple(at for part in parts for at in part.left_out),
    )


def _prepare(  # noqa: PLR0913  # all but the first named
    settings: Settings, history: History, real: Store, period: Period, *, refit: Refit, progress: Progress
) -> Iterator[ScoredPast]:
    """Yield the parts of the time with the scores as they were known then."""
    if period.modelled:
        choices = {"begin": period.modelled[0], "step": period.modelled[1:2], "refit": refit}
        folder = open_folder(settings, history, part="models", **choices)
        scratch = make_scratch(settings, folder, "models", with_experiment=False)
        models = find_past_models(history, settings, scratch, period.modelled, refit=refit, progress=progress)
        yield score_past(settings, history, folder, models, progress=progress)
    if period.runs:
        folder = open_folder(settings, history, part="runs")
        copy_promotions(settings, make_scratch(settings, folder, "models", with_experiment=False))
        yield read_past(settings, history, real, folder, period.runs, progress=progress)


def _compare(real: Store, part: ReplayedPart, since: datetime) -> Equality:
    with part.open_state() as state:
        return compare_with_runs(real, state, since=since)
