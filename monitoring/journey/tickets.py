"""Read tickets as they are known at an instant, each with the stage its account was at when it was opened."""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from features.core.errors import GarrisonError
from features.core.sql_text import SqlText
from features.core.timestamps import to_micros
from features.definitions.feature import DAY
from features.definitions.visibility_rule import SQL, Opening, is_outcome_visible, is_visible, outcome_known_at
from features.settings import Settings
from features.settings.journey import Stages
from features.sources.history import History

BEFORE, ONBOARDING, RENEWAL, RECOVERY, EXPANSION = "before", "onboarding", "renewal", "recovery", "expansion"
ADOPTION, STEADY = "adoption", "steady"
# In the order of the journey.
STAGES = (BEFORE, ONBOARDING, ADOPTION, STEADY, EXPANSION, RECOVERY, RENEWAL)
# What is known of a ticket once it is resolved.
_OUTCOMES = ("csat", "escalated", "reopened", "minutes", "handled_by")


def read_tickets(history: History, settings: Settings, as_of: datetime) -> pd.DataFrame:
    """Read the tickets visible at `as_of`.

    Returns:
        ticket_id, account_id, opened_at (µs), subject, body, language, topic, priority, channel, stage, and what is
        known of resolved ones: csat, escalated, reopened, minutes, handled_by (lower case); by opened_at.

    Raises:
        GarrisonError: The company has no tickets.
    """
    if "tickets" not in history.tables:
        raise GarrisonError("there are no tickets", hint="Map the table tickets in the settings")
    at, columns = to_micros(as_of), _list_columns(history)
    resolved = is_outcome_visible(
        _opening("k"), SqlText("k.resolved_at"), SqlText("k.resolved_known_at"), SqlText(str(at)), SQL
    )
    outcomes = ", ".join(
        f"CASE WHEN {resolved} THEN k.{c} END AS {c}" if c in columns else f"NULL AS {c}" for c in _OUTCOMES
    )
    said = ", ".join(
        f"k.{c}" if c in columns else f"NULL::VARCHAR AS {c}"
        for c in ("subject", "body", "language", "topic", "priority", "channel")
    )
    visible = is_visible(SqlText("k.opened_at"), SqlText("k.known_at"), SqlText(str(at)))
    sql = f"""WITH staged AS ({_build_stage_query(history, settings)})
        SELECT k.ticket_id, k.account_id, k.opened_at, {said}, {outcomes}, s.stage
        FROM tickets k JOIN staged s USING (ticket_id) WHERE {visible} ORDER BY k.opened_at, k.ticket_id"""  # noqa: S608  # our own names
    frame = history.query(sql)
    for column in ("csat", "minutes"):
        frame[column] = frame[column].astype("float64")
    return frame.assign(handled_by=frame["handled_by"].astype("object").str.lower())


def _list_columns(history: History) -> set[str]:
    return set(history.query("SELECT column_name FROM (DESCRIBE tickets)")["column_name"])


def _opening(table: str) -> Opening:
    return Opening(*(SqlText(f"{table}.{c}") for c in ("opened_at", "known_at", "first_known_at")))


def _build_stage_query(history: History, settings: Settings) -> str:
    """Return SQL with the stage of each ticket's account at its opening, from what was known by then.

    A purchase counts once it is dated before and known by the opening; a term from its start until its end; what a
    ticket's resolution brought, once the resolution is known.
    """
    days, parts = settings.journey.stages, list[str]()
    if "purchases" in history.tables:
        known = is_visible(SqlText("p.purchased_at"), SqlText("p.known_at"), SqlText("k.opened_at"))
        starts = "coalesce(p.term_starts_at, p.purchased_at)"
        parts.append(f"""bought AS (SELECT k.ticket_id, min(p.purchased_at) AS first,
            max(p.term_ends_at) FILTER ({starts} <= k.opened_at) AS ends,
            arg_max({starts}, p.term_ends_at) FILTER ({starts} <= k.opened_at AND p.term_ends_at IS NOT NULL) AS began,
            max(CASE WHEN p.kind = 'expansion' THEN p.purchased_at END) AS expanded
            FROM tickets k JOIN purchases p ON p.account_id = k.account_id AND {known} GROUP BY ALL)""")  # noqa: S608
    else:
        parts.append(
            "bought AS (SELECT NULL::VARCHAR AS ticket_id, 0 AS first, 0 AS ends, 0 AS began, 0 AS expanded "
            "WHERE false)"
        )
    opening = _opening("b")
    resolved_known = outcome_known_at(opening, SqlText("b.resolved_at"), SqlText("b.resolved_known_at"), SQL)
    bad = f"(b.escalated OR b.csat <= {settings.journey.low_csat:g})"
    parts.append(f"""harmed AS (SELECT k.ticket_id, max(b.resolved_at) AS mended
        FROM tickets k JOIN tickets b ON b.account_id = k.account_id AND {bad} AND b.resolved_at < k.opened_at
        AND b.resolved_at > k.opened_at - {days.recovery * DAY} AND {resolved_known} <= k.opened_at GROUP BY ALL)""")  # noqa: S608
    has_purchases = "purchases" in history.tables
    return f"""WITH {", ".join(parts)} SELECT k.ticket_id, {_choose_stage(days, has_purchases=has_purchases)} AS stage
        FROM tickets k JOIN accounts a USING (account_id) LEFT JOIN bought USING (ticket_id)
        LEFT JOIN harmed USING (ticket_id)"""  # noqa: S608  # our own names and numbers


def _choose_stage(days: Stages, *, has_purchases: bool) -> str:
    since = "k.opened_at - coalesce(first, a.created_at)"
    before = f"WHEN first IS NULL THEN '{BEFORE}' " if has_purchases else ""
    return (
        f"CASE {before}WHEN {since} < {days.onboarding * DAY} THEN '{ONBOARDING}' "
        # Of a term of a month or a quarter the last fourth: else such accounts would be near their renewal always.
        f"WHEN ends - k.opened_at BETWEEN 0 AND least({days.renewal * DAY}, (ends - began) / 4) THEN '{RENEWAL}' "
        f"WHEN mended IS NOT NULL THEN '{RECOVERY}' "
        f"WHEN k.opened_at - expanded < {days.expansion * DAY} THEN '{EXPANSION}' "
        f"WHEN {since} < {days.adoption * DAY} THEN '{ADOPTION}' ELSE '{STEADY}' END"
    )
