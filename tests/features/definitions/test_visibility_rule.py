"""The visibility rule in its four forms, and where it holds by sorting, against six independent lines of Python."""

from dataclasses import dataclass, fields

import duckdb
import ibis
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.core.contract import TABLES, ibis_type
from features.core.sql_text import SqlText
from features.definitions import visibility_rule as rule
from features.definitions.feature import Stream, WindowedMeasure
from features.definitions.sql_expression import declare_table
from features.definitions.streams import ANSWERED, OPEN, OPENED, RESOLVED, UNANSWERED
from features.engine.facts import Facts
from features.engine.window_aggregates import aggregate_windows

AS_OFS = [0, 1, 2, 5, 6, 8]
times = st.integers(-2, 9)
maybe = st.none() | times


@dataclass(frozen=True)
class Case:
    """A ticket with one outcome, an account and an end, all their instants close together."""

    opened_at: int
    known_at: int
    first_known_at: int | None
    outcome_at: int
    own_known_at: int | None
    until: int
    created_at: int
    merged_at: int | None


NAMES = [f.name for f in fields(Case)]
SQL_KINDS = {"string": "VARCHAR", "int64": "BIGINT", "decimal(18, 4)": "DECIMAL(18, 4)", "boolean": "BOOLEAN"}
DUCKDB_TICKETS = {name: SQL_KINDS[ibis_type(column)] for name, column in TABLES["tickets"].columns.items()}
cases = st.lists(st.builds(Case, times, times, maybe, times, maybe, times, times, maybe), min_size=1, max_size=20)


def oracle(case, as_of):
    """Visible, visible and in force, outcome visible, account exists: written from the design, not from the code."""
    visible = not case.opened_at >= as_of and not case.known_at > as_of
    first_news = case.known_at if case.first_known_at is None else case.first_known_at
    news = case.own_known_at if case.own_known_at is not None else case.outcome_at + first_news - case.opened_at
    outcome = not (case.outcome_at >= as_of or case.opened_at >= as_of or case.known_at > as_of or news > as_of)
    exists = case.created_at < as_of and not (case.merged_at is not None and case.merged_at <= as_of)
    return visible, visible and not case.until < as_of, outcome, exists


def answers(columns, as_of, form):
    """The same four, as the rule says; of operands by name."""
    opening = rule.Opening(*(columns[c] for c in ("opened_at", "known_at", "first_known_at")))
    return (
        rule.is_visible(columns["opened_at"], columns["known_at"], as_of),
        rule.is_visible(columns["opened_at"], columns["known_at"], as_of, columns["until"]),
        rule.is_outcome_visible(opening, columns["outcome_at"], columns["own_known_at"], as_of, form),
        rule.exists(columns["created_at"], columns["merged_at"], as_of, form),
    )


def on_rows(found, as_of):
    return [answers({n: getattr(c, n) for n in NAMES}, as_of, rule.ROWS) for c in found]


def on_arrays(found, as_of):
    columns = {n: np.array([getattr(c, n) for c in found], dtype="float64") for n in NAMES}
    return list(zip(*(flags.tolist() for flags in answers(columns, as_of, rule.ARRAYS)), strict=True))


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect() as opened:
        opened.execute(f"CREATE TABLE cases (n BIGINT, {', '.join(f'{n} BIGINT' for n in NAMES)})")
        outcomes = dict.fromkeys(("first_response_at", "resolved_at"), "outcome_at")
        outcomes |= dict.fromkeys(("first_response_known_at", "resolved_known_at"), "own_known_at")
        same = ("opened_at", "known_at", "first_known_at")
        columns = {"ticket_id": "n", "account_id": "'a'", **dict(zip(same, same, strict=True)), **outcomes}
        drawn = [f"CAST({columns.get(c, 'NULL')} AS {kind}) AS {c}" for c, kind in DUCKDB_TICKETS.items()]
        opened.execute(f"CREATE VIEW tickets AS SELECT {', '.join(drawn)} FROM cases")  # noqa: S608  # names
        yield opened


def fill(connection, found):
    connection.execute("DELETE FROM cases")
    rows = [[place, *(getattr(c, n) for n in NAMES)] for place, c in enumerate(found)]
    connection.executemany(f"INSERT INTO cases VALUES ({', '.join('?' * (len(NAMES) + 1))})", rows)  # noqa: S608  # names


def as_sql_text():
    columns = {n: SqlText(n) for n in NAMES}
    return f"SELECT {', '.join(map(str, answers(columns, '$as_of', rule.SQL)))} FROM cases ORDER BY n"  # noqa: S608  # names


def as_ibis():
    table = ibis.table({"n": "int64", **dict.fromkeys(NAMES, "int64")}, name="cases")
    looked = table.mutate(as_of=ibis.literal(123_456_789, "int64"))
    flags = answers({n: looked[n] for n in NAMES}, looked.as_of, rule.IBIS)
    ordered = looked.select("n", **{f"flag_{k}": flag for k, flag in enumerate(flags)}).order_by("n").drop("n")
    return str(ibis.to_sql(ordered, dialect="duckdb")).replace("123456789", "$as_of")


SQL_TEXT, IBIS = as_sql_text(), as_ibis()


@settings(max_examples=60, deadline=None)
@given(cases, st.sampled_from(AS_OFS))
def test_every_form_of_the_rule_says_what_the_oracle_says(connection, found, as_of):
    expected = [oracle(case, as_of) for case in found]
    assert on_rows(found, as_of) == expected
    assert on_arrays(found, as_of) == expected
    fill(connection, found)
    assert connection.execute(SQL_TEXT, {"as_of": as_of}).fetchall() == expected
    assert connection.execute(IBIS, {"as_of": as_of}).fetchall() == expected


@given(times, times)
def test_visible_from_is_the_first_instant_at_which_a_fact_is_visible(event_time, known_at):
    case = Case(event_time, known_at, None, 0, None, 0, 0, None)
    first = min(as_of for as_of in range(-5, 15) if oracle(case, as_of)[0])
    assert rule.visible_from(event_time, known_at, rule.ROWS) == first
    assert rule.visible_from(np.array([event_time]), np.array([known_at]), rule.ARRAYS).tolist() == [first]


@settings(deadline=None)
@given(cases, st.lists(st.sampled_from(AS_OFS), min_size=1, unique=True).map(sorted), st.booleans())
def test_windows_cut_from_sorted_facts_hold_what_the_oracle_sees(found, as_ofs, ends):
    ordered = sorted(found, key=lambda case: case.opened_at)
    t, known, until = (np.array([getattr(c, n) for c in ordered]) for n in ("opened_at", "known_at", "until"))
    facts = Facts(np.zeros(len(t), dtype="int64"), t, known, until if ends else None, {}, {})
    ask = WindowedMeasure(Stream("facts", "tickets", lambda table: table).count(), None, 0)
    seen = aggregate_windows(facts, [ask], np.array(as_ofs), 1)[ask.column][:, 0]
    assert seen.tolist() == [sum(oracle(case, as_of)[ends] for case in ordered) for as_of in as_ofs]


def visible_tickets(stream):
    rows = stream.rows(declare_table("tickets"))
    looked = rows.mutate(as_of=ibis.literal(123_456_789, "int64"))
    until = looked.until if "until" in looked.columns else None
    visible = looked.filter(rule.is_visible(looked.t, looked.known, looked.as_of, until)).select("ticket_id")
    return str(ibis.to_sql(visible, dialect="duckdb")).replace("123456789", "$as_of")


TICKETS = {stream.name: visible_tickets(stream) for stream in (OPENED, ANSWERED, RESOLVED, OPEN, UNANSWERED)}


@settings(max_examples=40, deadline=None)
@given(cases, st.sampled_from(AS_OFS))
def test_streams_of_tickets_see_what_the_oracle_sees(connection, found, as_of):
    """A ticket is open from when the oracle sees its opening until when it sees the outcome."""
    fill(connection, found)
    seen = {
        name: {int(n) for (n,) in connection.execute(sql, {"as_of": as_of}).fetchall()} for name, sql in TICKETS.items()
    }
    opened = {place for place, case in enumerate(found) if oracle(case, as_of)[0]}
    over = {place for place, case in enumerate(found) if oracle(case, as_of)[2]}
    assert seen == {
        "tickets_opened": opened,
        "tickets_answered": over,
        "tickets_resolved": over,
        "tickets_open": opened - over,
        "tickets_unanswered": opened - over,
    }
