"""The cohorts and labels that a company's tables allow, each with the base rate that it would give by month."""

from __future__ import annotations

import math
from typing import Any

from features.core.timestamps import DAY, NEVER
from features.proposal.model import TargetChoice
from features.settings import ChurnLabel
from features.sources.history import History

_GRACE = ChurnLabel(kind="lapse").grace_days
_WINDOWS = (30, 60, 90, 180, 365)
_MONTHS = 12  # shown
_LEAST_TERMS = 0.6  # share of purchases with a term from which terms are what is sold


def list_choices(history: History) -> list[TargetChoice]:
    """Return the choices, the one to propose first.

    A simple count over the mapped tables: training counts again, with the lead, the grace and what was known when.
    """
    tables = {t for t in history.tables if history.count_rows(t)}
    if not tables & {"purchases", "usage", "lifetimes"}:
        return []
    span = (history.last_event - history.all_began) / DAY if history.has_events else 0.0
    horizon = 90 if span >= 400 else 30 if span >= 120 else 14  # training needs some windows
    choices: list[tuple[dict[str, Any], dict[str, Any]]] = []
    purchases = "purchases" in tables
    terms = _read(history, "count(term_ends_at) / count(*)", "purchases") if purchases else 0.0
    if "lifetimes" in tables and _read(history, "count(ended_at)", "lifetimes"):
        choices.append(({"kind": "lifetime"}, {"kind": "ended"}))
    if terms > 0:
        choices.append(({"kind": "in_force"}, {"kind": "lapse"}))
    if purchases:
        choices.append(({"kind": "active", "within_days": _find_window(history, "purchases")}, {"kind": "no_purchase"}))
    if "usage" in tables:
        choices.append(({"kind": "using", "within_days": _find_window(history, "usage")}, {"kind": "no_usage"}))
    if terms < _LEAST_TERMS:
        choices.sort(key=lambda c: c[0]["kind"] == "in_force")
    return [_count(history, cohort, label, horizon) for cohort, label in choices]


def guess_choice(tables: set[str]) -> TargetChoice:
    """Return a choice that the tables allow, before anything is counted."""
    if "lifetimes" in tables:
        return TargetChoice({"kind": "lifetime"}, {"kind": "ended"}, 90)
    if "purchases" in tables or "usage" not in tables:
        return TargetChoice({"kind": "active", "within_days": 180}, {"kind": "no_purchase"}, 90)
    return TargetChoice({"kind": "using", "within_days": 180}, {"kind": "no_usage"}, 90)


def _read(history: History, expression: str, table: str) -> float:
    return float(history.query(f"SELECT {expression} AS n FROM {table}")["n"].iloc[0] or 0)


def _find_window(history: History, table: str) -> int:
    """Return three times the usual gap between an account's days with events, as a round number of days."""
    time = "purchased_at" if table == "purchases" else "used_at"
    days = f"SELECT DISTINCT account_id, {time} // {DAY} AS day FROM {table}"
    gaps = f"SELECT day - lag(day) OVER (PARTITION BY account_id ORDER BY day) AS gap FROM ({days})"
    usual = history.query(f"SELECT quantile_cont(gap, 0.75) AS g FROM ({gaps})")["g"].iloc[0]
    wanted = 3 * float(usual) if usual is not None and not math.isnan(usual) else 180
    return next((w for w in _WINDOWS if w >= wanted), _WINDOWS[-1])


def _count(history: History, cohort: dict[str, Any], label: dict[str, Any], horizon: int) -> TargetChoice:
    """Count the cohort and those that leave at the beginning of each month whose horizon the data cover."""
    grace = _GRACE if label["kind"] == "lapse" else 0
    months = (
        f"SELECT epoch_us(m) AS t FROM generate_series(date_trunc('month', make_timestamp({history.all_began})) "
        f"+ INTERVAL 1 MONTH, make_timestamp({history.last_event - (horizon + grace) * DAY}), INTERVAL 1 MONTH) AS g(m)"
    )
    sql = {"lifetime": _ended, "in_force": _lapse, "active": _silent, "using": _silent}[cohort["kind"]](cohort, horizon)
    counted = f"""
        WITH months AS ({months}), asked AS ({sql})
        SELECT strftime(make_timestamp(t), '%Y-%m') AS month, count(*) AS n, sum(CAST(left_ AS INTEGER)) AS gone
        FROM asked GROUP BY t ORDER BY t"""
    rows = history.query(counted).itertuples()
    found = {str(row.month): (int(row.n), int(row.gone)) for row in rows}
    return TargetChoice(cohort, label, horizon, dict(list(found.items())[-_MONTHS:]))


def _ended(_: dict[str, Any], horizon: int) -> str:
    return f"""
        SELECT t, l.account_id, max(coalesce(ended_at, {NEVER})) < t + {horizon * DAY} AS left_
        FROM months, lifetimes l WHERE started_at < t AND coalesce(ended_at, {NEVER}) >= t GROUP BY t, l.account_id"""


def _lapse(_: dict[str, Any], horizon: int) -> str:
    # Spells of terms that follow one another within the grace of the label; who leaves is whose spell ends.
    before = "(PARTITION BY account_id ORDER BY term_starts_at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
    terms = f"""
        SELECT account_id, term_starts_at, term_ends_at,
          term_starts_at > coalesce(max(term_ends_at) OVER {before}, 0) + {_GRACE * DAY} AS begins
        FROM purchases WHERE term_starts_at < term_ends_at"""
    numbered = (
        f"SELECT *, count_if(begins) OVER (PARTITION BY account_id ORDER BY term_starts_at) AS spell FROM ({terms})"
    )
    spells = f"SELECT account_id, spell, max(term_ends_at) AS ends FROM ({numbered}) GROUP BY account_id, spell"
    return f"""
        SELECT t, p.account_id, max(s.ends) < t + {horizon * DAY} AS left_
        FROM months, ({numbered}) p JOIN ({spells}) s ON s.account_id = p.account_id AND s.spell = p.spell
        WHERE p.term_starts_at < t AND p.term_ends_at >= t GROUP BY t, p.account_id"""


def _silent(cohort: dict[str, Any], horizon: int) -> str:
    table, time = ("purchases", "purchased_at") if cohort["kind"] == "active" else ("usage", "used_at")
    real = "amount > 0" if table == "purchases" else "coalesce(count, 1) > 0"
    return f"""
        SELECT t, account_id, bool_and(moment < t) AS left_ FROM (
          SELECT t, account_id, {time} AS moment FROM months, {table}
          WHERE {real} AND {time} >= t - {cohort["within_days"] * DAY} AND {time} < t + {horizon * DAY})
        GROUP BY t, account_id HAVING bool_or(moment < t)"""
