"""An adversarial history within the contract: instants at every edge, odd texts, ties, late arrivals, large numbers."""

import random
from datetime import UTC, datetime
from decimal import Decimal

from features.core.timestamps import DAY, to_micros
from features.settings import Settings

AS_OFS = [
    datetime(2024, 2, 29, 12, 34, 56, 789_012, tzinfo=UTC),  # leap day
    datetime(2024, 3, 31, 1, tzinfo=UTC),  # clocks go forward in Europe
    datetime(2024, 7, 1, tzinfo=UTC),
    datetime(2024, 10, 27, 1, tzinfo=UTC),  # and back
    datetime(2025, 2, 28, 23, 59, 59, 999_999, tzinfo=UTC),
]
NAMES = [
    'O\'Brien & "Söhne"',
    "日本\t語",
    "back\\slash",
    "new\nline",
    "%s, {} ; --",
    " blank ",
    "\\.",
    "😀",
    "\uff5e",  # before 😀 by code point, after it in UTF-16
    "a",
    "A",
]
TEXTS = [
    None,
    "",
    "\\N",
    "NULL",
    "nan",
    "it's",
    'say "ay"',
    "zwei\nZeilen",
    "PRİCE",
    "Preis, Vertrag",
    "Renewal",
    "canceL",
]
ATTRIBUTES = {
    "plan": "p",
    "größe (m²)": {"column": "g", "kind": "decimal"},
    'it\'s "so"': {"column": "i", "kind": "whole"},
    "since": {"column": "s", "kind": "time"},
    "vip": {"column": "v", "kind": "flag"},
}


def instants(draw):
    """Instants at which something is likely to go wrong: at and around `as_of`, edges of windows, ends of months."""
    as_of = to_micros(draw.choice(AS_OFS))
    edge = as_of - draw.choice([0, 7, 14, 28, 30, 60, 84, 90, 180, 365]) * DAY + draw.choice([-1, 0, 1])
    special = datetime(
        *draw.choice([(2023, 2, 28), (2024, 1, 31), (2024, 2, 29), (2023, 10, 29), (2024, 3, 31)]), tzinfo=UTC
    )
    anywhere = as_of - draw.randrange(500 * DAY)
    return draw.choice([edge, to_micros(special) + draw.choice([0, DAY // 24, DAY - 1]), anywhere, as_of + DAY])


def known(draw, when):
    return draw.choice([when, when, when, when + draw.choice([1, DAY, 40 * DAY]), to_micros(draw.choice(AS_OFS))])


def maybe(draw, *values):
    return draw.choice([None, *values])


def after(draw, when):
    """Nothing, or an instant after this one; now and then a clock that is off."""
    return maybe(draw, when, when + 1, when + draw.randrange(90 * DAY), when + draw.randrange(90 * DAY), when - DAY)


def usage(draw, account):
    when = instants(draw)
    return {
        "account_id": account,
        "used_at": when,
        "known_at": known(draw, when),
        "user_id": maybe(draw, "ann", "Ann", "änn", "", "b'ob"),
        "feature": maybe(draw, "tides", "berths", "😀"),
        "count": maybe(draw, 0, 1, 7, 10**12 - 1, 10**12),
        "duration_s": maybe(draw, Decimal("0.0001"), Decimal(3600), Decimal("86400.0003")),
        "errors": maybe(draw, 0, 2, 2**40),
    }


def ticket(draw, account):
    when = instants(draw)
    return {
        "ticket_id": f"{account}{draw.random()}",
        "account_id": account,
        "opened_at": when,
        "known_at": known(draw, when),
        "first_response_at": after(draw, when),
        "resolved_at": after(draw, when),
        "priority": maybe(draw, "low", "normal", "high", "urgent"),
        "topic": draw.choice(TEXTS),
        "channel": maybe(draw, "mail", "phone"),
        "csat": maybe(draw, None, Decimal(1), Decimal("3.7"), Decimal(-2)),
        "reopened": maybe(draw, False, True),
        "escalated": maybe(draw, False, True),
    }


def purchase(draw, account):
    when = instants(draw)
    starts = maybe(draw, when, when - 5 * DAY, when + 20 * DAY)
    # 76 days, 2 hours and 15 minutes are two and a half months.
    length = draw.choice([31 * DAY, 365 * DAY, 366 * DAY, 76 * DAY + DAY * 3 // 32, 1])
    money = [Decimal("-30.01"), Decimal(0), Decimal("0.0001"), Decimal("99.99"), Decimal(-(10**12)), Decimal(10**12)]
    return {
        "account_id": account,
        "purchased_at": when,
        "amount": draw.choice(money),
        "known_at": known(draw, when),
        "order_id": maybe(draw, "1", "2", ""),
        "kind": maybe(draw, "new", "renewal", "expansion", "contraction", "refund"),
        "product": maybe(draw, "berth", "Berth", "crane "),
        "quantity": maybe(draw, Decimal(1), Decimal("10.5"), Decimal(0)),
        "margin": maybe(draw, Decimal("-0.5"), Decimal(7)),
        "term_starts_at": starts,
        "term_ends_at": maybe(draw, (starts or when) + length, (starts or when) + length),
        "billing_months": maybe(draw, 0, 1, 3, 12, 13, 10**10),
        "list_price": maybe(draw, Decimal(0), Decimal("120.5")),
        "paid": maybe(draw, False, True),
    }


def touch(draw, account):
    when = instants(draw)
    return {
        "account_id": account,
        "touched_at": when,
        "known_at": known(draw, when),
        "kind": draw.choice(["call", "Call"]),
    }


def person(draw, account):
    when = instants(draw)
    ended = maybe(draw, None, after(draw, when))
    role = draw.choice(["Champion", "user", None])
    return {"account_id": account, "since": when, "known_at": known(draw, when), "role": role, "until": ended}


def contract(draw, account):
    when = instants(draw)
    return {"account_id": account, "starts": when, "known_at": known(draw, when), "notice_until": after(draw, when)}


def survey(draw, account):
    when, score = instants(draw), maybe(draw, Decimal("9.5"), Decimal(0))
    kind = draw.choice(["nps", "ces"])
    return {"account_id": account, "at": when, "known_at": known(draw, when), "kind": kind, "score": score}


def promise(draw, account):
    when = instants(draw)
    due, kept = after(draw, when) or when, after(draw, when)
    return {"account_id": account, "made_at": when, "known_at": known(draw, when), "due": due, "kept_at": kept}


RECORDS = (("people", person), ("contracts", contract), ("surveys", survey), ("promises", promise))


def generated(seed):
    """Canonical rows by table."""
    draw = random.Random(seed)  # noqa: S311  # nothing secret here
    eventful = [f"{name}{n}" for n in range(2) for name in NAMES]
    created = [to_micros(draw.choice(AS_OFS)) + draw.choice([-1, 0, 1, -400 * DAY, -900 * DAY]) for _ in eventful]
    born = dict(zip(eventful, created, strict=True)) | dict.fromkeys(("empty", "Empty"), 0) | {"before 1970": -1}
    accounts = [
        {
            "account_id": account,
            "created_at": when,
            "plan": draw.choice(TEXTS),
            "größe (m²)": maybe(draw, Decimal("-0.0001"), Decimal("12345678901234.5678")),
            'it\'s "so"': maybe(draw, 0, 2**53 + 1, -(2**53) + 1),
            "since": maybe(draw, 0, -1, to_micros(AS_OFS[0])),
            "vip": maybe(draw, False, True),
            "merged_at": maybe(draw, None, None, to_micros(AS_OFS[2]) + draw.choice([-1, 0, 1])) if when > 1 else None,
        }
        for account, when in born.items()
    ]
    tables = {table: [] for table in ("tickets", "usage", "purchases", "touches")}
    for account in eventful:
        for table, row in (("tickets", ticket), ("usage", usage), ("purchases", purchase), ("touches", touch)):
            rows = [row(draw, account) for _ in range(draw.choice([0, 1, 12, 40]))]
            tables[table] += rows + rows[:3] * (table != "tickets")  # ties
    tables |= {table: [] for table, _ in RECORDS}
    for account in eventful:
        for table, row in RECORDS:
            tables[table] += [row(draw, account) for _ in range(draw.choice([0, 1, 9]))]
    # 9,100 uses of a million million each are beyond what a float counts exactly.
    busy = {
        "account_id": "busy",
        "user_id": "x",
        "count": 10**12 - 1,
        "errors": 0,
        "used_at": to_micros(AS_OFS[0]) - DAY,
    }
    tables["usage"] += [busy | {"known_at": busy["used_at"], "feature": f"{n}"} for n in range(9_100)]
    return {"accounts": [*accounts, {"account_id": "busy", "created_at": 1}], **tables}


def settings():
    mapped = {"source": "s", "columns": {"account_id": "a", "created_at": "c", **ATTRIBUTES}}
    churn = {"cohort": {"kind": "active"}, "label": {"kind": "no_purchase"}}
    given = {"company": {"name": "x"}, "sources": {"s": {"path": "s.csv"}}, "tables": {"accounts": mapped}}
    return Settings.model_validate(given | {"churn": churn})
