"""Find the dated facts behind a letter: the course of use, the tickets that wait, and the last ratings and purchases.

Everything is seen as of the score's instant, by the visibility rule, so that a letter states nothing that came later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

import pandas as pd

from features.core.language import Listing, Phrase
from features.core.local_formats import Day
from features.core.sql_text import SqlText
from features.core.timestamps import DAY, from_micros, to_micros
from features.definitions.visibility_rule import SQL, Opening, is_outcome_visible, is_visible
from features.sources.history import History
from monitoring.letters.account_risk import Text
from monitoring.letters.wording import count_in_words

MONTHS, TICKETS = 6, 2
_OPENING = Opening(SqlText("opened_at"), SqlText("known_at"), SqlText("first_known_at"))


def find_evidence(history: History, account_ids: Iterable[str], as_of: datetime) -> Mapping[str, tuple[Text, ...]]:
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
    lines: dict[str, list[Text]] = {account: [] for account in wanted["account_id"]}
    finders = (("usage", _usage_by_month), ("tickets", _tickets), ("purchases", _last_purchase), ("purchases", _terms))
    for table, find in finders:
        if table in history.sources and len(wanted):
            for account, line in find(history, wanted, as_of):
                lines[account].append(line)
    return {account: tuple(found) for account, found in lines.items() if found}


def _usage_by_month(history: History, wanted: pd.DataFrame, as_of: datetime) -> Iterator[tuple[str, Phrase]]:
    """Yield each account's usage events in the last months of 30 days, where it had any."""
    sql = f"""
        SELECT account_id, ({to_micros(as_of)} - 1 - used_at) // {_MONTH} AS ago, sum(coalesce("count", 1)) AS events
        FROM usage WHERE {_WANTED} AND {_is_seen("used_at", as_of)}
            AND used_at >= {to_micros(as_of) - MONTHS * _MONTH}
        GROUP BY ALL
    """  # noqa: S608  # the contract's own names
    for account, rows in history.query(sql, wanted=wanted).groupby("account_id"):
        events = dict(zip(rows["ago"], rows["events"], strict=True))
        course = Listing([f"{int(events.get(ago, 0)):,}" for ago in reversed(range(MONTHS))])
        since = Day(as_of - timedelta(days=30 * MONTHS))
        yield (
            str(account),
            Phrase("Usage events in each 30 days since {day}: {course}", {"day": since, "course": course}),
        )


def _tickets(history: History, wanted: pd.DataFrame, as_of: datetime) -> Iterator[tuple[str, Phrase]]:
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
            yield str(account), _describe_ticket(ticket)
        rated = rows[rows["is_resolved"].astype(bool) & rows["csat"].notna()]
        if len(rated):
            last = rated.loc[rated["resolved_at"].idxmax()]
            values = {"rating": float(last["csat"]), "day": _read_day(last["resolved_at"])}
            yield str(account), Phrase("Last rating: {rating:g}, for a ticket resolved on {day}", values)


def _last_purchase(history: History, wanted: pd.DataFrame, as_of: datetime) -> Iterator[tuple[str, Phrase]]:
    """Yield each account's last purchase."""
    sql = f"""
        SELECT account_id, max(purchased_at) AS last FROM purchases
        WHERE {_WANTED} AND {_is_seen("purchased_at", as_of)} AND amount > 0
        GROUP BY account_id
    """  # noqa: S608  # the contract's own names
    for account, last in history.query(sql, wanted=wanted).itertuples(index=False):
        yield str(account), Phrase("Last invoice or order: {day}", {"day": _read_day(last)})


def _terms(history: History, wanted: pd.DataFrame, as_of: datetime) -> Iterator[tuple[str, Phrase]]:
    """Yield the term in force that ends first, and the largest where that is another; rows of one end are one term."""
    at = to_micros(as_of)
    sql = f"""
        SELECT account_id, term_ends_at, string_agg(DISTINCT product, '\x1f' ORDER BY product) AS products,
            sum(amount)::DOUBLE AS amount
        FROM purchases
        WHERE {_WANTED} AND {_is_seen("purchased_at", as_of)} AND term_starts_at < {at} AND term_ends_at >= {at}
        GROUP BY account_id, term_ends_at HAVING sum(amount) > 0
        ORDER BY account_id, term_ends_at
    """  # noqa: S608  # the contract's own names
    for account, terms in history.query(sql, wanted=wanted).groupby("account_id"):
        soonest, largest = terms.iloc[0], terms.loc[terms["amount"].idxmax()]
        first = "The term" if len(terms) == 1 else "The next term to end"
        yield str(account), _describe_term(Phrase(first), soonest, as_of)
        if largest.name != soonest.name:
            yield str(account), _describe_term(Phrase("The largest term"), largest, as_of)


_MONTH = 30 * DAY
_WANTED = "account_id IN (SELECT account_id FROM wanted)"
_PRIORITIES = {"urgent": "Urgent ticket", "high": "High ticket", "normal": "Normal ticket", "low": "Low ticket"}
_URGENCY = {priority: n for n, priority in enumerate(_PRIORITIES)}


def _describe_term(term: Phrase, row: pd.Series, as_of: datetime) -> Phrase:
    if isinstance(row["products"], str):
        products = Listing(row["products"].split("\x1f"), " and ")
        term = Phrase("{term} ({products})", {"term": term, "products": products})
    days = (from_micros(int(row["term_ends_at"])) - as_of).days
    values = {"term": term, "day": _read_day(row["term_ends_at"]), "amount": float(row["amount"])}
    return Phrase(
        "{term} ends on {day}, in {days}; {amount:,.0f} invoiced for it",
        {**values, "days": count_in_words(days, "{n} day", "{n:,} days")},
    )


def _describe_ticket(ticket: pd.Series) -> Phrase:
    """Describe a ticket that waits: High ticket about price open since 16 November 2025."""
    words = _PRIORITIES.get(ticket["priority"]) if isinstance(ticket["priority"], str) else "Ticket"
    name: Phrase = (
        Phrase(words) if words else Phrase("{priority} ticket", {"priority": ticket["priority"].capitalize()})
    )
    if isinstance(ticket["topic"], str):
        name = Phrase("{ticket} about {topic}", {"ticket": name, "topic": ticket["topic"]})
    since = {"ticket": name, "day": _read_day(ticket["opened_at"])}
    if ticket["is_answered"]:
        return Phrase("{ticket} open since {day}", since)
    return Phrase("{ticket} without an answer since {day}", since)


def _read_day(instant: float) -> Day:
    return Day(from_micros(int(instant)))


def _is_seen(column: str, as_of: datetime) -> str:
    return str(is_visible(SqlText(column), SqlText("known_at"), to_micros(as_of)))
