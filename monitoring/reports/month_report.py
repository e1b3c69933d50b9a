"""Write the report of the month under way, and once a month the sheet of owners, for the console."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from features.core.timestamps import from_micros, to_micros
from features.settings import Settings
from features.settings.periods import find_period
from features.state.database import Store
from features.state.tables import SCORES
from monitoring.alerts.queries import TARGET
from monitoring.reports import manager, owner_sheet
from monitoring.reports.stored_reports import locate_reports, read_report, write_report


def write_month(settings: Settings, store: Store, as_of: datetime, *, note: str = "") -> dict[str, str]:
    """Write the report of the month whose last day so far ends at `as_of`; in a month's first night that of owners too.

    Args:
        settings: The company's.
        store: Its state database.
        as_of: Of the newest scores.
        note: What the reader should know about the data behind the scores; "" where all is well.

    Returns:
        The files by name; without the month's where it has no two sets of scores yet.
    """
    period = f"{as_of - timedelta(microseconds=1):%Y-%m}"
    begin, _ = find_period(period, starts=1)
    files = {}
    since = _find_scored(store, settings.alert_horizon, begin, as_of)
    if since is not None:
        manager.run(settings, since=since, until=as_of, note=note, period=period, is_whole=True)
        files["month"] = str(locate_reports(settings) / f"{period}.json")
    if _is_due(settings, as_of):
        sheet = owner_sheet.run(settings, until=as_of)
        files["owners"] = str(write_report(owner_sheet.locate_sheet(settings), sheet.as_dict()))
    return files


def _find_scored(store: Store, horizon: int, begin: datetime, as_of: datetime) -> datetime | None:
    """Find the begin of the month if it was scored by then, or else its first scores before `as_of`; None without."""
    kind = (SCORES.c.target == TARGET, SCORES.c.horizon == horizon)
    with store.reading() as connection:
        first = connection.scalar(sa.select(sa.func.min(SCORES.c.as_of)).where(*kind))
    if first is None or first >= to_micros(as_of):
        return None
    return max(begin, from_micros(first))


def _is_due(settings: Settings, as_of: datetime) -> bool:
    """Return whether no sheet was made of the month that `as_of` is in."""
    sheet = read_report(owner_sheet.locate_sheet(settings))
    if sheet is None:
        return True
    made_until = datetime.fromisoformat(sheet["until"]).astimezone(UTC)
    return (made_until.year, made_until.month) < (as_of.year, as_of.month)
