"""Sum up a year or a month by owner and team on one sheet: service, alerts, and retention against the risk given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from features.core.addresses import parse_address
from features.core.errors import GarrisonError
from features.core.timestamps import from_micros
from features.settings import Settings
from features.settings.cli import table
from features.sources.history import History
from features.state import database
from features.state.database import Store
from monitoring.alerts.queries import TARGET
from monitoring.binding import assignments
from monitoring.reports.owner_risk import LEAST, GivenRisk, compare_groups, read_spells
from monitoring.reports.owner_service import ServiceFigures, measure_service, read_alerts, read_tickets
from monitoring.reports.stored_reports import locate_reports
from serving.scoring import score_table

if TYPE_CHECKING:
    from rich.table import Table

Flag = Literal["reward", "answer for", ""]
# Share of alerts answered in time below which an owner answers for it, of at least so many alerts.
_ANSWERED, _ALERTS = 0.5, 20
RULE = (
    "Reward: fewer left than the risk given says, and chance alone does not explain it (the whole 95 % interval is "
    "below 1). Answer for: more left than the risk given says (the whole interval is above 1), or fewer than half of "
    f"{_ALERTS} or more alerts were answered in time. Below {LEAST} accounts nothing can be told."
)
NOBODY = ""


@dataclass(frozen=True)
class OwnerRow:
    """One owner or team.

    Args:
        name: E-mail address in lower case; of a team that of its lead; "" for accounts or owners without one.
        team: Of the owner: its lead's address; "" without one.
        accounts: Customers at the newest scores of the period.
        value: Money that these bring in `value_days`.
        service: Of tickets and alerts.
        risk: What became of the accounts against the risk they were given; None where no outcome is known.
        risk_before: The same a year earlier.
    """

    name: str
    team: str
    accounts: int
    value: float
    service: ServiceFigures
    risk: GivenRisk | None
    risk_before: GivenRisk | None

    @property
    def flag(self) -> Flag:
        """Return what `RULE` says of the owner."""
        risk, served = self.risk, self.service
        if risk and risk.low is not None and risk.low > 1:
            return "answer for"
        if served.due >= _ALERTS and served.answered < _ANSWERED * served.due:
            return "answer for"
        return "reward" if risk and risk.high is not None and risk.high < 1 else ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        risks = {name: risk and risk.as_dict() for name, risk in self._list_risks()}
        about = {"name": self.name, "team": self.team, "accounts": self.accounts, "value": self.value}
        return about | {"service": self.service.as_dict(), "flag": self.flag, **risks}

    def _list_risks(self) -> tuple[tuple[str, GivenRisk | None], ...]:
        return ("risk", self.risk), ("risk_before", self.risk_before)


@dataclass(frozen=True)
class OwnerSheet:
    """The sheet of a period.

    Args:
        since: Begin.
        until: End, not part of it.
        days: That scores look ahead: the length of a spell.
        currency: Of values.
        targets: Hours until first response and resolution that are aimed at, and the CSAT; by name.
        owners: The most shrunken ratio last: who keeps more than the risk says stands first; untold ones at the end.
        teams: Likewise.
        total: All together.
    """

    since: datetime
    until: datetime
    days: int
    currency: str
    targets: Mapping[str, float | None]
    owners: tuple[OwnerRow, ...]
    teams: tuple[OwnerRow, ...]
    total: OwnerRow

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        about = {"since": self.since.isoformat(), "until": self.until.isoformat(), "days": self.days}
        about |= {"currency": self.currency, "targets": dict(self.targets), "rule": RULE, "least": LEAST}
        rows = {name: [row.as_dict() for row in getattr(self, name)] for name in ("owners", "teams")}
        return about | rows | {"total": self.total.as_dict()}

    def lines(self) -> Iterator[str]:
        """Yield what stands above and below the tables."""
        yield f"{self.since:%Y-%m-%d} to {self.until:%Y-%m-%d}, by owner; departures within {self.days} days of a score"
        total = self.total.risk
        if total:
            yield (
                f"{total.left:,} of {total.spells:,} spells ended with a departure. 1.00 is as all owners together; "
                "below 1 fewer left than the risk that the owner was given says."
            )
        else:
            yield "No outcome of these scores is known yet, so nothing is told about retention."
        yield RULE

    def tabulate(self) -> Iterator[Table]:
        """Yield the tables of owners and teams."""
        for title, rows in (("owner", self.owners), ("team", self.teams)):
            if title == "team" and len(rows) < 2:
                continue
            numbers = ("accounts", f"value, {self.currency}", "response h", "resolved h", "CSAT", "in time")
            risk = ("stayed", "left / expected", "against risk given", "year before")
            columns = table(title, *numbers, *risk, "", right=(*numbers, *risk[:2]))
            for row in rows:
                columns.add_row(*_format_row(row))
            yield columns


def locate_sheet(settings: Settings) -> Path:
    """Return the file of the sheet that was made last."""
    return locate_reports(settings) / "owners.json"


def run(settings: Settings, *, since: datetime | None = None, until: datetime | None = None) -> OwnerSheet:
    """Sum up a period by owner and team.

    Args:
        settings: The company's.
        since: Begin; by default a year before the end.
        until: End, not part of it; by default the instant of the newest scores.

    Raises:
        GarrisonError: There are no scores, or the period is empty.
    """
    with database.open(settings) as store, History.open(settings) as history:
        newest = store.latest_scores(until or datetime.max.replace(tzinfo=UTC), TARGET, settings.alert_horizon)
        if not newest:
            raise GarrisonError("there are no scores yet", hint="Run `python -m serving score --as-of D` first")
        until = until or from_micros(newest[0]["as_of"])
        since = since or _step_back(until)
        if since >= until:
            raise GarrisonError(
                "the period ends before it begins", found=f"{since:%Y-%m-%d} to {until:%Y-%m-%d}", hint="Swap them"
            )
        return _build_sheet(_Books(settings, store, history, pd.DataFrame(newest)), since, until)


class _Books:
    """Which accounts are whose, and what the period is summed up from."""

    def __init__(self, settings: Settings, store: Store, history: History, newest: pd.DataFrame) -> None:
        self.settings, self.store, self.history = settings, store, history
        known = history.query("SELECT account_id, owner_email FROM accounts").set_index("account_id")["owner_email"]
        assigned = assignments.read_owners(store)
        addresses = {text: (parse_address(text) or "").lower() for text in known.dropna().unique()}
        self.owners = {str(a): addresses.get(text, NOBODY) for a, text in known.items()} | {
            account: address.lower() for account, address in assigned.items()
        }
        people = settings.binding.people.items()
        self.teams = {known.lower(): (person.lead or "").lower() for known, person in people}
        self.now = newest[newest["in_cohort"].ne(False)].assign(owner=self.name(newest["account_id"]))
        stored = score_table.read_tiers(settings, from_micros(int(newest["as_of"].iloc[0])))
        self.tiers: dict[str, str] = {} if stored is None else {a: t for a, t in stored.items() if t}

    def name(self, accounts: pd.Series) -> pd.Series:
        """Return the owner of each account."""
        return accounts.map(self.owners).fillna(NOBODY)

    def find_team(self, owners: pd.Series) -> pd.Series:
        """Return the team of each owner."""
        return owners.map(self.teams).fillna(NOBODY)


def _build_sheet(books: _Books, since: datetime, until: datetime) -> OwnerSheet:
    settings, store, history = books.settings, books.store, books.history
    spans = ((since, until), (_step_back(since), _step_back(until)))
    spells, before = (read_spells(settings, store, history, since=a, until=b) for a, b in spans)
    tickets = read_tickets(history, since, until)
    alerts = read_alerts(settings, store, books.tiers, since, until)
    frames = {"now": books.now, "spells": spells, "before": before, "tickets": tickets}
    owned = {name: books.name(frame["account_id"]) for name, frame in frames.items()}
    owned["alerts"], frames["alerts"] = alerts["owner"], alerts

    def build_rows(keys: Mapping[str, pd.Series]) -> tuple[OwnerRow, ...]:
        risks, risks_before = compare_groups(spells, keys["spells"]), compare_groups(before, keys["before"])
        parts = {name: dict(tuple(frame.groupby(keys[name]))) for name, frame in frames.items()}
        names = sorted({str(name) for part in ("now", "spells") for name in parts[part]})
        rows = []
        for name in names:
            mine = {part: found.get(name, frames[part].iloc[:0]) for part, found in parts.items()}
            service = measure_service(settings, mine["tickets"], mine["alerts"])
            value = float(mine["now"]["value"].fillna(0).sum())
            about = (name, books.teams.get(name, ""), len(mine["now"]), value)
            rows.append(OwnerRow(*about, service, risks.get(name), risks_before.get(name)))
        return tuple(sorted(rows, key=_rank))

    teams = {name: books.find_team(keys) for name, keys in owned.items()}
    everything = {name: pd.Series("all", index=frame.index) for name, frame in frames.items()}
    return OwnerSheet(
        since=since,
        until=until,
        days=settings.churn.lead_days + settings.alert_horizon,
        currency=settings.company.currency,
        targets={
            "first_response": settings.reports.first_response.total_seconds() / 3600,
            "resolution": settings.reports.resolution.total_seconds() / 3600,
            "csat": settings.reports.csat,
        },
        owners=build_rows(owned),
        teams=build_rows(teams),
        total=build_rows(everything)[0],
    )


def _rank(row: OwnerRow) -> tuple[bool, bool, float, str]:
    ratio = row.risk.ratio if row.risk else None
    return not row.name, ratio is None, ratio or 0.0, row.name


def _step_back(at: datetime) -> datetime:
    """Return the same day a year earlier."""
    return at.replace(year=at.year - 1, day=28 if (at.month, at.day) == (2, 29) else at.day)


def _format_row(row: OwnerRow) -> list[str]:
    served, risk = row.service, row.risk

    def write(number: float | None, pattern: str) -> str:
        return "–" if number is None else format(number, pattern)  # noqa: RUF001  # the dash of a table

    return [
        row.name.partition("@")[0] or "nobody",
        f"{row.accounts:,}",
        f"{row.value:,.0f}",
        f"{write(served.first_response.median, '.1f')} / {write(served.first_response.p90, '.0f')}",
        f"{write(served.resolution.median, '.0f')} / {write(served.resolution.p90, '.0f')}",
        write(served.csat, ".1f"),
        write(served.answered_share, ".0%"),
        write(risk.retention if risk else None, ".1%"),
        f"{risk.left:,} / {risk.expected:,.1f}" if risk else "–",  # noqa: RUF001  # the dash of a table
        format_ratio(risk),
        format_ratio(row.risk_before),
        row.flag,
    ]


def format_ratio(risk: GivenRisk | None) -> str:
    """Write what became against the risk given, with its interval."""
    if risk is None or risk.ratio is None:
        return "can't be told"
    return f"{risk.ratio:.2f} ({risk.low:.2f} to {risk.high:.2f})"
