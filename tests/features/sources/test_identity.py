"""Ids of other systems find the account they named at the time; accounts that were merged are one from then on."""

import json
import random
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from features.__main__ import app
from features.core.errors import SettingsError
from features.core.timestamps import to_micros
from features.diagnostics import identity_report
from features.engine import snapshots
from features.sources import identity
from features.sources.history import History
from tests.support.property_tests import examples, is_nightly

WHO = "system,external_id,account_id,valid_from,valid_until"
MERGED = "account_id,created_at,merged_into,merged_at"
AMONG = "account_id is not among the identities of tenant"
SEVERAL = "account_id names several accounts in tenant"
USED = "account_id,used_at,user_id"


def day(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def at(text):
    return to_micros(day(text))


def people(company, names="ABC"):
    """So many accounts, without purchases that would name others."""
    company.table("accounts", "account_id,created_at", *(f"{n},2020-01-01" for n in names))


def known(company, *identities, header=WHO):
    company.only("identities", header, *identities)


def used(company, *rows, **spec):
    """Rows of usage, each told from the others by its user."""
    company.only("usage", USED, *rows, **{"system": "tenant", **spec})


def whose(company):
    """The account of each user's row; those of bad rows are not there."""
    return dict(company.read("usage", "user_id, account_id"))


def whys(company, table="usage", column="user_id"):
    company.checked(table)
    return {raw[column]: why for raw, why in company.quarantined(table)}


def report(company):
    settings = company.settings()
    with company.open() as history:
        return identity_report.build_identity_report(history, settings)


# Ids


def test_an_account_may_have_several_ids_in_a_system(company):
    known(company, "tenant,t1,A,,", "tenant,t2,A,,", "tenant,t3,B,,", "billing,t1,B,,")
    used(company, "t1,2024-01-01,x", "t2,2024-01-01,y", "t3,2024-01-01,z")
    assert whose(company) == {"x": "A", "y": "A", "z": "B"}


def test_a_table_without_a_system_meets_no_identities(company):
    spec = company.settings().tables["purchases"]
    assert identity.resolve_ids("SELECT 1", spec, "purchased_at") == "SELECT 1"
    assert identity.assign_to_survivors("SELECT 1", "purchases", company.settings()) == "SELECT 1"


def test_an_id_is_looked_up_at_the_time_of_its_event(company):
    known(company, "tenant,t,A,,2024-02-01", "tenant,t,B,2024-02-01,2024-03-01", "tenant,t,C,2024-04-01,")
    people(company)
    last, later = "2024-01-31T23:59:59.999999Z", "2024-03-31T23:59:59.999999Z"
    used(company, "t,1980-01-01,a", f"t,{last},b", "t,2024-02-01,c", "t,2024-03-01,d", f"t,{later},e", "t,2024-04-01,f")
    assert whose(company) == {"a": "A", "b": "A", "c": "B", "f": "C"}
    assert whys(company) == {"d": AMONG, "e": AMONG}


def test_every_table_is_looked_up_by_the_column_that_dates_it(company):
    known(company, "s,t,A,,2024-02-01", "s,t,B,2024-02-01,")
    for table, header, row in (
        ("tickets", "account_id,opened_at,ticket_id", "t,2024-{},{}"),
        ("purchases", "account_id,purchased_at,amount", "t,2024-{},{}"),
        ("touches", "account_id,touched_at,kind", "t,2024-{},{}"),
        ("lifetimes", "account_id,started_at", "t,2024-{}"),
    ):
        company.only(table, header, row.format("01-09", 0), row.format("02-01", 1), system="s")
        assert company.read(table, "account_id") == [("A",), ("B",)]


def test_what_an_id_is_looked_up_by_is_missed_first(company):
    known(company, "tenant,t,A,2024-01-01,2024-02-01")
    used(company, "t,soon,a", "t,,b", ",2024-01-01,c", "z,soon,d", "t,2024-01-01,e")
    time = "used_at is not a time"
    assert whys(company) == {"a": time, "b": "used_at is missing", "c": "account_id is missing", "d": time}
    (found,) = report(company).tables
    assert (found.rows, found.matched, found.orphans.count, found.rate) == (5, 1, 0, 1.0)


@pytest.mark.parametrize("other", ["B,,", "B,2024-01-01,", "B,,2024-01-02", "B,2024-01-10,2024-01-11", "B,2024-02-29,"])
def test_claims_of_two_accounts_at_one_time_are_both_disbelieved_and_so_are_their_events(company, other):
    known(company, "tenant,t,A,2024-01-01,2024-03-01", f"tenant,t,{other}", "tenant,u,B,,")
    used(company, "t,2024-01-10,x", "u,2024-01-10,y")
    assert company.checked("identities").reasons == {"names several accounts": 2}
    assert whose(company) == {"y": "B"}
    assert whys(company) == {"x": SEVERAL}


@pytest.mark.parametrize("other", ["B,2024-03-01,", "B,,2024-01-01", "B,2024-01-10,2024-01-10", "A,,", "A,2024-01-10,"])
def test_claims_one_after_another_or_of_one_account_are_no_conflict(company, other):
    known(company, "tenant,t,A,2024-01-01,2024-03-01", f"tenant,t,{other}", "sales,t,B,,")
    used(company, "t,2024-01-10,x")
    assert company.checked("identities").reasons == {}
    assert whose(company) == {"x": "A"}


def test_a_conflict_costs_only_the_claims_in_it_and_the_events_of_their_time(company):
    people(company, "ABCD")
    known(
        company,
        "tenant,t,A,,2024-01-01",
        "tenant,t,B,2024-01-01,2024-03-01",
        "tenant,t,C,2024-02-01,2024-05-01",
        "tenant,t,D,2024-06-01,",
    )
    used(company, "t,2023-01-01,a", "t,2024-01-15,b", "t,2024-04-15,c", "t,2024-05-15,none", "t,2024-07-01,d")
    assert whose(company) == {"a": "A", "d": "D"}
    assert whys(company) == {"b": SEVERAL, "c": SEVERAL, "none": AMONG}
    assert {raw["account_id"] for raw, _ in company.quarantined("identities")} == {"B", "C"}


def test_where_a_claim_in_conflict_repeats_one_that_is_not_the_latter_holds(company):
    known(company, "tenant,t,A,,2024-02-01", "tenant,t,A,2024-01-01,2024-04-01", "tenant,t,B,2024-03-01,")
    used(company, "t,2024-01-15,x", "t,2024-02-15,y")
    assert whose(company) == {"x": "A"}
    assert whys(company) == {"y": SEVERAL}


@pytest.mark.parametrize("bad", ["Z,,", "B,soon,", "B,,never"])
def test_a_bad_row_that_names_another_account_contradicts_all_the_same(company, bad):
    known(company, "tenant,t,A,,", f"tenant,t,{bad}")
    used(company, "t,2024-01-10,x")
    assert company.checked("identities").reasons.pop("names several accounts") == 1
    assert whys(company) == {"x": SEVERAL}


def test_a_validity_that_ends_before_it_begins_is_bad_and_claims_nothing(company):
    known(company, "tenant,t,A,,", "tenant,t,B,2024-02-01,2024-01-01")
    used(company, "t,2024-01-15,x")
    assert company.checked("identities").reasons == {"valid_until is before valid_from": 1}
    assert whose(company) == {"x": "A"}


def test_an_event_counts_once_however_often_its_identity_is_told(company):
    known(company, *["tenant,t,A,,"] * 3, "tenant,t,A,2024-01-01,", "tenant,t,A,2023-01-01,2025-01-01")
    used(company, "t,2024-01-10,x")
    assert company.read("usage", "user_id") == [("x",)]


def covers(row, time):
    return (row[2] is None or row[2] <= time) and (row[3] is None or time < row[3])


def overlap(one, other):
    starts = [r[2] or 0 for r in (one, other)]
    ends = [r[3] or 99 for r in (one, other)]
    return max(starts) < min(ends) and starts[0] < ends[0] and starts[1] < ends[1]


def expected(rows, who, time):
    """The account, or why there is none: by looking at every pair of rows."""
    mine = [r for r in rows if r[0] == who]
    doubted = [any(a[1] != b[1] and overlap(a, b) for b in mine) for a in mine]
    believed = {r[1] for r, bad in zip(mine, doubted, strict=True) if not bad and covers(r, time)}
    if believed:
        (account,) = believed
        return account
    return SEVERAL if any(bad and covers(r, time) for r, bad in zip(mine, doubted, strict=True)) else AMONG


@pytest.mark.hypothesis  # so that `make test-nightly` runs it as well, with more seeds
@pytest.mark.parametrize("seed", range(40 if is_nightly() else 2))
def test_any_identities_in_any_order_give_what_looking_at_every_pair_would(company, seed):
    draw = random.Random(seed)  # noqa: S311  # nothing secret here
    bounds = [(s, e) for s in (None, *range(1, 12)) for e in (None, *range(1, 14)) if s is None or e is None or s <= e]
    names = [f"t{n}" for n in range(40)]
    rows = [(w, draw.choice("ABC"), *draw.choice(bounds)) for w in names for _ in range(draw.randint(0, 4))]
    people(company)
    events = [(w, d) for w in names for d in range(1, 14)]
    used(company, *(f"{w},2024-01-{d:02},{w}/{d}" for w, d in events))
    wanted = {f"{w}/{d}": expected(rows, w, d) for w, d in events}
    assert {SEVERAL, AMONG, "A"} <= set(wanted.values())
    for _ in range(2):
        draw.shuffle(rows)
        known(company, *(f"tenant,{w},{a}," + ",".join(f"2024-01-{d:02}" if d else "" for d in b) for w, a, *b in rows))
        assert whose(company) | whys(company) == wanted


def test_an_id_that_names_very_many_accounts_is_one_conflict(company):
    names = [f"a{n}" for n in range(3000)]
    people(company, names)
    known(company, *(f"tenant,n/a,{n},20{i % 20 + 10}-01-01," for i, n in enumerate(names)), "tenant,t,a1,,")
    used(company, "n/a,2024-01-10,x", "t,2024-01-10,y")
    assert (whose(company), whys(company)) == ({"y": "a1"}, {"x": SEVERAL})
    assert report(company).conflicts == identity_report.CountWithExamples(1, ("tenant n/a",))


# E-mail domains


def mailed(company, *rows, **spec):
    used(company, *rows, **{"system": "mail", "match": "email_domain", **spec})


def test_an_address_is_looked_up_by_its_domain_in_any_case(company):
    known(company, "mail,Acme.example,A,,", "mail,@bolt.example,B,,")
    written = ("ann@acme.example", "ANN@ACME.EXAMPLE", "acme.example", '"odd@bolt.example"@acme.example')
    rows = [f"{w},2024-01-01,{n}" for n, w in enumerate(written[:3])]
    quoted = '"' + written[3].replace('"', '""') + '"'
    mailed(company, *rows, f"{quoted},2024-01-01,3", "b@bolt.example,2024-01-01,4")
    assert whose(company) == {"0": "A", "1": "A", "2": "A", "3": "A", "4": "B"}


def test_no_domain_is_guessed(company):
    known(company, "mail,acme.example,A,,")
    mailed(company, "ann@gmail.com,2024-01-01,a", "ann@eu.acme.example,2024-01-01,b", "ann@,2024-01-01,c")
    assert set(whys(company).values()) == {"account_id is not among the identities of mail"}
    assert whose(company) == {}


def test_a_public_domain_belongs_to_whom_identities_say(company):
    known(company, "mail,gmail.com,A,,2024-02-01", "mail,gmail.com,B,2024-02-01,")
    mailed(company, "ann@gmail.com,2024-01-01,a", "bob@gmail.com,2024-03-01,b")
    assert whose(company) == {"a": "A", "b": "B"}


def test_domains_that_differ_in_case_alone_are_one_id(company):
    known(company, "mail,Acme.example,A,,", "mail,acme.example,B,,", "tenant,Acme,A,,", "tenant,acme,B,,")
    mailed(company, "ann@acme.example,2024-01-01,a")
    assert company.checked("identities").reasons == {"names several accounts": 2}
    assert {raw["system"] for raw, _ in company.quarantined("identities")} == {"mail"}


def test_an_address_does_not_speak_for_its_domain(company):
    known(company, "mail,ann@acme.example,A,,", "mail,acme.example,B,,", "tenant,ann@acme.example,A,,")
    mailed(company, "ann@acme.example,2024-01-01,a")
    assert company.checked("identities").reasons == {"external_id is an address, not a domain": 1}
    assert whose(company) == {"a": "B"}


def refused(company):
    with pytest.raises(SettingsError) as error:
        company.settings()
    return str(error.value)


def test_what_is_matched_by_domain_needs_a_system_and_agrees_with_its_other_tables(company):
    known(company, "mail,acme.example,A,,")
    mailed(company, "a@acme.example,2024-01-01,a", system=None)
    del company.toml["tables"]["usage"]["system"]
    assert "tables.usage.match is set, but there is no tables.usage.system" in refused(company)
    mailed(company, "a@acme.example,2024-01-01,a")
    company.toml["tables"]["purchases"]["system"] = "mail"
    assert "tables.usage.match is email_domain, but not that of purchases" in refused(company)
    company.toml["tables"]["purchases"]["match"] = "domain"
    assert "tables.purchases.match" in refused(company)


# Merges


def merged(company, *rows):
    company.only("accounts", MERGED, *rows)


def bore(company):
    """(user, account, known, first known) of all usage."""
    return company.read("usage", "user_id, account_id, known_at, first_known_at")


def test_of_a_merged_account_earlier_events_are_copied_and_later_ones_pass_to_the_survivor(company):
    merged(company, "A,2023-01-01,B,2024-02-01", "B,2023-01-01,,")
    rows = ("A,2024-01-10,1", "A,2024-01-31T23:59:59.999999Z,2", "A,2024-02-01,3", "B,2024-01-10,4")
    company.table("usage", USED, *rows)
    merge, last = at("2024-02-01"), at("2024-02-01") - 1
    first = at("2024-01-10")
    assert bore(company) == [
        ("1", "A", first, None),
        ("1", "B", merge, first),
        ("2", "A", last, None),
        ("2", "B", merge, last),
        ("3", "B", merge, None),
        ("4", "B", first, None),
    ]
    checked = company.checked("usage")
    assert (checked.rows, checked.kept, checked.reasons) == (4, 4, {})


def test_an_event_known_after_the_merge_is_known_to_both_at_the_same_time(company):
    merged(company, "A,2023-01-01,B,2024-02-01", "B,2023-01-01,,")
    company.table("usage", f"{USED},known_at", "A,2024-01-10,1,2024-05-01")
    known_at = at("2024-05-01")
    assert bore(company) == [("1", "A", known_at, None), ("1", "B", known_at, known_at)]


def test_accounts_have_both_columns_of_a_merge_in_any_company(company):
    found = company.read("accounts", "account_id, merged_into, merged_at, typeof(merged_at)")
    assert found == [("A", None, None, "BIGINT"), ("B", None, None, "BIGINT")]
    merged(company, "A,2023-01-01,B,2024-02-01", "B,2023-01-01,,")
    assert company.read("accounts", "merged_into, merged_at") == [("B", at("2024-02-01")), (None, None)]


def test_a_merge_is_no_feature(company):
    merged(company, "A,2023-01-01,B,2024-02-01", "B,2023-01-01,,")
    with company.open() as history:
        assert history.attributes == ()


def test_an_event_passes_along_a_chain_of_merges(company):
    merged(company, "A,2023-01-01,B,2024-02-01", "B,2023-01-01,C,2024-04-01", "C,2023-01-01,,")
    company.table("usage", USED, "A,2024-01-10,1", "A,2024-03-10,2", "A,2024-05-10,3", "C,2024-01-01,4")
    found = [(user, account, known) for user, account, known, _ in bore(company)]
    assert found == [
        ("1", "A", at("2024-01-10")),
        ("1", "B", at("2024-02-01")),
        ("1", "C", at("2024-04-01")),
        ("2", "B", at("2024-03-10")),
        ("2", "C", at("2024-04-01")),
        ("3", "C", at("2024-05-10")),
        ("4", "C", at("2024-01-01")),
    ]


def test_a_survivor_that_was_itself_merged_before_bears_nothing(company):
    merged(company, "A,2023-01-01,B,2024-04-01", "B,2023-01-01,C,2024-02-01", "C,2023-01-01,,")
    company.table("usage", USED, "A,2024-01-10,1", "A,2024-03-10,2", "A,2024-05-10,3", "B,2024-03-10,4")
    found = [(user, account, known) for user, account, known, _ in bore(company)]
    april = at("2024-04-01")
    assert found == [
        ("1", "A", at("2024-01-10")),
        ("1", "C", april),
        ("2", "A", at("2024-03-10")),
        ("2", "C", april),
        ("3", "C", at("2024-05-10")),
        ("4", "C", at("2024-03-10")),
    ]


def test_a_key_stays_unique_within_an_account_and_names_one(company):
    merged(company, "A,2023-01-01,B,2024-02-01", "B,2023-01-01,,")
    rows = ("1,A,2024-01-10", "2,A,2024-03-10", "3,B,2024-01-10", "3,A,2024-01-11")
    company.only("tickets", "ticket_id,account_id,opened_at", *rows)
    assert company.checked("tickets").reasons == {"rows of this ticket_id contradict each other in account_id": 2}
    assert company.read("tickets", "account_id, ticket_id") == [("A", "1"), ("B", "1"), ("B", "2")]


def test_an_id_of_a_merged_account_leads_to_the_survivor(company):
    merged(company, "A,2023-01-01,B,2024-02-01", "B,2023-01-01,,")
    known(company, "tenant,t,A,,")
    used(company, "t,2024-01-10,1", "t,2024-03-10,2")
    assert company.read("usage", "user_id, account_id") == [("1", "A"), ("1", "B"), ("2", "B")]


IN_CIRCLE, UNKNOWN = "merged_into goes round in a circle", "merged_into is not in accounts"


@pytest.mark.parametrize(
    ("rows", "bad"),
    [
        (["A,2023-01-01,A,2024-01-01"], {"A": IN_CIRCLE}),
        (["A,2023-01-01,B,2024-01-01", "B,2023-01-01,A,2024-01-01"], {"A": IN_CIRCLE, "B": IN_CIRCLE}),
        (["A,2023-01-01,Z,2024-01-01"], {"A": UNKNOWN}),
        (["A,2023-01-01,B,2024-01-01", "B,2023-01-01,Z,2024-01-01"], {"A": UNKNOWN, "B": UNKNOWN}),
        (["A,2023-01-01,B,2024-01-01", "B,soon,,"], {"A": UNKNOWN, "B": "created_at is not a time"}),
        (["A,2023-01-01,B,", "B,2023-01-01,,"], {"A": "merged_into is without merged_at"}),
        (["A,2023-01-01,B,soon", "B,2023-01-01,,"], {"A": "merged_at is not a time"}),
        (["A,2023-01-01,,2024-01-01"], {"A": "merged_at is without merged_into"}),
    ],
)
def test_a_merge_that_leads_nowhere_is_bad_with_its_reason(company, rows, bad):
    company.only("purchases", "account_id,purchased_at,amount", "C,2024-01-05,10")
    for order in (rows, rows[::-1]):
        merged(company, *order, "C,2023-01-01,,", "D,2023-01-01,C,2024-01-01")
        assert whys(company, "accounts", "account_id") == bad
        survived = {row[0] for row in company.read("accounts", "account_id")}
        assert survived == {"C", "D"} | ({"B"} if len(rows) > 1 and "B" not in bad else set())


def test_merged_into_and_merged_at_are_mapped_together_and_first_known_at_never(company):
    company.toml["tables"]["accounts"]["columns"]["merged_into"] = "account_id"
    assert "tables.accounts.columns.merged_into needs merged_at as well" in refused(company)
    company.toml["tables"]["purchases"]["columns"]["first_known_at"] = "purchased_at"
    assert "tables.purchases.columns.first_known_at can't be mapped" in refused(company)


# What features see of a merge

START, MERGE = day("2024-01-01"), day("2024-03-01")
moments = st.integers(-60, 119).map(lambda d: START + timedelta(days=d, hours=7)) | st.sampled_from(
    [MERGE, MERGE - timedelta(microseconds=1), MERGE + timedelta(microseconds=1)]
)
lags = st.sampled_from([timedelta(0), timedelta(days=3), timedelta(days=90)])
facts = st.tuples(st.sampled_from("AB"), moments, lags, st.none() | st.integers(0, 90))
histories = st.lists(st.lists(facts, min_size=1, max_size=8), min_size=6, max_size=6)
quiet = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
few = examples(3, phases=[Phase.generate], suppress_health_check=quiet)


def tell(company, pairs, *, merge=None, name=lambda account, _: account):
    """Write a company of pairs of accounts, A0 and B0 and so on; `name` tells whose a fact of an account is."""
    into = {"A": f"B{{}},{merge.isoformat()}" if merge else ",", "B": ","}
    accounts = [f"{w}{n},2020-01-01,{into[w].format(n)}" for n in range(len(pairs)) for w in "AB"]
    company.only("accounts", MERGED, *accounts)
    rows = {"tickets": [], "usage": [], "purchases": []}
    for n, pair in enumerate(pairs):
        for i, (own, t, lag, later) in enumerate(pair):
            when = f"{name(own, t)}{n},{t.isoformat()},{(t + lag).isoformat()}"
            after = "" if later is None else (t + timedelta(days=later)).isoformat()
            rows["tickets"].append(f"{when},{own}{n}/{i},{after},{after and 4}")
            rows["usage"].append(f"{when},{own}{i % 3}")
            rows["purchases"].append(f"{when},{own}{n}/{i},{10 * i + 1},{after}")
    headers = {
        "tickets": "account_id,opened_at,known_at,ticket_id,resolved_at,csat",
        "usage": "account_id,used_at,known_at,user_id",
        "purchases": "account_id,purchased_at,known_at,order_id,amount,term_ends_at",
    }
    for table, header in headers.items():
        company.only(table, header, *(rows[table] or ["A0,2019-01-01,2019-01-01" + ",1" * (header.count(",") - 2)]))


def seen(company, *as_ofs, only):
    with company.open() as history:
        frame = snapshots.build(history, as_ofs)
    # Ranks look at all accounts, of which a merge leaves one fewer.
    alone = [c for c in frame if not c.startswith(("rank_", "parent_"))]
    return frame.loc[frame["account_id"].str.startswith(only), alone].reset_index(drop=True)


@few
@given(pairs=histories)
def test_before_a_merge_no_feature_of_either_account_moves(company, pairs):
    before = [START, MERGE - timedelta(days=1), MERGE - timedelta(microseconds=1)]
    tell(company, pairs)
    apart = seen(company, *before, only=("A", "B"))
    tell(company, pairs, merge=MERGE)
    pd.testing.assert_frame_equal(seen(company, *before, only=("A", "B")), apart, check_exact=True)


@few
@given(pairs=histories)
def test_from_a_merge_on_the_survivor_has_every_feature_as_if_all_had_been_its_own(company, pairs):
    after = [MERGE, MERGE + timedelta(days=1), MERGE + timedelta(days=80)]
    tell(company, pairs, name=lambda *_: "B")
    whole = seen(company, *after, only="B")
    tell(company, pairs, merge=MERGE)
    pd.testing.assert_frame_equal(seen(company, *after, only="B"), whole, check_exact=True)


def test_a_ticket_that_was_resolved_before_a_merge_is_resolved_for_the_survivor_too(company):
    rows = ("1,A,2024-01-10,2024-01-12,", "2,A,2024-01-10,2024-02-27,2024-01-15", "3,A,2024-01-10,,")
    company.table("tickets", "ticket_id,account_id,opened_at,resolved_at,known_at", *rows)
    merged(company, f"A,2023-01-01,B,{MERGE.isoformat()}", "B,2023-01-01,,")
    # The second is resolved on 27 February, which is known as long after it as its opening was: five days.
    open_on = {MERGE: 2, MERGE + timedelta(days=1): 2, MERGE + timedelta(days=2): 1}
    found = seen(company, *open_on, only="B")
    assert found["open_tickets"].tolist() == list(open_on.values())


def test_a_survivors_canonical_rows_posted_give_its_snapshot(company):
    rows = ("1,A,2024-01-10,2024-02-27,2024-01-15", "2,A,2024-01-10,2024-01-12,2024-04-01", "3,B,2024-01-10,,")
    company.table("tickets", "ticket_id,account_id,opened_at,resolved_at,known_at", *rows)
    merged(company, f"A,2023-01-01,B,{MERGE.isoformat()}", "B,2023-01-01,,")
    after = [MERGE, MERGE + timedelta(days=2), MERGE + timedelta(days=40)]
    whole = seen(company, *after, only="B")
    assert len(set(whole["open_tickets"])) > 1
    with company.open() as history:
        tables = {t: history.read_rows(t, "B") for t in history.tables}
    assert any(row["first_known_at"] is not None for row in tables["tickets"])
    with History.from_rows(company.settings(), tables) as history:
        pd.testing.assert_frame_equal(snapshots.build(history, after), whole, check_exact=True)


# The report


def test_the_report_tells_matches_orphans_and_conflicts_by_table(company):
    people(company)
    known(company, "tenant,t,A,,2024-02-01", "tenant,t,B,2024-02-01,", "tenant,c,A,,", "tenant,c,B,,")
    rows = ["t,2024-01-01,1", "t,2024-03-01,2", "c,2024-01-01,3", "z,2024-01-01,4", "y,2024-01-01,5", "z,2024-01-01,6"]
    used(company, *rows)
    found = report(company)
    (usage,) = found.tables
    assert (usage.table, usage.system, usage.rows, usage.matched) == ("usage", "tenant", 6, 2)
    assert usage.rate == pytest.approx(1 / 3)
    assert usage.orphans == identity_report.CountWithExamples(3, ("z", "y"))
    assert usage.conflicts == identity_report.CountWithExamples(1, ("c",))
    assert found.conflicts == identity_report.CountWithExamples(1, ("tenant c",))
    assert found.reassigned == identity_report.CountWithExamples(1, ("tenant t",))


def test_the_report_shows_a_few_of_many_and_names_no_person(company):
    known(company, "tenant,t,A,,", "mail,acme.example,A,,", "mail,ann@acme.example,A,,")
    used(company, *(f"z{n},2024-01-01,x" for n in range(8)), *["ann@acme.example,2024-01-01,x"] * 2)
    orphans = report(company).tables[0].orphans
    assert (orphans.count, len(orphans.examples)) == (10, 5)
    assert orphans.examples[0] == "…@acme.example"
    mailed(company, "ann@gmail.com,2024-01-01,a", "bob@gmail.com,2024-01-01,a")
    assert report(company).tables[0].orphans == identity_report.CountWithExamples(2, ("gmail.com",))


def test_an_id_may_come_out_of_an_expression_or_a_value_map(company):
    known(company, "tenant,t,A,,")
    columns = {"used_at": "used_at", "account_id": {"sql": "lower(account_id)"}}
    company.only("usage", USED, "T,2024-01-01,x", "Z,2024-01-01,x", columns=columns, system="tenant")
    assert report(company).tables[0].orphans == identity_report.CountWithExamples(1, ("z",))
    columns["account_id"] = {"column": "account_id", "map": {"T": "t", "Z": "none"}}
    company.only("usage", USED, "T,2024-01-01,x", "Z,2024-01-01,x", columns=columns, system="tenant")
    assert report(company).tables[0].orphans == identity_report.CountWithExamples(1, ("none",))


def test_parents_are_counted_and_those_unknown_or_in_a_circle_are_told_but_kept(company):
    rows = ["A,2023-01-01,", "B,2023-01-01,A", "C,2023-01-01,A", "D,2023-01-01,B", "E,2023-01-01,Z"]
    rows += ["F,2023-01-01,F", "G,2023-01-01,H", "H,2023-01-01,G", "I,2023-01-01,H", "J,2023-01-01,E"]
    company.table("accounts", "account_id,created_at,parent_id", *rows)
    assert company.checked("accounts").reasons == {}
    found = report(company)
    assert found.children == identity_report.CountWithExamples(8, ("B", "C", "D", "F", "G"))
    assert found.parents == identity_report.CountWithExamples(6, ("A", "B", "E", "F", "G"))
    assert found.unknown_parents == identity_report.CountWithExamples(1, ("E",))
    assert found.circles == identity_report.CountWithExamples(4, ("F", "G", "H", "I"))


def test_a_company_of_one_system_has_nothing_to_tell(company):
    found = report(company)
    assert found.tables == ()
    assert list(found.remarks()) == []
    assert json.loads(json.dumps(found.as_dict()))["conflicts"] == {"count": 0, "examples": []}


def test_merged_accounts_are_counted(company):
    merged(company, "A,2023-01-01,B,2024-02-01", "B,2023-01-01,,")
    assert report(company).merged == identity_report.CountWithExamples(1, ("A",))


def test_the_report_is_the_same_when_the_tables_are_read_again(company):
    known(company, "tenant,t,A,,", "tenant,c,A,,", "tenant,c,B,,")
    used(company, "t,2024-01-01,x", "c,2024-01-01,y", "z,2024-01-01,z")
    assert report(company) == report(company)


def test_check_prints_who_is_who_and_writes_it_for_machines(company):
    merged(company, "A,2023-01-01,B,2024-02-01", "B,2023-01-01,,")
    known(company, "tenant,t,A,,", "tenant,c,A,,", "tenant,c,B,,")
    used(company, "t,2024-01-01,x", "c,2024-01-01,y", "[z],2024-01-01,z")
    file = company.folder / "check.json"
    done = CliRunner().invoke(app, ["check", "--config", str(company.write()), "--json", str(file)])
    assert done.exit_code == 0, done.output
    assert "1 (c)" in done.output
    assert "1 ([z])" in done.output
    assert "1 accounts merged into others: A" in done.output
    found = json.loads(file.read_text())["identity"]
    (usage,) = found["tables"]
    assert (usage["table"], usage["system"], usage["rows"], usage["matched"]) == ("usage", "tenant", 3, 1)
    assert usage["match_rate"] == pytest.approx(1 / 3)
    assert usage["orphans"] == {"count": 1, "examples": ["[z]"]}
    assert found["conflicts"] == {"count": 1, "examples": ["tenant c"]}
    assert found["merged"] == {"count": 1, "examples": ["A"]}
