from __future__ import annotations

import contextlib
import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from features.core.timestamps import to_micros
from serving.schemas import score_requests
from serving.schemas.errors import ApiError
from serving.schemas.score_requests import RejectedAccount, ScoreRequest, ScoreRequestReader
from tests.support.property_tests import examples

ACCOUNT = {"account_id": "x", "created_at": "2023-05-01"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("2023-05-01T00:00:00Z"),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["account", "account_id", "created_at", "tickets", "usage", "used_at", "opened_at", "k"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def reader(harbour: Any) -> ScoreRequestReader:
    return ScoreRequestReader(harbour.settings)


def read(reader: ScoreRequestReader, *items: Any, **more: Any) -> ScoreRequest:
    return reader.read(json.dumps({"accounts": items, **more}).encode())


def fault(reader: ScoreRequestReader, item: Any) -> str:
    """What is said of one item beside a good one, which must come through."""
    asked = read(reader, "good", item, "good too")
    assert (asked.items[0], asked.items[2]) == ("good", "good too")
    assert isinstance(asked.items[1], RejectedAccount)
    return asked.items[1].error.message


def test_a_posted_account_comes_out_in_canonical_values(reader: ScoreRequestReader) -> None:
    ticket = {"ticket_id": "1", "opened_at": "2023-06-01T02:00:00.000001+02:00", "priority": "urgent", "reopened": True}
    purchase = {"purchased_at": "2023-06-01T00:00:00Z", "amount": 12.34, "quantity": "3.5"}
    use = {"used_at": "2023-06-01", "count": 3}
    posted = {
        "account": ACCOUNT | {"rank": 0.1, "region": None},
        "tickets": [ticket],
        "usage": [use],
        "purchases": [purchase],
    }
    asked = read(reader, posted, "A-1", as_of="2024-01-01", detail="advice")
    assert asked.as_of == datetime(2024, 1, 1, tzinfo=UTC)
    assert asked.detail == "advice"
    item = asked.items[0]
    assert isinstance(item, dict)
    june = to_micros(datetime(2023, 6, 1, tzinfo=UTC))
    assert item["account"]["rank"] == Decimal("0.1")
    assert item["tickets"][0]["opened_at"] == june + 1
    assert item["usage"] == [{"used_at": june, "count": 3}]
    assert item["purchases"][0] == {"purchased_at": june, "amount": Decimal("12.34"), "quantity": Decimal("3.5")}
    assert asked.items[1] == "A-1"


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (3, "neither an account id nor an account"),
        (None, "neither an account id nor an account"),
        ("", "at least 1 character"),
        ({}, "account: Field required"),
        ({"account": ACCOUNT, "visits": []}, "visits: this key is unknown"),
        ({"account": {"account_id": "x"}}, r"account.created_at: Field required"),
        ({"account": ACCOUNT | {"zip": 1}}, "account.zip: this key is unknown"),
        ({"account": ACCOUNT | {"merged_into": "y"}}, "account.merged_into: this key is unknown"),
        ({"account": ACCOUNT | {"merged_at": "2023-06-01"}}, "account.merged_at: this key is unknown"),
        (
            {"account": ACCOUNT, "usage": [{"used_at": "2023-06-01", "first_known_at": "2023-06-01"}]},
            "usage.0.first_known_at: this key is unknown",
        ),
        ({"account": ACCOUNT | {"seats": 3.0}}, "account.seats: Input should be a valid integer"),
        ({"account": ACCOUNT | {"seats": -1}}, "account.seats: Input should be greater than or equal to 0"),
        ({"account": ACCOUNT | {"seats": True}}, "account.seats: Input should be a valid integer"),
        ({"account": ACCOUNT | {"rank": 1.23456}}, "account.rank: Decimal input should have no more than 4 decimal"),
        ({"account": ACCOUNT | {"created_at": "2023-05-01T10:00"}}, "account.created_at: .* has no time zone"),
        ({"account": ACCOUNT | {"created_at": 1700000000}}, "account.created_at: Input should be a valid string"),
        ({"account": ACCOUNT | {"created_at": "0001-01-01T00:00:00+10:00"}}, "outside the years 1 to 9999"),
        ({"account": ACCOUNT, "usage": [{"used_at": "soon"}]}, "usage.0.used_at: 'soon' is not an ISO date"),
        ({"account": ACCOUNT, "usage": [{"used_at": "2023-06-01", "count": 2**63}]}, "usage.0.count: .* less than"),
        (
            {"account": ACCOUNT, "usage": [{"used_at": "2023-06-01", "account_id": "y"}]},
            "account_id: this key is unknown",
        ),
        ({"account": ACCOUNT, "purchases": [{"purchased_at": "2023-06-01"}]}, "purchases.0.amount: Field required"),
        (
            {"account": ACCOUNT, "tickets": [{"ticket_id": "1", "opened_at": "2023-06-01", "priority": "P1"}]},
            "tickets.0.priority: Input should be 'low', 'normal', 'high' or 'urgent'",
        ),
        (
            {"account": ACCOUNT, "tickets": [{"ticket_id": "1", "opened_at": "2023-06-01"}] * 2},
            "tickets.1: there is an earlier row of ticket_id",
        ),
        (
            {
                "account": ACCOUNT,
                "tickets": [{"ticket_id": "1", "opened_at": "2023-06-02", "resolved_at": "2023-06-01"}],
            },
            "tickets.0.resolved_at: is before opened_at",
        ),
        (
            {
                "account": ACCOUNT,
                "purchases": [
                    {"purchased_at": "2023-06-01", "amount": "1", "currency": currency} for currency in ("eur", "JPY")
                ],
            },
            "^.*purchases.1.currency: is not EUR: convert the amounts",
        ),
        (
            {"account": ACCOUNT, "usage": [{"used_at": "2023-06-01"}] * (score_requests.MAX_EVENT_ROWS + 1)},
            "usage: .* at most 10000",
        ),
    ],
)
def test_a_wrong_item_names_the_field_and_leaves_the_others(reader: ScoreRequestReader, item: Any, said: str) -> None:
    assert re.search(said, fault(reader, item))


def test_spaces_around_ids_and_texts_mean_nothing_as_in_tables(reader: ScoreRequestReader) -> None:
    spaces = "".join(map(chr, (0x20, 0xA0, 0x202F, 0x3000, 0x2003)))
    kept = duckdb.connect().execute(f"SELECT trim('{spaces}A-1\t{spaces}')").fetchall()[0][0]  # the test's own words
    posted = {"account": {"account_id": f"{spaces}A-2{spaces}", "created_at": "2024-01-01", "region": " north "}}
    request = read(reader, f"{spaces}A-1\t{spaces}", posted, f" {spaces}")
    assert request.items[0] == kept == "A-1\t"
    account = request.items[1]["account"]
    assert (account["account_id"], account["region"]) == ("A-2", "north")
    assert request.items[2].error.code == "invalid"


def test_an_account_posted_twice_is_wrong_both_times(reader: ScoreRequestReader) -> None:
    asked = read(reader, {"account": ACCOUNT}, {"account": ACCOUNT}, {"account": ACCOUNT | {"account_id": "y"}})
    assert [isinstance(item, RejectedAccount) for item in asked.items] == [True, True, False]


def test_a_rejected_item_keeps_its_name(reader: ScoreRequestReader) -> None:
    asked = read(reader, {"account": {"account_id": "x"}})
    assert isinstance(asked.items[0], RejectedAccount)
    assert asked.items[0].account_id == "x"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", HTTPStatus.BAD_REQUEST, "Invalid JSON"),
        (b"{'accounts': []}", HTTPStatus.BAD_REQUEST, "Invalid JSON"),
        (b"\xff\xfe\x00", HTTPStatus.BAD_REQUEST, "Invalid JSON"),
        (b'{"accounts": ["\\ud800"]}', HTTPStatus.BAD_REQUEST, "Invalid JSON"),
        (b"[" * 300, HTTPStatus.BAD_REQUEST, "recursion limit"),
        (b"[" * 100_000, HTTPStatus.UNPROCESSABLE_ENTITY, "30,000 rows"),
        (b'{"accounts": [' + b"9" * 10_000 + b"]}", HTTPStatus.BAD_REQUEST, "Invalid JSON"),
        (b"null", HTTPStatus.UNPROCESSABLE_ENTITY, "should be an object"),
        (b"{}", HTTPStatus.UNPROCESSABLE_ENTITY, "accounts: Field required"),
        (b'{"accounts": []}', HTTPStatus.UNPROCESSABLE_ENTITY, "at least 1"),
        (
            b'{"accounts": ["a"], "as_off": "2024-01-01"}',
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "as_off: this key is unknown",
        ),
        (b'{"accounts": ["a"], "as_of": "2024"}', HTTPStatus.UNPROCESSABLE_ENTITY, "as_of: '2024' is not an ISO date"),
        (b'{"accounts": ["a"], "detail": 1}', HTTPStatus.UNPROCESSABLE_ENTITY, "detail: .*drivers"),
        (json.dumps({"accounts": ["a"] * 101}).encode(), HTTPStatus.UNPROCESSABLE_ENTITY, "at most 100"),
    ],
)
def test_a_request_that_is_wrong_as_a_whole_is_refused(
    reader: ScoreRequestReader, body: bytes, status: int, said: str
) -> None:
    with pytest.raises(ApiError, match=said) as caught:
        reader.read(body)
    assert caught.value.status == status


def test_nan_is_no_number(reader: ScoreRequestReader) -> None:
    body = json.dumps({"accounts": ["a", {"account": ACCOUNT | {"rank": float("nan")}}]}).encode()
    item = reader.read(body).items[1]
    assert isinstance(item, RejectedAccount)
    assert item.error.message == "account.rank: Input should be a finite number"


@given(JSON)
@examples(300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_comes_is_read_or_refused(reader: ScoreRequestReader, value: Any) -> None:
    for body in (json.dumps(value), json.dumps({"accounts": value}), json.dumps({"accounts": [value, "good"]})):
        try:
            asked = reader.read(body.encode("utf-8", "surrogatepass"))
        except ApiError:
            continue
        assert all(isinstance(item, str | dict | RejectedAccount) for item in asked.items)


@given(st.binary(max_size=40), st.integers(0, 200))
@examples(200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_good_body_with_rubbish_in_it_is_read_or_refused(reader: ScoreRequestReader, rubbish: bytes, at: int) -> None:
    body = json.dumps(
        {"accounts": ["a", {"account": ACCOUNT, "usage": [{"used_at": "2023-06-01", "count": 2}]}]}
    ).encode()
    spoilt = body[:at] + rubbish + body[at + len(rubbish) :]
    with contextlib.suppress(ApiError):
        assert reader.read(spoilt).items
