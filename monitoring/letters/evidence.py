"""Find the dated facts behind a letter: the course of use, the tickets that wait, and the last ratings and purchases.

Everything is seen as of the score's instant, by the visibility rule, so that a letter states nothing that came later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

import pandas as pd

from features.core.sql_text import SqlText
from features.core.timestamps import DAY, from_micros, to_micros
from features.definitions.visibility_rule import SQL, Opening, is_outcome_visible, is_visible
from features.sources.history import History
from monitoring.letters.wording import count, format_day

MONTHS, TICKETS = 6, 2
_OPENING = Opening(SqlText("opened_at"), SqlText("known_at"), SqlText("first_known_at"))


def find_evidence(history: History, account_ids: Iterable[str], as_of: datetime) -> Mapping[str, tuple[str, ...]]:
    """Find what happened at some accounts before `as_of`, in sentences that name days and numbers.

    Args:
        history: The company's.
        account_ids: Of the accounts.
        as_of: The instant of the scores.

    Returns:
        By account, at most some six sentences: use by month, open tickets, the last rating, the last purchase, and of
        the terms in force the one that ends first and the largest.
    """
    wanted = pd.DataFrame({"account_id": sorted(set(account_ids))}, dtype="str")
    lines: dict[str, list[str]] = {account: [] for account in wanted["account_id"]}
    finders = (("usage", _usage_by_month), ("tickets", _tickets), ("purchases", _last_purchase), ("purchases", _terms))
    for table, find in finders:
        if table in history.sources and len(wanted):
            for account, line in find(history, wanted, as_of):
                lines[account].append(line)
    return {account: tuple(found) for account, found in lines.items() if found}


def _usage_by_month(history: History, wanted: pd.DataFrame, as_of: datetime) -> Iterator[tuple[str, str]]:
    """Yield each account's usage events in the last months of 30 days, where it had any."""
    sql = f"""
        SELECT account_id, ({to_micros(as_of)} - 1 - used_at) // {_MONTH} AS ago, sum(coalesce("count", 1)) AS events
        FROM usage WHERE {_WANTED} AND {_is_seen("used_at", as_of)}
            AND used_at >= {to_micros(as_of) - MONTHS * _MONTH}
        GROUP BY ALL
    """  # noqa: S608  # the contract's own names
    for account, rows in history.query(sql, wanted=wanted).groupby("account_id"):
        events = dict(zip(rows["ago"], rows["events"], strict=True))
        course = ", ".join(f"{int(events.get(ago, 0)):,}" for ago in reversed(range(MONTHS)))
        since = as_of - timedelta(days=30 * MONTHS)
        yield str(account), f"Usage events in each 30 days since {format_day(since)}: {course}"


def _tickets(history: History, wanted: pd.DataFrame, as_of: datetime) -> Iterator[tuple[str, str]]:
    """Yield the tickets that wait longest, the urgent ones first, and the last rating."""
    at = to_micros(as_of)
    answered, resolved = (
        f"{column}_at IS NOT NULL AND "
        + str(is_outcome_visible(_OPENING, SqlText(f"{column}_at"), SqlText(f"{column}_known_at"), at, SQL))
        for column in ("first_response", "resolved")
    )
    sql = f"""
        SELECT account_id, opened_at, priority, topic, csat, resolved_at,
            {resolved} AS is_resolved, {answered} AS is_answered
        FROM tickets WHERE {_WANTED} AND {_is_seen("opened_at", as_of)}
    """  # noqa: S608  # the contract's own names
    for account, rows in history.query(sql, wanted=wanted).groupby("account_id"):
        waiting = rows[~rows["is_resolved"].astype(bool)]
        waiting = waiting.assign(urgency=waiting["priority"].map(_URGENCY).fillna(len(_URGENCY)))
        for _, ticket in waiting.sort_values(["urgency", "opened_at"], kind="stable").head(TICKETS).iterrows():
            state = "open" if ticket["is_answered"] else "without an answer"
            yield (
                str(account),
                f"{_name_ticket(ticket)} {state} since {format_day(from_micros(int(ticket['opened_at'])))}",
            )
        rated = rows[rows["is_resolved"].astype(bool) & rows["csat"].notna()]
        if len(rated):
            last = rated.loc[rated["resolved_at"].idxmax()]
            rating = f"Last rating: {float(last['csat']):g}, for a ticket resolved on"
            yield str(account), f"{rating} {format_day(from_micros(int(last['resolved_at'])))}"


def _last_purchase(history: History, wanted: pd.DataFrame, as_of: datetime) -> Iterator[tuple[str, str]]:
    """Yield each account's last purchase."""
    sql = f"""
        SELECT account_id, max(purchased_at) AS last FROM purchases
        WHERE {_WANTED} AND {_is_seen("purchased_at", as_of)} AND amount > 0
        GROUP BY account_id
    """  # noqa: S608  # the contract's own names
    for account, last in history.query(sql, wanted=wanted).itertuples(index=False):
        yield str(account), f"Last invoice or order: {format_day(from_micros(int(last)))}"


def _terms(history: History, wanted: pd.DataFrame, as_of: datetime) -> Iterator[tuple[str, str]]:
    """Yield the term in force that ends first, and the largest where that is another; rows of one end are one term."""
    at = to_micros(as_of)
    sql = f"""
        SELECT account_id, term_ends_at, string_agg(DISTINCT product, ' and ' ORDER BY product) AS product,
            sum(amount)::DOUBLE AS amount
        FROM purchases
        WHERE {_WANTED} AND {_is_seen("purchased_at", as_of)} AND term_starts_at < {at} AND term_ends_at >= {at}
        GROUP BY account_id, term_ends_at HAVING sum(amount) > 0
        ORDER BY account_id, term_ends_at
    """  # noqa: S608  # the contract's own names
    for account, terms in history.query(sql, wanted=wanted).groupby("account_id"):
        soonest, largest = terms.iloc[0], terms.loc[terms["amount"].idxmax()]
        yield str(account), f"The {'term' if len(terms) == 1 else 'next term to end'}{_describe_term(soonest, as_of)}"
        if largest.name != soonest.name:
            yield str(account), f"The largest term{_describe_term(largest, as_of)}"


_MONTH = 30 * DAY
_WANTED = "account_id IN (SELECT account_id FROM wanted)"
_URGENCY = {"urgent": 0, "high": 1, "normal": 2, "low": 3}


def _describe_term(term: pd.Series, as_of: datetime) -> str:
    ends = from_micros(int(term["term_ends_at"]))
    product = f" ({term['product']})" if isinstance(term["product"], str) else ""
    days = (ends - as_of).days
    return (
        f"{product} ends on {format_day(ends)}, in {count(days, 'day', 'days')}; {term['amount']:,.0f} invoiced for it"
    )


def _name_ticket(ticket: pd.Series) -> str:
    priority = ticket["priority"] if isinstance(ticket["priority"], str) else ""
    topic = f" about {ticket['topic']}" if isinstance(ticket["topic"], str) else ""
    return f"{priority} ticket{topic}".strip().capitalize()


def _is_seen(column: str, as_of: datetime) -> str:
    return str(is_visible(SqlText(column), SqlText("known_at"), to_micros(as_of)))
