"""The index of accounts, against what Python's own sort, filters and sums say of the same rows."""

import json
import threading

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from features.core.errors import GarrisonError
from features.state import database
from monitoring.binding import assignments
from monitoring.console.accounts.account_ids import AccountIds
from monitoring.console.accounts.account_index import AccountIndex
from monitoring.console.sign_in.access import EVERYTHING, NOTHING, RowFilter
from serving.scoring.account_order import COLUMNS
from tests.support.commands import run_command
from tests.support.property_tests import examples
from tests.support.scored_company import write_company, write_scores

ACCOUNTS = [
    {"id": "A1", "name": "Zebra", "owner": "Ann <Ann@us.example>", "region": "north"},
    {"id": "A2", "name": "ant", "owner": "ben@us.example", "parent": "A1", "region": "south"},
    {"id": "A3", "name": "Ант 蚂蚁", "owner": "a@x.example; b@x.example"},
    {"id": "A4", "owner": "ben@us.example", "region": "north"},
    {"id": "new", "name": "Not scored yet", "owner": "ben@us.example"},
]
SCORES = [
    {"account_id": "A1", "risk": 0.5, "before": 0.1, "value": 100, "at_risk": 50, "tier": "B", "recommendation": "act"},
    {"account_id": "A2", "risk": 0.5, "before": 0.6, "value": 10, "at_risk": 5, "tier": "A"},
    {"account_id": "A3", "risk": 0.1, "value": 40, "at_risk": 4, "tier": "A", "recommendation": "leave_alone"},
    {"account_id": "A4", "in_cohort": False},
]


@pytest.fixture
def opened(tmp_path):
    settings = write_company(tmp_path, ACCOUNTS)
    write_scores(settings, SCORES)
    with database.open(settings) as store:
        yield settings, store, AccountIndex.open(settings, store)


def list_ids(index, **rest):
    return [row.account_id for row in index.list_accounts(EVERYTHING, **rest).rows]


def sort_plainly(rows, column, *, descending):
    """Sort as the index promises: values, then ids, in the direction; those without a value last, by id."""

    def key(row):
        value = getattr(row, column)
        return (value.lower() if isinstance(value, str) else value, row.account_id)

    known = sorted((r for r in rows if getattr(r, column) is not None), key=key, reverse=descending)
    return known + sorted((r for r in rows if getattr(r, column) is None), key=lambda r: r.account_id)


FEW = st.none() | st.sampled_from([0.0, 0.25, 0.5, 1.0])
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "risk": FEW,
            "before": FEW,
            "value": FEW,
            "at_risk": FEW,
            "tier": st.none() | st.sampled_from("ABE"),
            "recommendation": st.none() | st.sampled_from(["act", "sell"]),
            "in_cohort": st.booleans() | st.none(),
        }
    ),
    min_size=1,
    max_size=24,
)


@pytest.fixture(scope="module")
def company(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    names = ["Ostrich", "ostrich", "Ωmega", "", "Ztar 9", "'; DROP TABLE accounts --"]
    owners = ["ann@us.example", "BEN@us.example", ""]
    accounts = [
        {"id": f"{n:02}", "name": names[n % 6], "owner": owners[n % 3], "region": ["", "north"][n % 2]}
        for n in range(24)
    ]
    settings = write_company(folder, accounts)
    with database.open(settings) as store:
        yield settings, store


@given(ROWS, st.sampled_from(COLUMNS), st.booleans(), st.integers(1, 9), st.sampled_from(["all", "customers"]))
@examples(12, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_pages_by_key_are_a_plain_sort(company, rows, column, descending, limit, show):  # noqa: PLR0913, PLR0917  # drawn
    settings, store = company
    write_scores(settings, [{"account_id": f"{n:02}", **row} for n, row in enumerate(rows)])
    index = AccountIndex.open(settings, store)
    whole = index.list_accounts(EVERYTHING, limit=1000, filters={"show": show}).rows
    order, after, pages, total = ("-" if descending else "") + column, None, [], None
    while True:
        page = index.list_accounts(EVERYTHING, order=order, after=after, limit=limit, filters={"show": show})
        pages += page.rows
        assert total in {None, page.total}
        total, after = page.total, page.after
        if after is None:
            break
        assert len(page.rows) == limit
    assert pages == sort_plainly(whole, column, descending=descending)
    assert total == len(whole)


def test_what_is_listed(opened):
    _, _, index = opened
    assert list_ids(index) == ["A1", "A2", "A3"], "the most value at risk first, customers alone"
    assert list_ids(index, order="name", filters={"show": "all"}) == ["A2", "new", "A1", "A3", "A4"]
    first = index.list_accounts(EVERYTHING).rows[0]
    assert (first.owner, first.change, first.region) == ("ann@us.example", pytest.approx(0.4), "north")
    assert index.find_account(EVERYTHING, "A3").owner is None, "several addresses are no owner"
    assert index.find_account(EVERYTHING, "new").risk is None
    assert index.find_account(EVERYTHING, "' OR TRUE --") is None


@pytest.mark.parametrize(
    ("given_filters", "search", "expected"),
    [
        ({"tier": "A"}, "", ["A2", "A3"]),
        ({"owner": "BEN@us.example"}, "", ["A2"]),
        ({"owner": "none", "region": ""}, "", ["A3"]),
        ({"region": "north", "show": "all"}, "", ["A1", "A4"]),
        ({"recommendation": "act"}, "", ["A1"]),
        ({"recommendation": "none"}, "", ["A2"]),
        ({"show": "worse"}, "", ["A1"]),
        ({"accounts": AccountIds(("A3", "nobody"))}, "", ["A3"]),
        ({}, " ANT ", ["A2"]),
        ({}, "蚂", ["A3"]),
        ({"show": "all"}, "a4", ["A4"]),
        ({}, "%", []),
    ],
)
def test_filters_and_search(opened, given_filters, search, expected):
    _, _, index = opened
    assert sorted(list_ids(index, filters=given_filters, search=search)) == expected
    assert index.sum_all(EVERYTHING, filters=given_filters, search=search).accounts == len(expected)


def test_sums(opened):
    _, _, index = opened
    tiers = index.sum_accounts(EVERYTHING, "tier")
    assert [(t.key, t.accounts, t.value, t.value_at_risk) for t in tiers] == [("A", 2, 50, 9), ("B", 1, 100, 50)]
    assert tiers[0].risk == pytest.approx(0.3)
    owners = index.sum_accounts(EVERYTHING, "owner")
    assert [o.key for o in owners] == ["ann@us.example", "ben@us.example", None]
    assert [o.worse for o in owners] == [1, 0, 0]


def test_nobody_sees_what_the_filter_hides(opened):
    _, _, index = opened
    ben = RowFilter("owner IN (?)", ("ben@us.example",))
    assert [r.account_id for r in index.list_accounts(ben, filters={"show": "all"}, order="account_id").rows] == [
        "A2",
        "A4",
        "new",
    ]
    assert index.find_account(ben, "A1") is None
    assert index.find_account(ben, "A2").account_id == "A2"
    assert index.sum_all(ben).value_at_risk == 5
    assert index.list_accounts(NOTHING, filters={"show": "all"}).total == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"order": "why; DROP"},
        {"order": "--risk"},
        {"filters": {"show": "secrets"}},
        {"filters": {"1=1 OR tier": "A"}},
        {"after": "Zm9v"},
        {"after": "*"},
        {"order": "name", "after": "WzEsICJBMSJd"},
    ],
)
def test_what_is_none_is_refused(opened, wrong):
    _, _, index = opened
    with pytest.raises(GarrisonError):
        index.list_accounts(EVERYTHING, **wrong)


def test_a_key_whose_account_has_gone_still_begins_a_page(opened):
    settings, _, index = opened
    after = index.list_accounts(EVERYTHING, limit=2).after
    write_scores(settings, [SCORES[0], SCORES[2], {"account_id": "A9", "at_risk": 4.5}], as_of="2025-02-01")
    assert index.refresh()
    assert list_ids(index, after=after) == ["A9", "A3"]


def test_a_run_that_lands_is_taken_up(opened):
    settings, _, index = opened
    assert not index.refresh()
    before = index.version
    at = write_scores(settings, [{"account_id": "A4", "risk": 0.9, "at_risk": 9}], as_of="2025-02-01")
    assert index.refresh()
    assert index.as_of == at
    assert index.version != before
    assert list_ids(index) == ["A4"]


def test_a_run_that_cant_be_read_leaves_the_old_one(opened):
    settings, _, index = opened
    (settings.var / "scores" / "2025-03-01T000000Z.parquet").write_bytes(b"no table")
    assert not index.refresh()  # it is put aside
    assert list_ids(index) == ["A1", "A2", "A3"]


def test_requests_under_way_see_one_run(opened):
    settings, _, index = opened
    done, seen = threading.Event(), set()

    def read():
        while not done.is_set():
            page = index.list_accounts(EVERYTHING, filters={"show": "all"})
            seen.add((page.as_of.month, page.total, len(page.rows), page.rows[0].account_id))

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for month in range(2, 7):
        write_scores(settings, [{"account_id": f"M{month}", "at_risk": 99}], as_of=f"2025-{month:02}-01")
        index.refresh()
    done.set()
    for reader in readers:
        reader.join()
    assert seen <= {(1, 5, 5, "A1"), *((m, 6, 6, f"M{m}") for m in range(2, 7))}


def test_an_assigned_owner_counts(opened):
    _, store, index = opened
    with store.writing() as connection:
        assignments.assign_owner(connection, "A1", owner="Cat@us.example", by="boss", reason="moved")
    assert index.refresh()
    assert index.find_account(EVERYTHING, "A1").owner == "cat@us.example"
    assert list_ids(index, filters={"owner": "cat@us.example"}) == ["A1"]
    with store.writing() as connection:
        assignments.assign_owner(connection, "A1", owner=None, by="boss", reason="back")
    assert index.refresh()
    assert index.find_account(EVERYTHING, "A1").owner == "ann@us.example"


def test_before_anything_is_scored(tmp_path):
    settings = write_company(tmp_path, ACCOUNTS)
    with database.open(settings) as store:
        index = AccountIndex.open(settings, store)
        assert list_ids(index) == []
        assert len(list_ids(index, filters={"show": "all"})) == 5
        write_scores(settings, SCORES)
        assert index.refresh()
        assert list_ids(index) == ["A1", "A2", "A3"]


def test_the_command_prints_the_same(opened, tmp_path):
    settings, _, index = opened
    config = ("--config", settings.file, "--json", tmp_path / "out.json")
    done = run_command("monitoring", "accounts", "--limit", 2, *config)
    assert done.returncode == 0, done.stderr
    assert "2 of 3 accounts as of 2025-01-01" in done.stdout
    assert "tier A: 2 accounts, 9 of 50 EUR at risk" in done.stdout
    result = json.loads((tmp_path / "out.json").read_text())
    page = index.list_accounts(EVERYTHING, limit=2)
    assert result["accounts"] == [row.as_dict() for row in page.rows]
    assert result["after"] == page.after
    rest = run_command("monitoring", "accounts", "--after", result["after"], *config)
    assert "A3" in rest.stdout
    assert "A1" not in rest.stdout
    assert run_command("monitoring", "accounts", "--order", "luck", *config).returncode == 1


def test_an_assignment_reaches_bindings(opened):
    settings, _, _ = opened
    config = ("--config", settings.file)
    assert run_command("monitoring", "assign", "A1", "--to", "Cat@us.example", *config).returncode == 1, "no reason"
    done = run_command("monitoring", "assign", "A1", "--to", "Cat@us.example", "--reason", "moved", *config)
    assert done.returncode == 0, done.stderr
    assert "Cat@us.example" in run_command("monitoring", "who", "A1", *config).stdout
    assert "ben@us.example" in run_command("monitoring", "who", "A2", *config).stdout
    assert run_command("monitoring", "assign", "A1", "--withdraw", "--reason", "back", *config).returncode == 0
    assert "Ann@us.example" in run_command("monitoring", "who", "A1", *config).stdout
    assert run_command("monitoring", "assign", "A9", "--to", "c@us.example", "--reason", "x", *config).returncode == 1
