"""Facts, windows and formulas of posted rows in plain Python: those that DuckDB and the batch give, or none."""

from contextlib import contextmanager
from decimal import Decimal

import ibis
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from features import catalog
from features.definitions.feature import DAY, Stream, WindowedMeasure
from features.definitions.sql_expression import declare_numbered_table, group_by_stream
from features.engine import facts, one_account, snapshots
from features.rows.kinds import NotComputable
from features.rows.queries import RowQuery
from features.sources.history import History
from tests.support import adversarial_history
from tests.support.adversarial_history import AS_OFS, generated, settings
from tests.support.property_tests import examples

ASKS = group_by_stream(catalog.BUILT_IN.select_account_features(("tickets", "usage", "purchases", "touches")))
ROW = {"account_id": "a", "known_at": 0}
TICKET = ROW | {"ticket_id": "1", "opened_at": 0}
PURCHASE = ROW | {"purchased_at": 0, "amount": Decimal(1)}
LATE = 253_000_000_000_000_000  # in the year 9987
USE = ROW | {"used_at": 0}
NAMED = {stream.name: stream for stream in ASKS}


def tame(tables):
    """The same without what Python leaves to the database."""
    instead = {Decimal(10**12): Decimal(10**8), Decimal(-(10**12)): Decimal("-99999999.9999"), 10**10: 40, "PRİCE": "É"}
    return {t: [{c: instead.get(v, v) for c, v in row.items()} for row in rows] for t, rows in tables.items()}


def rows_of(facts):
    """Facts in an order of their own, without the codes of different values, which are in no order."""
    distinct = {a.measure.name for asks in ASKS.values() for a in asks if a.measure.how == "distinct"}
    values = {n: column for n, column in facts.values.items() if n not in distinct}  # noqa: PD011  # no frame's
    columns = {"account": facts.account, "t": facts.t, "known": facts.known, "until": facts.until, **values}
    frame = pd.DataFrame({name: column for name, column in columns.items() if column is not None})
    return frame.sort_values(list(frame), ignore_index=True)


@contextmanager
def pair(tables):
    """Posted rows, and the same where the database is always asked."""
    with History.from_rows(settings(), tables) as posted, History.from_rows(settings(), tables) as asked:
        asked.rows = None
        yield posted, asked


def both(stream, tables, accounts=(0, 99), since=-(2**63)):
    """A stream's facts in Python, None where it can't, and as the database tells them."""
    with pair(tables) as histories:
        found, told = (facts.read_facts(h, stream, ASKS[stream], accounts=accounts, since=since) for h in histories)
        return (found if in_python(histories[0]) else None), told


def in_python(history):
    """Whether no database was asked so far."""
    return "_connection" not in vars(history)


def assert_same(found, told):
    pd.testing.assert_frame_equal(rows_of(found), rows_of(told))
    assert found.scale == told.scale
    assert list(found.values) == list(told.values)  # no frame's
    order = np.lexsort((found.t, found.account))
    assert (found.t[order] == found.t).all()
    for name, values in found.values.items():  # noqa: PD011  # no frame's
        assert values.dtype == told.values[name].dtype == np.int64  # noqa: PD011  # no frame's
        assert (values == -1).sum() == (told.values[name] == -1).sum()  # noqa: PD011  # no frame's
        assert len(set(values)) == len(set(told.values[name]))  # noqa: PD011  # no frame's


def posted(**tables):
    return {"accounts": [{"account_id": "a", "created_at": -1}], **tables}


@pytest.mark.parametrize("name", NAMED)
def test_facts_in_python_are_those_of_the_database(name):
    found, told = both(NAMED[name], tame(generated(7)))
    assert found is not None
    assert len(told.t)
    assert_same(found, told)


@pytest.mark.parametrize("name", ["orders", "tickets_opened", "billed"])
def test_only_some_accounts_since_an_instant_are_read(name):
    tables, since = tame(generated(8)), 1_715_000_000_000_000
    found, told = both(NAMED[name], tables, (3, 9), since)
    assert found is not None
    assert 0 < len(told.t) < len(both(NAMED[name], tables)[1].t)
    assert_same(found, told)


def drawn(draw):
    """A few rows of two accounts."""
    tables = {
        "tickets": adversarial_history.ticket,
        "usage": adversarial_history.usage,
        "purchases": adversarial_history.purchase,
        "touches": adversarial_history.touch,
    }
    rows = {t: [row(draw, draw.choice("ab")) for _ in range(draw.randrange(5))] for t, row in tables.items()}
    accounts = [{"account_id": account, "created_at": 0} for account in "ab"]
    return {"accounts": accounts, **rows}


@given(st.randoms(use_true_random=False))
@examples(12, suppress_health_check=[HealthCheck.too_slow])
def test_facts_of_any_rows_are_those_of_the_database(draw):
    with pair(tame(drawn(draw))) as histories:
        for stream, asks in ASKS.items():
            assert_same(*(facts.read_facts(h, stream, asks, accounts=(0, 1), since=-(2**63)) for h in histories))
        assert in_python(histories[0])


@pytest.mark.parametrize("change", [tame, dict], ids=["tame", "adversarial"])
def test_snapshots_are_the_same_to_the_last_bit(change):
    with pair(change(generated(7))) as histories:
        found, told = (snapshots.build(history, AS_OFS) for history in histories)
        pd.testing.assert_frame_equal(found, told, check_exact=True)
        assert in_python(histories[0]) == (change is tame)


@pytest.mark.parametrize("change", [tame, dict], ids=["tame", "adversarial"])
def test_columns_of_one_account_are_the_snapshots_of_the_batch(change):
    with pair(change(generated(7))) as (history, asked):
        for as_of in AS_OFS:
            assert_columns(one_account.build_columns(history, as_of), snapshots.build(asked, [as_of]))
        assert in_python(history) == (change is tame)


@given(st.randoms(use_true_random=False))
@examples(3, suppress_health_check=[HealthCheck.too_slow])
def test_columns_of_any_account_are_the_snapshots_of_the_batch(draw):
    with pair(tame(drawn(draw))) as (history, asked):
        as_of = draw.choice(AS_OFS)
        assert_columns(one_account.build_columns(history, as_of), snapshots.build(asked, [as_of]))


def assert_columns(found, frame):
    assert set(found) == set(frame)
    assert (found["as_of"] == frame["as_of"].astype("int64")).all()
    for name in frame.columns.drop("as_of"):
        told = frame[name].to_numpy()
        text = found[name].dtype == object
        np.testing.assert_array_equal(
            found[name], np.where(pd.isna(told), None, told) if text else told, strict=not text
        )


@pytest.mark.parametrize(
    ("name", "tables"),
    [
        ("purchases", {"purchases": [PURCHASE | {"amount": Decimal("900719925474.0993")}]}),
        ("orders", {"purchases": [PURCHASE | {"amount": Decimal("900719925474.0991")}] * 2}),
        ("billed", {"purchases": [PURCHASE | {"purchased_at": LATE, "term_ends_at": LATE, "billing_months": 12_000}]}),
        ("tickets_opened", {"tickets": [TICKET | {"topic": "PRİCE"}]}),
        ("tickets_opened", {"tickets": [TICKET | {"topic": "Ფასი"}]}),
    ],
    ids=["decimal", "sum", "calendar", "letter", "alphabet"],
)
def test_what_python_does_not_tell_exactly_the_database_is_asked(name, tables):
    found, told = both(NAMED[name], posted(**tables))
    assert found is None
    assert len(told.t)


@pytest.mark.parametrize(
    ("name", "tables"),
    [
        ("usage", {"usage": [USE | {"count": 2**53 + 1}]}),
        ("tickets_open_month", {"tickets": [TICKET | {"opened_at": 2**53 - 1}]}),
        ("billed", {"purchases": [PURCHASE | {"term_ends_at": DAY, "billing_months": 12_000}]}),
    ],
)
def test_whole_numbers_that_no_float_holds_are_exact(name, tables):
    found, told = both(NAMED[name], posted(**tables))
    assert found is not None
    assert_same(found, told)


@pytest.mark.parametrize(
    "rows",
    [
        lambda t: t.limit(1),
        lambda t: t.distinct(),
        lambda t: t.join(declare_numbered_table("usage"), "account_id"),
        lambda t: t.group_by("account_id").agg(x=t.amount.mean()),
        lambda t: t.group_by("account_id").agg(x=t.amount.sum(where=t.paid)),
        lambda t: t.agg(x=t.amount.sum()),
        lambda t: t.mutate(x=ibis.row_number()),
        lambda t: t.mutate(x=t.purchased_at.max()),
        lambda t: t.mutate(x=t.quantity.cast("float64")),
        lambda t: t.mutate(x=t.quantity * 2),
        lambda t: t.mutate(x=(t.billing_months * 0.1).floor()),
        lambda t: t.mutate(x=(t.billing_months / 0.12345678901234567).floor()),
        lambda t: t.mutate(x=ibis.greatest(t.amount, 0.5) > 1),
        lambda t: t.mutate(x=t.amount.cast("int64")),
        lambda t: t.mutate(x=t.billing_months.cast("int8")),
        lambda t: t.mutate(x=t.product < "b"),
        lambda t: t.mutate(x=t.product.re_search("^b")),
        lambda t: t.mutate(x=t.product.length()),
        lambda t: t.mutate(x=t.product.hash()),
        lambda t: t.mutate(x=t.amount > Decimal("0.0001")),
        lambda t: t.mutate(x=t.purchased_at + (2**53 + 1)),
        lambda t: t.mutate(x=ibis.timestamp("1970-01-01") > ibis.timestamp("1971-01-01")),
    ],
)
def test_what_python_does_not_know_is_beyond_it(rows):
    with pytest.raises(NotComputable):
        RowQuery(rows(declare_numbered_table("purchases")))


@pytest.mark.parametrize(
    "value",
    [
        lambda t: t.purchased_at // t.billing_months,
        lambda t: t.purchased_at % t.billing_months,
        lambda t: (t.purchased_at / t.billing_months).floor(),
        lambda t: t.purchased_at * t.purchased_at,
        lambda t: (t.purchased_at.cast("float64") * 1e300 * t.purchased_at.cast("float64") * 1e300).floor(),
    ],
)
def test_values_that_python_does_not_know_are_beyond_it(value):
    purchases = declare_numbered_table("purchases")
    rows = RowQuery(purchases.select(x=value(purchases)))
    with (
        History.from_rows(
            settings(), posted(purchases=[PURCHASE | {"purchased_at": 2**40, "billing_months": 0}])
        ) as history,
        pytest.raises(NotComputable),
    ):
        rows.run(history.rows.tables["purchases"])


def own(t):
    """Expressions such as a company's own features may have."""
    return {
        "floor": t.purchased_at // t.billing_months,
        "remainder": -t.purchased_at % t.billing_months,
        "quotient": (t.purchased_at / 7.5).floor(),
        "sum": t.paid.cast("int64") + t.billing_months * t.billing_months,
        "least": ibis.least(t.term_starts_at, t.term_ends_at, t.purchased_at),
        "greatest": ibis.greatest(t.amount, 0),
        "chosen": ibis.ifelse(t.paid, t.amount, -t.amount.abs()),
        "not_0": t.list_price.nullif(0),
        "float": ibis.ifelse(t.amount.cast("float64") >= 99.99, t.quantity.cast("float64"), 0.1).floor(),
        "among": t.billing_months.isin([1, 3]),
        "among_money": t.amount.isin([t.list_price, 0]),
        "either": t.product.isin(["berth", "x"]) | (t.kind == "new"),
        "but": (t.product != "berth") & ~t.paid,
        "more": (t.amount >= 1) & (t.amount <= t.list_price),
        "found": t.product.lower().re_search("ber|cra"),
        "is_paid": t.paid == ibis.literal(True),
        "first": ibis.coalesce(t.kind, t.product, "none") == "none",
    }


def test_operations_of_ones_own_are_those_of_the_database():
    tables = tame(generated(9))
    tables["purchases"] = [row for row in tables["purchases"] if row["billing_months"] != 0]
    purchases = declare_numbered_table("purchases")
    rows = purchases.select("account_id", **own(purchases))
    sql = ibis.to_sql(rows, dialect="duckdb")
    with History.from_rows(settings(), tables) as history:
        query, parts = RowQuery(rows), []
        for number, each in enumerate(history.rows.by_account):
            parts.append(pd.DataFrame(query.run(each["purchases"])).assign(account_id=number))
        found = pd.concat(parts).astype("float64")
        numbers = "(SELECT * EXCLUDE (account_id, account_no), account_no AS account_id FROM purchases)"
        told = history.query(sql.replace('"numbered_purchases"', numbers))
    money = {c: told[c].astype("float64") * 10_000 for c in ("greatest", "chosen", "not_0")}
    told = told.assign(**{c: column.round() for c, column in money.items()}).astype("float64")
    found, told = (frame.sort_values(list(frame), ignore_index=True) for frame in (found, told))
    assert len(told) > 100
    pd.testing.assert_frame_equal(found, told, check_exact=True)


def test_a_group_of_nulls_is_one():
    tables = posted(purchases=[PURCHASE | {"order_id": None, "amount": Decimal(2), "quantity": None}] * 3)

    def rows(t):
        return t.group_by("account_id", "quantity").agg(x=t.amount.sum(), y=t.margin.sum())

    with History.from_rows(settings(), tables) as history:
        found = RowQuery(rows(declare_numbered_table("purchases"))).run(history.rows.tables["purchases"])
    assert found == {"account_id": [0], "quantity": [None], "x": [60_000], "y": [None]}


def test_a_stream_of_ones_own_that_python_does_not_know_is_read_all_the_same():
    own = Stream("own", "purchases", lambda t: t.mutate(t=t.purchased_at, known=t.known_at, x=t.product.length()))
    asks = [WindowedMeasure(own.sum("x"), None, 0)]
    with History.from_rows(settings(), posted(purchases=[PURCHASE | {"product": "berth"}])) as history:
        found = facts.read_facts(history, own, asks, accounts=(0, 0), since=-1)
    assert found.values["own_sum_x"].tolist() == [5]  # noqa: PD011  # no frame's
