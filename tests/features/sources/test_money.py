"""Money is in one currency and has one sign: never a sum of yen and euros, and a refund is money back."""

import re
from decimal import Decimal
from pathlib import Path

import pytest

from features.core.contract import TABLES
from features.core.errors import QualityError
from features.core.timestamps import from_micros, to_micros
from features.engine import one_account, snapshots
from features.settings import parse_instant
from features.sources.history import History

BOUGHT = "account_id,purchased_at,amount,currency,margin,quantity"


def rates(company, *rows):
    company.table("rates", "currency,day,per_unit", *rows)


def test_amounts_are_converted_by_the_last_rate_at_or_before_their_day(company):
    rates(company, "usd,2024-01-01,0.9", "USD,2024-02-01,0.8", "JPY,2024-01-01,0.00625")
    rows = (
        "A,2024-01-31T23:00Z,10,USD,5,2",
        "A,2024-02-01,10,usd,,2",
        "B,2024-03-01,119497,JPY,,",
        "B,2024-03-01,7,EUR,,",
    )
    company.table("purchases", BOUGHT, *rows, "B,2024-03-02,8,,,")
    found = company.read("purchases", "amount, margin, quantity::INT")
    amounts = [Decimal(7), Decimal(8), Decimal(8), Decimal(9), Decimal("746.8563")]
    assert [row[0] for row in found] == sorted(amounts)
    assert (Decimal(9), Decimal("4.5"), 2) in found
    assert company.checked("purchases").currencies == {"USD": 2, "EUR": 1, "JPY": 1}


def test_a_row_without_a_rate_at_its_day_goes_to_quarantine(company):
    company.toml["quality"] = {"max_quarantine": 0.7}
    rates(company, "USD,2024-02-01,0.8", "USD,2024-02-02,none", "GBP,2024-01-01,-1")
    rows = ("A,2024-01-31,10,USD,,", "A,2024-02-03,10,USD,,", "B,2024-03-01,10,GBP,,")
    company.table("purchases", BOUGHT, *rows)
    reasons = {"there is no rate of USD at its day": 1, "there is no rate of GBP at its day": 1}
    assert company.checked("purchases").reasons == reasons
    assert company.read("purchases", "amount") == [(8,)]


@pytest.mark.parametrize(
    ("currencies", "found", "hint"),
    [
        (("EUR", "USD", "USD"), "USD in 2 rows, EUR in 1 rows", "Map [tables.rates] (currency, day, per_unit in EUR)"),
        (("USD", "USD"), "USD in 2 rows", 'Set company.currency = "USD"'),
    ],
)
def test_currencies_without_rates_are_refused_with_what_to_do(company, currencies, found, hint):
    company.table("purchases", BOUGHT, *(f"A,2024-01-0{n},10,{c},," for n, c in enumerate(currencies, start=1)))
    with pytest.raises(QualityError) as error:
        company.open()
    assert f"not all in company.currency EUR. found: {found}. {hint}" in str(error.value)


ROOT = Path(__file__).parents[3]
SIGNS = {"positive": 1, "negative": -1}


@pytest.fixture(params=SIGNS)
def spent(company, request):
    """A company that bought twice, and one refund of it, with the sign that its export gives refunds."""
    sign = SIGNS[request.param]
    rows = ("A,2024-01-05,100,new,30,2", "A,2024-02-05,50,,10,1", f"A,2024-02-20,{sign * 40},refund,{sign * 10},{sign}")
    company.table("purchases", "account_id,purchased_at,amount,kind,margin,quantity", *rows, "B,2024-02-01,9,,,")
    return company


def test_a_refund_is_money_back_whatever_its_sign_and_no_order(spent):
    with spent.open() as history:
        frame = snapshots.build(history, [parse_instant("2024-03-01")]).set_index("account_id")
    account = frame.loc["A"]
    assert account[["spend_90d", "orders_90d", "orders_in_all", "margin_365d"]].tolist() == [110, 2, 2, 30]
    assert account["days_since_purchase"] == 25
    assert account["days_between_orders"] == 31
    assert account["returned_money_share_365d"] == pytest.approx(40 / 150)
    assert spent.read("purchases", "sum(amount), sum(quantity), sum(margin)") == [(119, 2, 30)]


def test_a_posted_refund_is_money_back_likewise(spent):
    settings = spent.settings()
    with spent.open() as history:
        expected = snapshots.build(history, [parse_instant("2024-03-01")]).set_index("account_id").loc["A"]
    bought = {
        "account_id": "A",
        "purchased_at": to_micros(parse_instant("2024-01-05")),
        "known_at": to_micros(parse_instant("2024-01-05")),
    }
    rows = [
        {**bought, "amount": Decimal(100), "kind": "new", "margin": Decimal(30), "quantity": Decimal(2)},
        {**bought, "amount": Decimal(50), "margin": Decimal(10), "quantity": Decimal(1)},
        {**bought, "amount": Decimal(40), "kind": "refund", "margin": Decimal(10), "quantity": Decimal(1)},
    ]
    for row, day in zip(rows, ("2024-01-05", "2024-02-05", "2024-02-20"), strict=True):
        row["purchased_at"] = row["known_at"] = to_micros(parse_instant(day))
    account = {"account_id": "A", "created_at": to_micros(parse_instant("2023-01-01"))}
    with History.from_rows(settings, {"accounts": [account], "purchases": rows}) as history:
        columns = one_account.build_columns(history, from_micros(to_micros(parse_instant("2024-03-01"))))
    for name in ("spend_90d", "orders_90d", "days_since_purchase", "margin_365d", "returned_money_share_365d"):
        assert columns[name].tolist() == [expected[name]]


def test_a_negative_amount_without_a_kind_is_no_order_and_a_contraction_keeps_its_sign(company):
    rows = ("A,2024-01-05,100,new", "A,2024-02-05,-50,", "B,2024-01-05,100,new", "B,2024-02-05,-50,contraction")
    company.table("purchases", "account_id,purchased_at,amount,kind", *rows)
    with company.open() as history:
        frame = snapshots.build(history, [parse_instant("2024-03-01")])
    assert frame[["orders_90d", "spend_90d"]].to_numpy().tolist() == [[1, 50], [2, 50]]


# Who reads a column that no feature, cohort or label does.
READERS = {
    "name": "letters",
    "owner_email": "letters",
    "owner_timezone": "letters",
    "region": "attributes",
    "industry": "attributes",
    "size": "attributes",
    "plan": "attributes",
    "cost_to_serve": "tiers",
    "currency": "the conversion of money",
    "event_id": "repeats and versions",
    **dict.fromkeys(("made_at", "due", "by", "text", "kept_at"), "alerts on promises"),
    **dict.fromkeys(
        (
            *("partner_id", "subject", "body", "language", "handled_by", "minutes", "first_contact_resolved"),
            *("first_action", "person_id", "email", "role", "team", "manager", "timezone", "country", "contract_id"),
            *("auto_renew", "replaces", "notice_until", "score", "at"),
        ),
        "the service organisation",
    ),
    "first_known_at": "merges",
    "first_response_known_at": "the visibility rule",
    "resolved_known_at": "the visibility rule",
}


def test_every_column_of_the_contract_has_a_reader():
    text = "".join(
        file.read_text()
        for folder in (
            "features/catalog",
            "features/definitions",
            "features/sources",
            "features/engine",
            "training/targets",
        )
        for file in (ROOT / folder).glob("*.py")
    )
    unread = [
        f"{table}.{column}"
        for table, contract in TABLES.items()
        for column in contract.columns
        if column not in READERS and not re.search(rf"[.\"]{column}\b", text)
    ]
    assert unread == []


def test_attributes_of_the_contract_are_read_as_such(company):
    named = {c: c for c in READERS if READERS[c] == "attributes"}
    company.table(
        "accounts", "account_id,created_at," + ",".join(named), "A,2023-01-01,north,ore,big,gold", "B,2023-01-01,,,,"
    )
    with company.open() as history:
        frame = snapshots.build(history, [parse_instant("2024-03-01")]).set_index("account_id")
    assert frame.loc["A", [*named]].tolist() == ["north", "ore", "big", "gold"]
