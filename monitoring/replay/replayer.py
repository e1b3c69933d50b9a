"""Raise the alerts of all parts of a replay, and read what came of them: outcomes, causes, messages, other loads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import pandas as pd
import sqlalchemy as sa

from features.core.progress import Progress, ignore
from features.core.timestamps import to_micros
from features.settings import Settings
from features.sources.history import History
from features.state.database import Store
from features.state.tables import OUTBOX, SCORES
from monitoring.binding.account_records import read_records
from monitoring.binding.bindings import BindingRules
from monitoring.performance.post_mortem import UnannouncedDeparture, explain_departures
from monitoring.replay import departed_accounts, load_curve, sent_alerts
from monitoring.replay.figures import count_figures
from monitoring.replay.load_curve import LoadCurve, LoadPoint
from monitoring.replay.period import Period
from monitoring.replay.reruns import ReplayedPart, ScoredPast
from monitoring.replay.sent_alerts import NOBODY


@dataclass(frozen=True)
class Replayer:
    """Raises the alerts of all parts of one replay, and reads what came of them.

    Args:
        settings: Of the company.
        history: Of the company.
        real: Its state database.
        period: The time.
        pasts: Its parts, scored.
    """

    settings: Settings
    history: History
    real: Store
    period: Period
    pasts: Sequence[ScoredPast]

    def rerun(self, settings: Settings, *, progress: Progress, with_acts: bool = True) -> list[ReplayedPart]:
        """Raise the alerts of all parts by some settings."""
        return [past.run(settings, self.real, progress=progress, with_acts=with_acts) for past in self.pasts]

    def read_outcomes(self, parts: Sequence[ReplayedPart]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Read the alerts of all parts, and who left."""
        since, until = self.period.since, self.period.data_until
        alerts, departed = list[pd.DataFrame](), list[pd.DataFrame]()
        for part in parts:
            instants = sent_alerts.thin_out([at for at in part.instants if at >= since])
            with part.open_state() as state:
                found = sent_alerts.read_alerts(part.settings, state, self.history, since=since, data_until=until)
                gone = departed_accounts.find_departed(part.settings, state, self.history, instants, data_until=until)
            alerts.append(found)
            gone["tier"] = sent_alerts.read_tiers(part.settings, gone["account_id"], gone["at"])
            departed.append(gone)
        all_alerts = pd.concat(alerts, ignore_index=True)
        all_gone = pd.concat(departed, ignore_index=True).drop_duplicates("account_id", ignore_index=True)
        matched = departed_accounts.match_alerts(all_gone, all_alerts)
        return all_alerts, self._add_owners(matched)

    def _add_owners(self, departed: pd.DataFrame) -> pd.DataFrame:
        """Add each account's name, and who answers for it now."""
        accounts = departed["account_id"].tolist()
        records = read_records(self.history, accounts) if accounts else {}
        rules = BindingRules.load(self.settings, self.real, self.period.until)
        bound = rules.bind(records, accounts, dict(zip(accounts, departed["tier"], strict=True)))
        owners = {account: b.owner.address if b.owner else NOBODY for account, b in bound.items()}
        return departed.assign(
            owner=departed["account_id"].map(owners).astype(object),
            name=[records[a].name if a in records else None for a in accounts],
        )

    def explain(
        self, parts: Sequence[ReplayedPart], alerts: pd.DataFrame, departed: pd.DataFrame
    ) -> Iterator[UnannouncedDeparture]:
        """Yield who left unannounced, and why: by the time in which no alert spoke of them."""
        missed = departed[~departed["told"].astype(bool)]
        days = timedelta(days=self.settings.churn.lead_days + self.settings.alert_horizon)
        span = departed_accounts.find_unalerted_span(missed, alerts, since=to_micros(self.period.since - days))
        for part in parts:
            if not part.instants:
                continue
            first, last = to_micros(part.instants[0]), to_micros(part.instants[-1])
            theirs = missed[missed["at"].between(first, last)]
            with part.open_state() as state:
                for (since, end), accounts in theirs.groupby([span["since"], span["end"].clip(upper=last)]):
                    yield from explain_departures(
                        part.settings,
                        state,
                        self.history,
                        accounts["account_id"].tolist(),
                        since=int(since),
                        end=int(end),
                        data_until=self.period.data_until,
                    )

    def count_messages(self, parts: Sequence[ReplayedPart]) -> dict[str, int]:
        """Count the messages of all parts by kind, those of the time replayed alone."""
        counts: dict[str, int] = {}
        query = sa.select(OUTBOX.c.kind, sa.func.count()).group_by(OUTBOX.c.kind).order_by(OUTBOX.c.kind)
        for part in parts:
            with part.open_state() as state, state.reading() as connection:
                for kind, number in connection.execute(query.where(OUTBOX.c.sent_at >= to_micros(self.period.since))):
                    counts[kind] = counts.get(kind, 0) + int(number)
        return counts

    def draw_curve(self, parts: Sequence[ReplayedPart], progress: Progress) -> LoadCurve | None:
        """Try other hours; None where no alert could be raised at all."""
        limited = False
        for part in parts:
            with part.open_state() as state:
                limited |= load_curve.has_limited_owners(state)
        everyone = () if limited else self._list_accounts(parts)
        outcomes = []
        tried = load_curve.list_hours(self.settings, of_one=not limited)
        for number, hours in enumerate(tried):
            progress("loads", number, len(tried))
            settings = load_curve.give_hours(self.settings, hours)
            again = [
                past.run(settings, self.real, progress=ignore, with_acts=False, assigned=everyone)
                for past in self.pasts
            ]
            alerts, departed = self.read_outcomes(again)
            outcomes.append((hours, alerts[alerts["counts"] & (alerts["owner"] != NOBODY)], departed))
        weeks = max(1 / 7, (self.period.until - self.period.since) / timedelta(weeks=1))
        owners = max(1, *(alerts["owner"].nunique() for _, alerts, _ in outcomes))
        points = tuple(
            LoadPoint(
                hours,
                len(alerts) / owners / weeks,
                sum(self.settings.capacity.get_minutes(kind) for kind in alerts["kind"]) / 60 / owners / weeks,
                count_figures(alerts, departed),
            )
            for hours, alerts, departed in outcomes
        )
        if not any(point.figures.alerts for point in points):
            return None
        current = next(p for p in points if p.hours == self.settings.capacity.hours) if limited else None
        return LoadCurve(points, load_curve.choose_point(points), current)

    def _list_accounts(self, parts: Sequence[ReplayedPart]) -> tuple[str, ...]:
        accounts = set[str]()
        for part in parts:
            with part.open_state() as state, state.reading() as connection:
                accounts |= set(connection.scalars(sa.select(SCORES.c.account_id).distinct()))
        return tuple(sorted(accounts))
