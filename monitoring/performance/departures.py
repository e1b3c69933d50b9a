"""Find the accounts that left in a month, by the company's own label of leaving."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pandas as pd

from features.core.errors import GarrisonError
from features.settings import Churn, Settings
from features.sources.history import History
from training.targets import cohorts
from training.targets.labels import compute_days_needed, compute_labels

# Labels that say that an account did nothing for as long as the horizon: it left with the last thing that it did.
_SILENCE = frozenset({"no_purchase", "no_usage"})


@dataclass(frozen=True)
class Month:
    """A calendar month in UTC, `[begin, end)`."""

    begin: datetime
    end: datetime

    @classmethod
    def of(cls, at: datetime) -> Month:
        """Return the month of an instant."""
        begin = datetime(at.year, at.month, 1, tzinfo=UTC)
        return cls(begin, (begin + timedelta(days=31)).replace(day=1))

    @property
    def name(self) -> str:
        """Return it as YYYY-MM."""
        return f"{self.begin:%Y-%m}"


def find_last_known_month(settings: Settings, data_until: datetime) -> Month:
    """Return the last month of which it is known who left."""
    month = Month.of(data_until)
    while _find_known_from(settings, month) > data_until:
        month = Month.of(month.begin - timedelta(days=1))
    return month


def find_departures(settings: Settings, history: History, month: Month, *, data_until: datetime) -> tuple[str, ...]:
    """Find the accounts that left in a month: those whose label of leaving came true in it.

    Where leaving is an event, such as the end of a contract, the label is asked of the month alone, from the first day
    on which the account was in the cohort. Where leaving is silence, the account left in the month if it did something
    within the horizon from the month's beginning, and nothing within the horizon from its end.

    Args:
        settings: Of the company.
        history: Of the company.
        month: Of the calendar.
        data_until: The instant the data are complete until.

    Returns:
        Account ids, ascending.

    Raises:
        GarrisonError: It is not known yet who left.
    """
    if _find_known_from(settings, month) > data_until:
        last = find_last_known_month(settings, data_until)
        raise GarrisonError(
            f"who left in {month.name} is not known yet",
            found=f"data until {data_until:%Y-%m-%d}",
            hint=f"The last month that is known is {last.name}",
        )
    churn = settings.churn.model_copy(update={"lead_days": 0})
    find = _find_silenced if churn.label.kind in _SILENCE else _find_ended
    return tuple(sorted(find(history, churn, month, settings.alert_horizon, data_until)))


def _find_known_from(settings: Settings, month: Month) -> datetime:
    """Return the instant that the data must reach before it is known who left in the month."""
    churn = settings.churn.model_copy(update={"lead_days": 0})
    grace = compute_days_needed(churn, 0)
    return month.end + timedelta(days=settings.alert_horizon if churn.label.kind in _SILENCE else grace)


def _find_silenced(history: History, churn: Churn, month: Month, horizon: int, data_until: datetime) -> list[str]:
    members = cohorts.find_eligible_ids(history, churn.cohort, month.end)

    def ask(at: datetime) -> pd.Series:
        rows = pd.DataFrame({"account_id": members, "as_of": pd.Timestamp(at)})
        return compute_labels(history, churn, horizon, rows, data_until=data_until)

    gone = (ask(month.end) == 1) & (ask(month.begin) == 0)
    return [str(a) for a in members[gone.to_numpy()]]


def _find_ended(history: History, churn: Churn, month: Month, _: int, data_until: datetime) -> list[str]:
    days = [month.begin + timedelta(days=n) for n in range((month.end - month.begin).days)]
    first = cohorts.find_eligible(history, churn.cohort, days).drop_duplicates("account_id")
    gone = []
    for as_of, rows in first.groupby("as_of"):
        rest = (month.end - as_of.to_pydatetime()).days
        labels = compute_labels(history, churn, rest, rows, data_until=data_until)
        gone += rows.loc[labels == 1, "account_id"].astype(str).to_list()
    return gone
