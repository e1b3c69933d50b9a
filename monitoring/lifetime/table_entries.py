"""Read the entries of a timeline that the company's tables hold: tickets, weeks of usage, purchases and touches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from features.core.language import Listing, Phrase
from features.core.local_formats import Day, Money
from features.core.safe_line import to_safe_line
from features.core.timestamps import DAY, from_micros
from monitoring.letters.account_risk import Text
from monitoring.letters.wording import count_in_words
from monitoring.lifetime.account_tables import AccountTables
from monitoring.lifetime.entry import OF_TABLES, Entry, Place
from monitoring.lifetime.purchase_lines import Order, list_orders

_WEEK = 7 * DAY
# 1970 began on a Thursday: weeks begin on Mondays.
_MONDAY = 3 * DAY
# Weeks before one, whose mean is what is usual.
_USUAL = 12
_SEPARATOR = "\x1f"

_TICKETS = """
SELECT opened_at AS t, ticket_id AS key, known_at, priority, topic, channel, first_response_at, resolved_at,
    csat::DOUBLE AS csat, coalesce(reopened, false) AS reopened, coalesce(escalated, false) AS escalated
FROM tickets WHERE account_no = $no
"""
# Each week with what is usual: the mean of the twelve weeks before it, of which those without usage count as 0.
_USAGE = f"""
SELECT * FROM (
    SELECT t, '' AS key, known_at, events, people, errors,
        sum(events) OVER before / {_USUAL} AS usual, t - min(t) OVER () >= {_USUAL * _WEEK} AS has_usual
    FROM (
        SELECT (used_at + {_MONDAY}) // {_WEEK} * {_WEEK} - {_MONDAY} AS t, max(known_at) AS known_at,
            sum(coalesce("count", 1))::DOUBLE AS events, count(DISTINCT user_id) AS people,
            coalesce(sum(errors), 0)::BIGINT AS errors
        FROM usage WHERE account_no = $no GROUP BY 1
    ) WINDOW before AS (ORDER BY t RANGE BETWEEN {_USUAL * _WEEK} PRECEDING AND {_WEEK} PRECEDING)
)
"""  # noqa: S608  # numbers
_TOUCHES = """
SELECT touched_at AS t, kind AS key, min(known_at) AS known_at, kind, count(*) AS n
FROM touches WHERE account_no = $no GROUP BY touched_at, kind
"""
_ROWS: Mapping[str, tuple[str, str]] = {
    "ticket": ("tickets", _TICKETS),
    "usage": ("usage", _USAGE),
    "touch": ("touches", _TOUCHES),
}


def read_entries(tables: AccountTables, kind: str, after: Place | None, limit: int) -> list[Entry]:
    """Read at most so many entries of a kind that stand after a place; [] of a kind that the tables don't hold.

    Args:
        tables: The account's rows.
        kind: Of `entry.KINDS`.
        after: None for the newest.
        limit: At most so many.
    """
    if kind == "purchase":  # the lines of an order are one entry
        orders = (_describe_order(order, tables.currency) for order in list_orders(tables.purchases))
        later = [entry for entry in orders if after is None or entry.place > after]
        return sorted(later, key=lambda entry: entry.place)[:limit]
    if kind not in OF_TABLES or _ROWS[kind][0] not in tables.tables:
        return []
    sql, parameters = f"SELECT * FROM ({_ROWS[kind][1]})", dict[str, Any](most=limit)  # noqa: S608  # our own
    if after is not None:
        sql += f" WHERE {_build_condition(kind, after)}"
        parameters |= {"at": -after.before} | ({"key": after.key} if kind == after.kind else {})
    rows = tables.query(f"{sql} ORDER BY t DESC, key LIMIT $most", **parameters)
    return [_ENTRIES[kind](row) for row in rows]


def _build_condition(kind: str, after: Place) -> str:
    """Return SQL of what stands after a place: at one instant, kinds stand in the order of their names."""
    if kind == after.kind:
        return "(t < $at OR t = $at AND key > $key)"
    return "t <= $at" if kind > after.kind else "t < $at"


def count_entries(tables: AccountTables) -> dict[str, int]:
    """Count all entries by kind."""
    parts = [
        f"SELECT '{kind}' AS kind, count(*) AS n FROM ({sql})"  # noqa: S608  # our own
        for kind, (table, sql) in _ROWS.items()
        if table in tables.tables
    ]
    rows = tables.query(" UNION ALL ".join(parts)) if parts else []
    counts = {row["kind"]: int(row["n"]) for row in rows}
    return counts | {"purchase": len(list_orders(tables.purchases))} if "purchases" in tables.tables else counts


def _describe_ticket(row: Mapping[str, Any]) -> Entry:
    name = _PRIORITIES.get(row["priority"], "Ticket")
    topic = {"ticket": Phrase(name), "topic": to_safe_line(row["topic"] or "", 120)}
    title = Phrase("{ticket}: {topic}", topic) if row["topic"] else Phrase(name)
    facts: list[Text] = [Phrase("number {id}", {"id": to_safe_line(row["key"], 40)})]
    if row["resolved_at"] is not None:
        facts.append(Phrase("resolved after {time}", {"time": _describe_span(row["resolved_at"] - row["t"])}))
    elif row["first_response_at"] is not None:
        time = _describe_span(row["first_response_at"] - row["t"])
        facts.append(Phrase("answered after {time}, still open", {"time": time}))
    else:
        facts.append(Phrase("no answer yet"))
    if row["csat"] is not None:
        facts.append(Phrase("rated {rating:g}", {"rating": row["csat"]}))
    facts += [Phrase(word) for word in ("escalated", "reopened") if row[word]]
    return Entry(row["t"], "ticket", row["key"], title, Listing(facts), row["known_at"])


def _describe_week(row: Mapping[str, Any]) -> Entry:
    events = count_in_words(int(row["events"]), "{n} use", "{n:,} uses")
    people = count_in_words(int(row["people"]), "{n} person", "{n:,} people")
    title = Phrase("{events} by {people}", {"events": events, "people": people}) if row["people"] else events
    facts: list[Text] = []
    if row["has_usual"]:
        facts.append(Phrase("usual: {n:,.0f} a week", {"n": float(row["usual"] or 0)}))
    if row["errors"]:
        facts.append(count_in_words(int(row["errors"]), "{n} error", "{n:,} errors"))
    body = Listing(facts) if facts else ""
    return Entry(row["t"], "usage", row["key"], title, body, row["known_at"], row["t"] + _WEEK)


def _describe_order(order: Order, currency: str) -> Entry:
    facts: list[Text] = []
    if order.products:
        facts.append(Listing([to_safe_line(p, 60) for p in order.products[:6]]))
    if order.quantity is not None:
        facts.append(Phrase("{n:,g} units", {"n": order.quantity}))
    if order.term_ends_at is not None:
        facts.append(Phrase("term until {day}", {"day": Day(from_micros(order.term_ends_at))}))
    values = {"kind": Phrase(_KINDS.get(order.kind or "", "Purchase")), "amount": Money(order.amount, currency)}
    title, key = Phrase("{kind}: {amount}", values), f"{order.order_id}{_SEPARATOR}{order.kind or ''}"
    return Entry(order.at, "purchase", key, title, Listing(facts) if facts else "", order.known_at)


def _describe_touch(row: Mapping[str, Any]) -> Entry:
    kind = to_safe_line(row["kind"], 80)
    # A kind that we offer is said in the reader's language, any other as it is written.
    title: Text = Phrase(kind.capitalize()) if kind.isascii() else kind
    return Entry(row["t"], "touch", row["key"], title, "", row["known_at"])


def _describe_span(span: int) -> Phrase:
    hours = span / DAY * 24
    if hours < 48:
        return Phrase("{n:,.0f} h", {"n": hours})
    return count_in_words(round(hours / 24), "{n} day", "{n:,} days")


_PRIORITIES = {"urgent": "Urgent ticket", "high": "High ticket", "normal": "Normal ticket", "low": "Low ticket"}
_KINDS = {
    "new": "New contract",
    "renewal": "Renewal",
    "expansion": "Expansion",
    "contraction": "Contraction",
    "refund": "Refund",
}
_ENTRIES: Mapping[str, Callable[[Mapping[str, Any]], Entry]] = {
    "ticket": _describe_ticket,
    "usage": _describe_week,
    "touch": _describe_touch,
}
