"""Explain every account that left in a month without its owner being warned: what was known when, and why no warning.

A cause is named only where it is shown: the stored score, the message, or the score that the account would have had.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from rich.table import Table

from features.core.safe_line import to_safe_line
from features.core.timestamps import from_micros, to_micros
from features.settings import Settings
from features.settings.cli import table
from features.sources.history import History
from features.state import database
from features.state.database import Store
from monitoring.alerts.queries import TARGET
from monitoring.binding.account_records import read_records
from monitoring.notifications.dead_letters import SENT
from monitoring.performance.causes import CAUSES, Cause, blame_message, blame_scores
from monitoring.performance.departures import Month, find_departures, find_last_known_month
from monitoring.performance.past_scores import PastScore, read_past_scores
from monitoring.performance.rescored_accounts import HypotheticalScore, rescore_accounts
from monitoring.performance.scored_rows import ScoreReader, read_episodes
from serving.gate import verdict_store
from training.models.dataset import find_data_until

# Accounts that the table in the terminal shows; JSON has all.
_SHOWN = 20


@dataclass(frozen=True)
class UnannouncedDeparture:
    """An account that left without a message to its owner.

    Args:
        account_id: Its id.
        name: Of its record; None if it has none.
        cause: Why there was no message.
        detail: The figures that show it, in a sentence without a full stop.
        scores: In the months before, oldest first.
        last_known: By table, the day of the last event that was known at the last score; None without any.
        late: By table, the events that had happened by then and became known later.
        complete: What the last score would be with every row that was known by then, as the tables are now.
        punctual: The same with the late rows.
    """

    account_id: str
    name: str | None
    cause: Cause
    detail: str
    scores: tuple[PastScore, ...]
    last_known: Mapping[str, str | None]
    late: Mapping[str, int]
    complete: float | None
    punctual: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self) | {"scores": [asdict(s) | {"as_of": s.as_of.isoformat()} for s in self.scores]}


@dataclass(frozen=True)
class PostMortem:
    """Everybody who left in a month.

    Args:
        month: As YYYY-MM.
        left: Their number.
        announced: Those whose owner had got a message.
        unannounced: The others, by cause and id.
    """

    month: str
    left: int
    announced: int
    unannounced: tuple[UnannouncedDeparture, ...]

    def lines(self) -> Iterator[str]:
        """Yield the lines for the terminal."""
        yield f"{self.month}: {self.left:,} accounts left, {self.announced:,} of them after a message to the owner."
        counts = Counter(d.cause for d in self.unannounced)
        yield from (f"  {counts[cause]:,} {cause}: {text}" for cause, text in CAUSES.items() if counts[cause])

    def tabulate(self) -> Table:
        """Build the table of those who left unannounced: the last scores, the last events known then, and the cause."""
        rows = table("account", "scores before", "last events known", "cause")
        for gone in self.unannounced[:_SHOWN]:
            rows.add_row(
                "\n".join(to_safe_line(text, 16) for text in (gone.account_id, gone.name) if text),
                "\n".join(f"{s.as_of:%Y-%m-%d} {s.score:4.0%}" for s in gone.scores[-3:]) or "none",
                "\n".join(f"{source} {day or 'none'}" for source, day in gone.last_known.items()),
                f"{gone.cause}\n{textwrap.fill(gone.detail, 21)}",
            )
        if len(self.unannounced) > _SHOWN:
            rows.add_row("…", f"and {len(self.unannounced) - _SHOWN:,} more", "", "")
        return rows

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        counts = Counter(d.cause for d in self.unannounced)
        own = {"month": self.month, "left": self.left, "announced": self.announced}
        causes = {cause: counts[cause] for cause in CAUSES}
        return own | {"causes": causes, "unannounced": [d.as_dict() for d in self.unannounced]}


def run(settings: Settings, *, month: datetime | None = None) -> PostMortem:
    """Explain every account that left unannounced in a month.

    An account was announced if a message about it was sent, of an episode that was open at some time from a horizon
    before the month until its end.

    Args:
        settings: Of the company.
        month: An instant in it; by default the last month of which it is known who left.

    Raises:
        GarrisonError: It is not known yet who left in that month.
    """
    with database.open(settings) as state, History.open(settings) as history:
        until = find_data_until(history, settings)
        period = Month.of(month) if month else find_last_known_month(settings, until)
        gone = find_departures(settings, history, period, data_until=until)
        days = timedelta(days=settings.churn.lead_days + settings.alert_horizon)
        since, end = to_micros(period.begin - days), to_micros(period.end)
        announced = {a for a, (status, _) in _read_messages(state, gone, since, end).items() if status == SENT}
        missed = [a for a in gone if a not in announced]
        explained = explain_departures(settings, state, history, missed, since=since, end=end, data_until=until)
    return PostMortem(period.name, len(gone), len(announced), explained)


def explain_departures(  # noqa: PLR0913  # all but the first three named
    settings: Settings,
    state: Store,
    history: History,
    accounts: Sequence[str],
    *,
    since: int,
    end: int,
    data_until: datetime,
) -> tuple[UnannouncedDeparture, ...]:
    """Explain why no message told of accounts that left, by what was known from an instant to another (µs).

    Args:
        settings: Of the company.
        state: Its state database.
        history: Of the company.
        accounts: Their ids.
        since: Scores and episodes count from here on.
        end: Until here.
        data_until: The instant the data are complete until.

    Returns:
        By cause and id.
    """
    messages = _read_messages(state, accounts, since, end)
    reader = ScoreReader(settings, state, history, data_until)
    scores = read_past_scores(settings, reader, accounts, since=since, end=end)
    again = _rescore(settings, history, reader, scores)
    names = read_records(history, accounts) if accounts else {}
    holds = {v.verdict.as_of: v.verdict.cause for v in verdict_store.read_history(state) if not v.is_accepted}
    explained = [
        _explain(
            account,
            names[account].name if account in names else None,
            scores.get(account, ()),
            again.get(account),
            message=messages.get(account),
            holds=holds,
            sources=history.sources,
        )
        for account in accounts
    ]
    order = {cause: n for n, cause in enumerate(CAUSES)}
    return tuple(sorted(explained, key=lambda d: (order[d.cause], d.account_id)))


def _read_messages(
    state: Store, accounts: Sequence[str], since: int, end: int
) -> dict[str, tuple[str | None, str | None]]:
    """Read the state and reason of the message of each account's episode between two instants (µs), if it had one.

    Of several episodes the last one counts, but one whose message was sent counts most.
    """
    episodes = read_episodes(state, TARGET)
    is_of_them = episodes["account_id"].isin(accounts)
    is_near = (episodes["opened_as_of"] <= end) & ~(episodes["closed_as_of"] < since)
    rows = episodes[is_of_them & is_near].sort_values("opened_as_of")
    rows = rows.assign(sent=rows["state"] == SENT).sort_values("sent", kind="stable")
    plain = rows[["account_id", "state", "reason"]].astype(object).where(rows.notna(), None)
    return {account: (status, reason) for account, status, reason in plain.itertuples(index=False, name=None)}


def _rescore(
    settings: Settings, history: History, reader: ScoreReader, scores: Mapping[str, Sequence[PastScore]]
) -> dict[str, HypotheticalScore]:
    """Score each account again as of its last score, by the model that gave it."""
    groups: dict[tuple[datetime, str, str], list[str]] = {}
    for account, rows in scores.items():
        groups.setdefault((rows[-1].as_of, rows[-1].model, rows[-1].catalog), []).append(account)
    again: dict[str, HypotheticalScore] = {}
    for (as_of, version, catalog), accounts in groups.items():
        model = reader.load_model(version)
        # Other definitions of the features would give another score of the same data.
        is_usable = model and settings.alert_horizon in model.horizons and catalog == history.catalog.version
        again |= rescore_accounts(settings, history, model if is_usable else None, accounts, as_of=as_of)
    return again


def _explain(  # noqa: PLR0913  # all that is known of one account
    account: str,
    name: str | None,
    scores: Sequence[PastScore],
    again: HypotheticalScore | None,
    *,
    message: tuple[str | None, str | None] | None,
    holds: Mapping[datetime, str],
    sources: Sequence[str],
) -> UnannouncedDeparture:
    cause, detail = blame_message(*message) if message else blame_scores(scores, again, holds=holds, sources=sources)
    last_known = again.last_known if again else {}
    return UnannouncedDeparture(
        account_id=account,
        name=name,
        cause=cause,
        detail=detail,
        scores=tuple(scores),
        last_known={t: None if at is None else f"{from_micros(at):%Y-%m-%d}" for t, at in last_known.items()},
        late=dict(again.late) if again else {},
        complete=again.complete if again else None,
        punctual=again.punctual if again else None,
    )
