"""What holds for every feature on any history: nothing that came or became known later moves one.

Each example is a handful of random histories, their instants crowded around `as_of` and the edges of windows.
The variants of a history are accounts of their own, so that one query tells whether any feature differs.
"""

import calendar
import math
import random
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from statistics import fmean

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st

from features import catalog
from features.core.contract import EVENTS, RECORDS, TABLES
from features.core.timestamps import DAY, from_micros, to_micros
from features.definitions.streams import BILLED
from tests.support.property_tests import examples

AS_OF = to_micros(datetime(2024, 7, 1, 9, 30, 7, 3, tzinfo=UTC))
TIME = {t: TABLES[t].time for t in (*EVENTS, *RECORDS)}
EDGES = [
    AS_OF - days * DAY + shift for days in (0, 7, 30, 60, 77, 84, 90, 180, 330, 360, 365, 395) for shift in (-1, 0, 1)
]

times = st.one_of(
    st.sampled_from([AS_OF - 1, AS_OF, AS_OF + 1]),
    st.sampled_from(EDGES),
    st.integers(AS_OF - 500 * DAY, AS_OF + 60 * DAY),
)
maybe = st.none() | times
flags = st.sampled_from([None, False, True])


def rows(time, **columns):
    """Rows of one table, many of them known when they happen."""
    drawn = st.fixed_dictionaries({time: times, "known_at": maybe, **columns})
    told = drawn.map(lambda row: row | {"known_at": row[time] if row["known_at"] is None else row["known_at"]})
    return st.lists(told, max_size=6)


histories = st.fixed_dictionaries(
    {
        "tickets": rows(
            "opened_at",
            first_response_at=maybe,
            resolved_at=maybe,
            priority=st.sampled_from([None, "low", "urgent"]),
            topic=st.sampled_from([None, "Outage", "price", "how-to"]),
            csat=st.sampled_from([None, "1", "3.7"]),
            reopened=flags,
            escalated=flags,
        ),
        "usage": rows(
            "used_at",
            user_id=st.sampled_from([None, "ann", "bob"]),
            feature=st.sampled_from([None, "tides", "berths"]),
            count=st.sampled_from([None, 0, 1, 7]),
            duration_s=st.sampled_from([None, "0.1", "3600"]),
            errors=st.sampled_from([None, 0, 2]),
        ),
        "purchases": rows(
            "purchased_at",
            amount=st.sampled_from(["-30.01", "0", "99.99", "1200"]),
            order_id=st.sampled_from([None, "1", "2"]),
            kind=st.sampled_from([None, "new", "renewal", "expansion", "contraction", "refund"]),
            product=st.sampled_from([None, "berth", "crane"]),
            quantity=st.sampled_from([None, "1", "10"]),
            list_price=st.sampled_from([None, "100"]),
            margin=st.sampled_from([None, "-5.5", "40"]),
            paid=flags,
            term_starts_at=maybe,
            term_ends_at=maybe,
            billing_months=st.sampled_from([None, 0, 1, 12]),
        ),
        "touches": rows("touched_at", kind=st.sampled_from(["call", "Visit", "campaign", "play: talk_price"])),
        "people": rows("since", role=st.sampled_from([None, "Champion", "user"]), until=maybe),
        "contracts": rows("starts", notice_until=maybe),
        "surveys": rows("at", kind=st.sampled_from(["nps", "ces"]), score=st.sampled_from([None, "0", "9.5"])),
        "promises": rows("made_at", due=times, kept_at=maybe),
    }
)
several = st.lists(histories, min_size=4, max_size=4)


def snapshots_of(count):
    """Return settings of so many examples; not shrunk, for that takes minutes of queries."""
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
    phases = [Phase.generate]
    return examples(count, phases=phases, suppress_health_check=quiet)


# Written from the design and not from the code, so that it can find the code wrong.
def seen(table, row):
    return row[TIME[table]] < AS_OF and row["known_at"] <= AS_OF


def told(ticket, when):
    delay = ticket["known_at"] - ticket["opened_at"]
    return max(when, ticket["opened_at"]) < AS_OF and max(ticket["known_at"], when + delay) <= AS_OF


def later(ticket, outcome):
    """The ticket with what is still to come taken from another ticket."""
    changed = dict(ticket)
    if ticket["resolved_at"] is None or not told(ticket, ticket["resolved_at"]):
        when = outcome["resolved_at"]
        shown = when is not None and when >= AS_OF
        changed |= {"resolved_at": when if shown else None}
        changed |= {c: outcome[c] for c in ("csat", "reopened", "escalated")}
    if ticket["first_response_at"] is None or not told(ticket, ticket["first_response_at"]):
        when = outcome["first_response_at"]
        changed["first_response_at"] = when if when is not None and when >= AS_OF else None
    return changed


def only_seen(history):
    """The history as it could be known at `as_of`."""
    return {t: [row for row in found if seen(t, row)] for t, found in history.items()}


def put(tables, account, history):
    for table, found in history.items():
        tables[table] += [{**row, "account_id": account, "ticket_id": f"{account}{n}"} for n, row in enumerate(found)]


def posted(accounts):
    """Histories by account as the tables that `snapshot` takes."""
    made = {"accounts": [{"account_id": a, "created_at": AS_OF - 600 * DAY} for a in accounts]}
    made |= {table: [] for table in TIME}
    for account, history in accounts.items():
        put(made, account, history)
    for table in TIME.keys() - {"tickets"}:
        for row in made[table]:
            del row["ticket_id"]
    return made


def moved(frame, one, other):
    """The features in which two rows differ, with both values."""
    names = [c for c in frame if c not in {"account_id", "as_of", "plan", "seats"}]
    left, right = (frame[names].to_numpy(dtype="float64")[i] for i in (one, other))
    differ = ~((left == right) | (np.isnan(left) & np.isnan(right)))
    return {names[i]: (left[i], right[i]) for i in np.flatnonzero(differ)}


def assert_nothing_moved(frame, *variants):
    at = {account: i for i, account in enumerate(frame["account_id"])}
    for account, row in at.items():
        for variant in variants if account.startswith("base") else ():
            assert moved(frame, row, at[account.replace("base", variant)]) == {}, variant


@snapshots_of(12)
@given(past=several, other=several)
def test_no_event_at_or_after_as_of_or_known_after_it_moves_a_feature(snapshot, past, other):
    accounts = {}
    for n, (history, strange) in enumerate(zip(past, other, strict=True)):
        known = only_seen(history)
        hidden = {t: [row for row in found if not seen(t, row)] for t, found in strange.items()}
        accounts[f"base{n}"] = history
        accounts[f"deleted{n}"] = known
        accounts[f"changed{n}"] = {t: known[t] + hidden[t] for t in known}
        accounts[f"added{n}"] = {t: history[t] + hidden[t] for t in known}
    assert_nothing_moved(snapshot(posted(accounts), AS_OF), "deleted", "changed", "added")


@snapshots_of(12)
@given(past=several, other=several)
def test_how_a_ticket_ends_after_as_of_moves_no_feature(snapshot, past, other):
    accounts = {}
    for n, (history, strange) in enumerate(zip(past, other, strict=True)):
        blank = dict.fromkeys(("resolved_at", "first_response_at", "csat", "reopened", "escalated"))
        outcomes = strange["tickets"] or [blank]
        endless = [later(row, blank) for row in history["tickets"]]
        changed = [later(row, outcomes[i % len(outcomes)]) for i, row in enumerate(history["tickets"])]
        accounts[f"base{n}"] = history
        accounts[f"endless{n}"] = history | {"tickets": endless}
        accounts[f"changed{n}"] = history | {"tickets": changed}
    assert_nothing_moved(snapshot(posted(accounts), AS_OF), "endless", "changed")


# The column that ends a record; its end is known as long after it as its beginning was after that.
ENDS = {"people": "until", "promises": "kept_at"}


def ends_later(table, row, when):
    """The record with an end that is not known at `as_of` put off, or taken away."""
    end, begun = row[ENDS[table]], row[TIME[table]]
    if end is not None:
        ended = max(end, begun)
        if ended < AS_OF and max(row["known_at"], ended + row["known_at"] - begun) <= AS_OF:
            return row
    return row | {ENDS[table]: when}


@snapshots_of(8)
@given(past=several, when=st.integers(AS_OF, AS_OF + 90 * DAY))
def test_how_a_record_ends_after_as_of_moves_no_feature(snapshot, past, when):
    accounts = {}
    for n, history in enumerate(past):
        accounts[f"base{n}"] = history
        for name, end in (("endless", None), ("changed", when)):
            ended = {t: [ends_later(t, row, end) for row in history[t]] for t in ENDS}
            accounts[f"{name}{n}"] = history | ended
    assert_nothing_moved(snapshot(posted(accounts), AS_OF), "endless", "changed")


@snapshots_of(6)
@given(past=several, seed=st.integers(0, 9))
def test_the_order_of_rows_moves_no_feature(snapshot, past, seed):
    draw = random.Random(seed)  # noqa: S311  # nothing secret here
    accounts = {f"base{n}": history for n, history in enumerate(past)}
    accounts |= {f"turned{n}": {t: found[::-1] for t, found in h.items()} for n, h in enumerate(past)}
    accounts |= {
        f"shuffled{n}": {t: draw.sample(found, len(found)) for t, found in h.items()} for n, h in enumerate(past)
    }
    assert_nothing_moved(snapshot(posted(accounts), AS_OF), "turned", "shuffled")


@pytest.mark.parametrize("billed", [False, True], ids=["by_the_term", "by_months"])
@snapshots_of(5)
@given(past=several, shift=st.sampled_from([-DAY, 1, 7 * DAY, 1_000_001, 40 * DAY + 12_345_678_901]))
def test_moving_all_times_and_as_of_alike_moves_no_feature(snapshot, past, shift, billed):
    def moving(table, row):
        columns = [c for c, spec in TABLES[table].columns.items() if spec.kind == "time" and row.get(c) is not None]
        return row | {c: row[c] + shift for c in columns}

    if not billed:
        past = [h | {"purchases": [row | {"billing_months": None} for row in h["purchases"]]} for h in past]
    accounts = {f"base{n}": history for n, history in enumerate(past)}
    accounts |= {
        f"moved{n}": {t: [moving(t, row) for row in found] for t, found in h.items()} for n, h in enumerate(past)
    }
    tables = posted(accounts)
    for row in tables["accounts"]:
        row["created_at"] += shift * row["account_id"].startswith("moved")
    frame = snapshot(tables, AS_OF, AS_OF + shift)
    at = {(row.account_id, to_micros(row.as_of.to_pydatetime())): i for i, row in enumerate(frame.itertuples())}
    # An invoice counts for calendar months, which are not all as long.
    by_months = {
        f.name
        for f in catalog.FEATURES.values()
        if any(a.measure.stream is BILLED for a in f.windowed_measures.values())
    }
    for n in range(len(past)):
        found = moved(frame, at[f"base{n}", AS_OF], at[f"moved{n}", AS_OF + shift])
        assert found.keys() <= (by_months if billed else set()), found


@snapshots_of(3)
@given(past=several, as_ofs=st.lists(times, min_size=3, max_size=3, unique=True))
def test_several_as_ofs_at_once_give_the_same_bits_as_one_by_one(snapshot, past, as_ofs):
    tables = posted({f"a{n}": history for n, history in enumerate(past)})
    together = snapshot(tables, *as_ofs)
    for as_of in as_ofs:
        alone = snapshot(tables, as_of)
        assert_same_bits(together[together["as_of"] == from_micros(as_of)].reset_index(drop=True), alone)


@snapshots_of(3)
@given(past=several)
def test_one_account_alone_gives_the_same_bits_as_all_together(snapshot, past):
    accounts = {f"a{n}": history for n, history in enumerate(past)}
    together = snapshot(posted(accounts), AS_OF)
    for n, (account, history) in enumerate(accounts.items()):
        assert_same_bits(together.iloc[[n]].reset_index(drop=True), snapshot(posted({account: history}), AS_OF))


def assert_same_bits(one, other):
    assert list(one["account_id"]) == list(other["account_id"])
    names = [f.name for f in catalog.BUILT_IN.select_account_features(TIME)]
    bits = [frame[names].to_numpy(dtype="float64").view("int64") for frame in (one, other)]
    assert (bits[0] == bits[1]).all()


@snapshots_of(10)
@given(past=several)
def test_features_are_what_plain_python_makes_of_the_events_seen(snapshot, past):
    frame = snapshot(posted({f"a{n}": history for n, history in enumerate(past)}), AS_OF)
    for n, history in enumerate(past):
        for name, wanted in reference(only_seen(history)).items():
            found = frame[name][n]
            assert found == pytest.approx(math.nan if wanted is None else wanted, rel=1e-12, nan_ok=True), name


def reference(known):
    """Some features, straight from their sentences; None for null."""

    def within(rows, time, days, before=0):
        start, end = AS_OF - (before + days) * DAY, AS_OF - before * DAY
        return [row for row in rows if start <= row[time] < end]

    def events(days, before=0):
        return sum(
            1 if row["count"] is None else row["count"] for row in within(known["usage"], "used_at", days, before)
        )

    tickets = known["tickets"]
    resolved = [row for row in tickets if row["resolved_at"] is not None and told(row, row["resolved_at"])]
    unresolved = [row for row in tickets if row not in resolved]
    lately = [row for row in resolved if max(row["resolved_at"], row["opened_at"]) >= AS_OF - 90 * DAY]
    ratings = [Decimal(row["csat"]) for row in lately if row["csat"] is not None]
    # Money back is no order: what is called a refund, and what has no kind and is below 0.
    bought = [r for r in known["purchases"] if r["kind"] != "refund" and (r["kind"] or Decimal(r["amount"]) >= 0)]
    orders = {(row["purchased_at"], row["known_at"], row["order_id"] or "") for row in bought}
    bought = sorted(when for when, _, _ in orders)
    now, before, raised = events(30), events(30, 30), within(tickets, "opened_at", 30)
    trend = (now - before) / (now + before) if now + before else None
    ends = [row["term_ends_at"] for row in known["purchases"] if in_force(row, row["term_ends_at"])]
    return {
        "usage_events_30d": now,
        "usage_trend_30d": trend,
        "silence_30d": trend if trend is None or (trend < 0 and not raised) else 0,
        "active_days_90d": len({(AS_OF - 1 - r["used_at"]) // DAY for r in within(known["usage"], "used_at", 90)}),
        "users_90d": len({r["user_id"] for r in within(known["usage"], "used_at", 90)} - {None}),
        "tickets_365d": len(within(tickets, "opened_at", 365)),
        "open_tickets": len(unresolved),
        "oldest_open_days": max(((AS_OF - row["opened_at"]) / DAY for row in unresolved), default=None),
        "resolution_hours_90d": mean([(row["resolved_at"] - row["opened_at"]) / 3.6e9 for row in lately]),
        "csat_90d": mean([float(csat) for csat in ratings]),
        "orders_90d": sum(when >= AS_OF - 90 * DAY for when in bought),
        "spend_365d": float(sum(money(row) for row in within(known["purchases"], "purchased_at", 365))),
        "days_between_orders": (bought[-1] - bought[0]) / DAY / (len(bought) - 1) if len(bought) > 1 else None,
        "days_to_renewal": max(((end - AS_OF) / DAY for end in ends), default=None),
        "recurring_revenue_year": recurring(known["purchases"]),
    }


def money(row):
    """A refund is money back, whatever its sign."""
    return -abs(Decimal(row["amount"])) if row["kind"] == "refund" else Decimal(row["amount"])


def mean(values):
    return fmean(values) if values else None


def in_force(row, until):
    return row["term_ends_at"] is not None and started(row) < AS_OF <= until


def started(row):
    return max(row["purchased_at"], row["term_starts_at"] or 0)


def recurring(purchases):
    """Ten-thousandths a month of each term, added up, by the year; None for 0."""
    total = 0
    for row in purchases:
        months, end = row["billing_months"] or 0, row["term_ends_at"]
        if in_force(row, min(end, months_later(started(row), months)) if months and end else end):
            length = end - (row["term_starts_at"] or row["purchased_at"])
            divisor = months or max(1, rounded(Decimal(length) / Decimal("30.4375") / DAY))
            total += rounded(money(row) * 10_000 / divisor)
    return total * 12 / 10_000 or None


def rounded(number):
    return int(number.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def months_later(us, months):
    when = from_micros(us)
    year, month = divmod(when.year * 12 + when.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return to_micros(when.replace(year=year, month=month + 1, day=min(when.day, last)))
