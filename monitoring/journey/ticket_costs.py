"""Cost each ticket: minutes times the rate of who handled it, measured where both are known, else estimated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.settings import Settings
from features.sources.history import History

# Tickets that a coarser cell counts for in a finer one's mean, so that a cell of a few is not taken at its word.
_PRIOR = 10.0
_CELL = ("topic", "channel", "priority")
NO_TEAM = ""


@dataclass(frozen=True)
class TicketCosts:
    """Tickets with what they cost.

    Args:
        frame: As they were given, with team ("" for not known), hours, cost (money; NaN where no rate is
            known), is_measured, cell, and variance (of an estimated cost around the mean of its cell).
        mean_variances: By cell: the variance of its estimated mean cost, which all its tickets share.
        notes: What the reader should know.
    """

    frame: pd.DataFrame
    mean_variances: pd.Series
    notes: tuple[str, ...] = ()

    @property
    def has_costs(self) -> bool:
        """Return whether any rate is known."""
        return bool(self.frame["cost"].notna().any())

    def find_error(self, tickets: pd.DataFrame) -> float:
        """Return the standard error of the summed cost of some of the tickets; 0 where all are measured."""
        guessed = tickets[~tickets["is_measured"]]
        sizes = guessed.groupby("cell").size()
        shared = float((sizes.pow(2) * self.mean_variances.reindex(sizes.index).fillna(0)).sum())
        return float(np.sqrt(guessed["variance"].sum() + shared))


def read_staff(history: History) -> pd.DataFrame:
    """Read the company's own people: email (lower case), team, role, rate_per_hour; no rows without the table."""
    if "staff" not in history.tables:
        texts = {name: pd.Series(dtype=object) for name in ("email", "team", "role")}
        return pd.DataFrame({**texts, "rate_per_hour": pd.Series(dtype="float64")})
    frame = history.query("SELECT lower(email) AS email, team, role, rate_per_hour FROM staff ORDER BY email")
    return frame.assign(rate_per_hour=frame["rate_per_hour"].astype("float64"))


def cost_tickets(settings: Settings, tickets: pd.DataFrame, staff: pd.DataFrame) -> TicketCosts:
    """Cost tickets.

    A ticket without minutes gets the mean minutes of its topic, channel and priority, drawn towards those of coarser
    cells by as many tickets as ten; one whose handler has no known rate gets the mean rate, weighed by minutes.

    Args:
        settings: Their `cost_to_serve.rates` and `journey.rate_per_hour` say what an hour of others costs.
        tickets: topic, channel, priority, minutes and handled_by (lower case).
        staff: As of `read_staff`.
    """
    people = staff.drop_duplicates("email").set_index("email")
    team = tickets["handled_by"].map(people["team"].to_dict()).astype("object")
    own = tickets["handled_by"].map(people["rate_per_hour"].to_dict()).astype("float64")
    rate = own.fillna(team.map(dict(settings.cost_to_serve.rates)).astype("float64"))
    minutes, is_measured = tickets["minutes"], tickets["minutes"].notna() & rate.notna()
    spare = settings.journey.rate_per_hour or _find_mean_rate(minutes[is_measured], rate[is_measured], staff)
    cells = tickets[list(_CELL)].astype("object").fillna("")
    means, spread, uncertain = _estimate_minutes(cells, minutes)
    used, cell = rate.fillna(spare), cells.agg("|".join, axis=1) if len(cells) else pd.Series(dtype=object)
    frame = tickets.assign(
        team=team.fillna(NO_TEAM),
        hours=minutes.fillna(means) / 60,
        cost=minutes.fillna(means) / 60 * used,
        is_measured=is_measured,
        cell=cell,
        variance=(spread * (used / 60) ** 2).where(minutes.isna(), 0.0).fillna(0.0),
    )
    by_cell = (uncertain * (used.mean() / 60) ** 2).groupby(cell).first()
    return TicketCosts(frame, by_cell, tuple(_note(is_measured, spare)))


def _find_mean_rate(minutes: pd.Series, rate: pd.Series, staff: pd.DataFrame) -> float:
    """Find what an hour costs on average: weighed by minutes, or the mean of the staff; NaN where nothing is known."""
    return float((minutes * rate).sum() / minutes.sum()) if minutes.sum() else float(staff["rate_per_hour"].mean())


def _estimate_minutes(cells: pd.DataFrame, minutes: pd.Series) -> tuple[pd.Series, pd.Series, pd.Series]:
    """Estimate each ticket's minutes from its cell: the mean, the variance of tickets around it, and the mean's own."""
    known = max(1, int(minutes.notna().sum()))
    means = pd.Series(float(minutes.mean()), index=minutes.index)
    spread = pd.Series(float(minutes.var(ddof=0)), index=minutes.index)
    uncertain = spread / known
    for last in range(len(_CELL)):
        keys = [cells[name] for name in _CELL[: last + 1]]
        grouped = minutes.groupby(keys)
        count, mean = grouped.transform("count"), grouped.transform("mean")
        around = (minutes - mean).pow(2).groupby(keys).transform("mean")
        share = count / (count + _PRIOR)
        means = share * mean.fillna(0.0) + (1 - share) * means
        spread = share * around.fillna(0.0) + (1 - share) * spread
        uncertain = spread / (count + _PRIOR)
    return means, spread, uncertain


def _note(is_measured: pd.Series, spare: float) -> Iterator[str]:
    if len(is_measured) and not is_measured.all():
        yield "Tickets without minutes or a rate are estimated from like ones; ± holds their error, with 95 %."
    if pd.isna(spare):
        yield "No rate is known: map staff with rate_per_hour, or set journey.rate_per_hour."
