"""Read tickets as they were known at an instant, with what serving them took."""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from features.core.errors import GarrisonError
from features.core.sql_text import SqlText
from features.core.timestamps import DAY, to_micros
from features.definitions.visibility_rule import SQL, Opening, is_outcome_visible, is_visible
from features.sources.history import History

# Known with the opening, and known with the resolution.
_AT_OPENING = ("topic", "priority", "channel", "language")
_OUTCOMES = ("csat", "escalated", "reopened", "minutes", "handled_by", "resolved_at")
# What is not mapped, in words.
_UNMAPPED = {
    "minutes": "No ticket has minutes: hours can't be measured.",
    "handled_by": "No ticket says who handled it: teams are not known.",
}


def read_service_tickets(history: History, as_of: datetime, *, days: int) -> pd.DataFrame:
    """Read the tickets opened in the days before `as_of`.

    Returns:
        ticket_id, account_id, opened_at (µs), topic, priority, channel, language; of resolved ones csat, escalated,
        reopened, minutes, handled_by (lower case) and resolved_at (µs); of answered ones first_response_at (µs) and
        first_action; by opened_at.

    Raises:
        GarrisonError: The company has no tickets.
    """
    if "tickets" not in history.tables:
        raise GarrisonError("there are no tickets", hint="Map the table tickets in the settings")
    at = to_micros(as_of)
    columns = set(history.query("SELECT column_name FROM (DESCRIBE tickets)")["column_name"])
    opening = Opening(SqlText("opened_at"), SqlText("known_at"), SqlText("first_known_at"))
    visible = is_visible(opening.opened_at, opening.known_at, SqlText(at))
    resolved, answered = (
        is_outcome_visible(opening, SqlText(f"{name}_at"), SqlText(f"{name}_known_at"), SqlText(at), SQL)
        & SqlText(f"({name}_at IS NOT NULL)")
        for name in ("resolved", "first_response")
    )
    opened = ", ".join(c if c in columns else f"NULL::VARCHAR AS {c}" for c in _AT_OPENING)
    outcomes = ", ".join(
        f"CASE WHEN {resolved} THEN {c} END AS {c}" if c in columns else f"NULL AS {c}" for c in _OUTCOMES
    )
    sql = f"""SELECT ticket_id, account_id, opened_at, {opened}, {outcomes},
        CASE WHEN {answered} THEN first_response_at END AS first_response_at,
        CASE WHEN {answered} OR {resolved} THEN first_action END AS first_action
        FROM tickets WHERE {visible} AND opened_at >= {at - days * DAY} ORDER BY opened_at, ticket_id"""  # noqa: S608  # our own names and numbers
    frame = history.query(sql)
    for column in ("csat", "minutes", "resolved_at", "first_response_at"):
        frame[column] = frame[column].astype("float64")
    for column in ("escalated", "reopened"):
        frame[column] = frame[column].eq(other=True).fillna(value=False).astype(bool)
    return frame.assign(handled_by=frame["handled_by"].astype("object").str.lower())


def list_missing(frame: pd.DataFrame) -> list[str]:
    """List what tickets do not say, in sentences."""
    return [sentence for column, sentence in _UNMAPPED.items() if frame[column].isna().all()]
