"""Define the streams of dated facts that features measure.

A row of a table can be several facts, each known at a time of its own: a ticket is opened, then answered,
then resolved, and what its resolution brought (hours, CSAT, escalation) is dated and known at the resolution.
"""

from __future__ import annotations

from collections.abc import Callable

import ibis
import ibis.expr.types as ir

from features.core.timestamps import NEVER
from features.definitions.feature import DAY, Stream
from features.definitions.visibility_rule import (
    IBIS,
    Opening,
    end_known_at,
    outcome_event_time,
    outcome_known_at,
    visible_from,
)


def add_months(instant: ir.Value, months: ir.Value) -> ir.Value:
    """Return the same day and time `months` calendar months later, or that month's last day, in µs.

    At most a thousand years are added: an engine's calendar need not reach further.
    """
    clock = (instant % DAY + DAY) % DAY
    days = (instant - clock) // DAY
    later = ibis.timestamp("1970-01-01") + days.as_interval("D") + ibis.least(months, 12_000).as_interval("M")
    return later.epoch_seconds().cast("int64") * 1_000_000 + clock


def round_half_away(value: ir.Value) -> ir.Value:
    """Return the nearest whole number, halves away from zero: engines' own `round` differ there."""
    whole = (value.abs() + 0.5).floor().cast("int64")
    return ibis.ifelse(value < 0, -whole, whole)


def _usage(table: ir.Table) -> ir.Table:
    return table.mutate(t=table.used_at, known=table.known_at, count=table["count"].fill_null(1))


def _opened(table: ir.Table) -> ir.Table:
    return table.mutate(t=table.opened_at, known=table.known_at)


def _outcome(table: ir.Table, column: str) -> tuple[ir.Value, ir.Value]:
    """Return the instant of a ticket's response or resolution, and when it became known."""
    opening = Opening(table.opened_at, table.known_at, table.first_known_at)
    known_at = outcome_known_at(opening, table[column], table[column.replace("_at", "_known_at")], IBIS)
    return outcome_event_time(opening, table[column], IBIS), known_at


def _answered(table: ir.Table) -> ir.Table:
    rows = table.filter(table.first_response_at.notnull())
    t, known = _outcome(rows, "first_response_at")
    return rows.mutate(t=t, known=known, waited=rows.first_response_at - rows.opened_at)


def _resolved(table: ir.Table) -> ir.Table:
    rows = table.filter(table.resolved_at.notnull())
    t, known = _outcome(rows, "resolved_at")
    return rows.mutate(t=t, known=known, took=rows.resolved_at - rows.opened_at)


def _until(table: ir.Table, column: str) -> ir.Value:
    """Return the last `as_of` at which a ticket still waits for its response or resolution: before that is visible."""
    return ibis.ifelse(table[column].isnull(), NEVER, visible_from(*_outcome(table, column), IBIS) - 1)


def _open(table: ir.Table) -> ir.Table:
    return table.mutate(t=table.opened_at, known=table.known_at, until=_until(table, "resolved_at"))


def _unanswered(table: ir.Table) -> ir.Table:
    # What is resolved needs no answer any more.
    until = ibis.least(_until(table, "first_response_at"), _until(table, "resolved_at"))
    return table.mutate(t=table.opened_at, known=table.known_at, until=until)


def _aged(days: int) -> Callable[[ir.Table], ir.Table]:
    """Return the rows of tickets open for some days: a fact dated at the end of those days, until the resolution."""

    def rows(table: ir.Table) -> ir.Table:
        t = table.opened_at + days * DAY
        return _open(table).mutate(t=t, known=ibis.greatest(table.known_at, t))

    return rows


def _purchases(table: ir.Table) -> ir.Table:
    return table.mutate(t=table.purchased_at, known=table.known_at)


def exclude_money_back(purchases: ir.Table) -> ir.Table:
    """Return the purchases without money back: rows of kind refund, and those without a kind below 0."""
    kind = purchases["kind"].fill_null("")
    return purchases.filter((kind != "refund") & ((kind != "") | (purchases.amount >= 0)))


def _orders(table: ir.Table) -> ir.Table:
    """Merge the lines of an order that are dated and known at the same instants into one fact.

    Lines known at different times stay apart: otherwise a late line would move its order's past.
    """
    bought = exclude_money_back(table)
    lines = bought.mutate(t=bought.purchased_at, known=bought.known_at, order=bought.order_id.fill_null(""))
    return lines.group_by("account_id", "t", "known", "order").agg(amount=lines.amount.sum())


def _terms(table: ir.Table) -> ir.Table:
    """Return contract terms: each purchase of a term, from the term's start until its end."""
    rows = table.filter(table.term_ends_at.notnull())
    starts = rows.term_starts_at.fill_null(rows.purchased_at)
    return rows.mutate(
        t=ibis.greatest(rows.purchased_at, starts),
        known=ibis.greatest(rows.known_at, starts),
        until=rows.term_ends_at,
        length=rows.term_ends_at - starts,
    )


def _ended(table: ir.Table) -> ir.Table:
    """Return the ends of contract terms, renewed or not."""
    rows = table.filter(table.term_ends_at.notnull())
    # A term that was over before it was bought ends with its purchase: no fact comes before the purchase does.
    t = ibis.greatest(rows.term_ends_at, rows.purchased_at)
    return rows.mutate(t=t, known=ibis.greatest(rows.known_at, t))


def _billed(table: ir.Table) -> ir.Table:
    """Return each purchase of a term during the months that it bills, with its amount a month.

    A term of a year with monthly invoices counts one month's invoice at a time.
    """
    terms = _terms(table)
    months = ibis.greatest(terms.billing_months.fill_null(0), 0)
    by_months = ibis.least(add_months(terms.t, months), terms.term_ends_at)
    # Whole ten-thousandths: a decimal divided would become a float, whose sum depends on the order of rows.
    tenths = round_half_away(terms.amount.cast("float64") * 10_000).cast("float64")
    term_months = ibis.greatest(round_half_away(terms.length / (30.4375 * DAY)), 1).cast("float64")
    divisor = ibis.ifelse(months > 0, months.cast("float64"), term_months)
    return terms.mutate(
        until=ibis.ifelse(months > 0, by_months, terms.term_ends_at),
        monthly=round_half_away(tenths / divisor),
    )


def _billing_ended(table: ir.Table) -> ir.Table:
    """Return the purchases of `_billed` at the end of the months that each bills, renewed or not."""
    rows = _billed(table)
    # Each ends once, and not before it begins. So what is in force now, less what began, plus what ended, was in force
    # before.
    t = ibis.greatest(rows.until, rows.t)
    return rows.mutate(t=t, known=ibis.greatest(rows.known, t)).drop("until")


def _touches(table: ir.Table) -> ir.Table:
    return table.mutate(t=table.touched_at, known=table.known_at)


def _there(table: ir.Table) -> ir.Table:
    """Return the people of accounts, each from when they are there until it is known that they left."""
    left_at = ibis.greatest(table["until"], table.since)
    seen = visible_from(left_at, end_known_at(table.since, table.known_at, left_at, IBIS), IBIS)
    gone = ibis.ifelse(table["until"].isnull(), NEVER, seen - 1)
    return table.mutate(t=table.since, known=table.known_at, until=gone)


def _left(table: ir.Table) -> ir.Table:
    rows = table.filter(table["until"].notnull())
    left_at = ibis.greatest(rows["until"], rows.since)
    known_at = end_known_at(rows.since, rows.known_at, left_at, IBIS)
    return rows.mutate(t=left_at, known=known_at).drop("until")


def _notices(table: ir.Table) -> ir.Table:
    """Return contracts, each from its start until the last instant at which notice may be given."""
    rows = table.filter(table.notice_until.notnull())
    known_at = ibis.greatest(rows.known_at, rows.starts)
    return rows.mutate(t=rows.starts, known=known_at, until=rows.notice_until)


def _surveys(table: ir.Table) -> ir.Table:
    return table.mutate(t=table["at"], known=table.known_at)


def _kept_seen(table: ir.Table) -> ir.Value:
    """Return the first instant at which it is seen that a promise was kept; of no meaning where it was not."""
    kept_at = ibis.greatest(table.kept_at, table.made_at)
    return visible_from(kept_at, end_known_at(table.made_at, table.known_at, kept_at, IBIS), IBIS)


def _overdue(table: ir.Table) -> ir.Table:
    """Return promises that were due, each until it is seen that it was kept."""
    t = ibis.greatest(table.due, table.made_at)
    until = ibis.ifelse(table.kept_at.isnull(), NEVER, _kept_seen(table) - 1)
    return table.mutate(t=t, known=ibis.greatest(table.known_at, t), until=until)


def _broken(table: ir.Table) -> ir.Table:
    """Return promises that nobody had seen kept when they were due, dated then."""
    t = ibis.greatest(table.due, table.made_at)
    dated = table.mutate(t=t, known=ibis.greatest(table.known_at, t))
    return dated.filter(dated.kept_at.isnull() | (_kept_seen(dated) > dated.known))


USAGE = Stream("usage", "usage", _usage)
OPENED = Stream("tickets_opened", "tickets", _opened)
ANSWERED = Stream("tickets_answered", "tickets", _answered)
RESOLVED = Stream("tickets_resolved", "tickets", _resolved)
OPEN = Stream("tickets_open", "tickets", _open)
UNANSWERED = Stream("tickets_unanswered", "tickets", _unanswered)
OPEN_WEEK = Stream("tickets_open_week", "tickets", _aged(7))
OPEN_MONTH = Stream("tickets_open_month", "tickets", _aged(30))
PURCHASES = Stream("purchases", "purchases", _purchases)
ORDERS = Stream("orders", "purchases", _orders)
TERMS = Stream("terms", "purchases", _terms)
ENDED = Stream("terms_ended", "purchases", _ended)
BILLED = Stream("billed", "purchases", _billed)
BILLING_BEGAN = Stream("billing_began", "purchases", lambda table: _billed(table).drop("until"))
BILLING_ENDED = Stream("billing_ended", "purchases", _billing_ended)
TOUCHES = Stream("touches", "touches", _touches)
PEOPLE = Stream("people", "people", _there)
PEOPLE_LEFT = Stream("people_left", "people", _left)
NOTICES = Stream("notices", "contracts", _notices)
SURVEYS = Stream("surveys", "surveys", _surveys)
OVERDUE = Stream("promises_overdue", "promises", _overdue)
BROKEN = Stream("promises_broken", "promises", _broken)
