"""Put what serving an account costs beside what it brings, and place it in one of four quarters with a play."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import numpy as np
import pandas as pd

from features.core.timestamps import DAY, to_micros
from features.settings import Settings
from features.sources.history import History
from monitoring.journey.ticket_costs import TicketCosts

WINDOWS = (30, 90, 365)
Play = Literal["keep", "grow", "make cheaper", "let go politely"]
# By whether an account's value, and its cost, lie above the middle of all customers.
PLAYS: dict[tuple[bool, bool], Play] = {
    (True, False): "keep",
    (False, False): "grow",
    (True, True): "make cheaper",
    (False, True): "let go politely",
}


def read_income(history: History, as_of: datetime) -> pd.DataFrame:
    """Read what accounts brought in each window before `as_of`: a purchase with a term is spread over its days.

    Returns:
        By account_id revenue_30, revenue_90, revenue_365, and margin_… where purchases have margins; in the company's
        currency.
    """
    at = to_micros(as_of)
    if "purchases" not in history.tables:
        return pd.DataFrame(index=pd.Index([], name="account_id", dtype=object))
    has_margin = bool(history.query("SELECT count(margin) AS n FROM purchases")["n"].iloc[0])
    parts = []
    for days in WINDOWS:
        begin = at - days * DAY
        inside = f"greatest(0, least({at}, term_ends_at) - greatest({begin}, term_starts_at))::DOUBLE"
        share = (
            f"CASE WHEN term_ends_at > term_starts_at THEN {inside} / (term_ends_at - term_starts_at) "
            f"WHEN purchased_at >= {begin} THEN 1 ELSE 0 END"
        )
        parts.append(f"sum(amount::DOUBLE * {share}) AS revenue_{days}")
        parts += [f"sum(coalesce(margin, 0)::DOUBLE * {share}) AS margin_{days}"] if has_margin else []
    visible = f"purchased_at < {at} AND known_at <= {at}"
    sql = f"SELECT account_id, {', '.join(parts)} FROM purchases WHERE {visible} GROUP BY account_id"  # noqa: S608  # our own names and numbers
    return history.query(sql).set_index("account_id").astype("float64")


def count_touches(history: History, as_of: datetime) -> pd.Series:
    """Count the touches of each account in the last 365 days, by account_id."""
    at = to_micros(as_of)
    if "touches" not in history.tables:
        return pd.Series(dtype="float64")
    inside = f"touched_at < {at} AND known_at <= {at} AND touched_at >= {at - 365 * DAY}"
    frame = history.query(f"SELECT account_id, count(*) AS n FROM touches WHERE {inside} GROUP BY account_id")  # noqa: S608  # numbers
    return frame.set_index("account_id")["n"]


def build_accounts(
    settings: Settings, history: History, costs: TicketCosts, customers: np.ndarray, as_of: datetime
) -> pd.DataFrame:
    """Build the table of accounts: what each cost and brought in each window.

    Args:
        settings: Their `cost_to_serve.flag_share` is the share of revenue from which on an account is flagged.
        history: The company's.
        costs: Of the tickets of the last 365 days.
        customers: Ids of the customers at `as_of`, (n,): the quarters are cut at their middles.
        as_of: The instant.

    Returns:
        By account_id, the costliest first: tickets, hours, cost_30, cost_90, cost_365, error_365 (standard error),
        measured (share of tickets), escalations, touches, revenue_…, margin_… where known, net_365, share (cost of
        revenue; NaN without revenue), is_customer, is_flagged, play (None for no customer).
    """
    table = read_income(history, as_of).join(_sum_costs(costs, to_micros(as_of)), how="outer")
    table = table.reindex(table.index.union(pd.Index(customers, dtype=object)))
    table["touches"] = count_touches(history, as_of).reindex(table.index)
    measured = table.pop("measured").astype("float64")
    table = table.reindex(columns=[*table.columns, *(c for c in _list_revenue() if c not in table)])
    table = table.astype("float64").fillna(0.0).assign(measured=measured)
    brought = table["margin_365"] if "margin_365" in table else table["revenue_365"]
    table["net_365"] = brought - table["cost_365"]
    table["share"] = table["cost_365"] / table["revenue_365"].where(table["revenue_365"] > 0)
    table["is_customer"] = table.index.isin(customers)
    is_much = (table["cost_365"] > 0) & ~(table["share"] <= settings.cost_to_serve.flag_share)
    table["is_flagged"] = is_much & table["is_customer"] & costs.has_costs
    table["play"] = _choose_plays(table, brought) if costs.has_costs else None
    return table.rename_axis("account_id").sort_values("cost_365", ascending=False, kind="stable")


def _list_revenue() -> list[str]:
    return [f"revenue_{days}" for days in WINDOWS]


def _sum_costs(costs: TicketCosts, at: int) -> pd.DataFrame:
    frame = costs.frame
    grouped = frame.groupby("account_id")
    table = pd.DataFrame({"tickets": grouped.size(), "hours": grouped["hours"].sum()})
    for days in WINDOWS:
        inside = frame[frame["opened_at"] >= at - days * DAY]
        table[f"cost_{days}"] = inside.groupby("account_id")["cost"].sum().reindex(table.index)
    table["escalations"] = grouped["escalated"].sum()
    table["measured"] = grouped["is_measured"].mean()
    guessed = frame[~frame["is_measured"]]
    shared = guessed.groupby(["account_id", "cell"]).size().pow(2)
    variances = shared * costs.mean_variances.reindex(shared.index.get_level_values("cell")).fillna(0).to_numpy()
    own = guessed.groupby("account_id")["variance"].sum()
    total = own.add(variances.groupby("account_id").sum(), fill_value=0)
    table["error_365"] = np.sqrt(total.reindex(table.index).fillna(0.0))
    return table


def _choose_plays(table: pd.DataFrame, brought: pd.Series) -> pd.Series:
    inside = table["is_customer"]
    value_middle, cost_middle = (float(column[inside].median()) for column in (brought, table["cost_365"]))
    ends = zip(brought > value_middle, table["cost_365"] > cost_middle, inside, strict=True)
    plays = [PLAYS[bool(v), bool(c)] if is_in else None for v, c, is_in in ends]
    return pd.Series(plays, index=table.index, dtype=object)
