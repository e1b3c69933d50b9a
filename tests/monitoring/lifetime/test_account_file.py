"""The lifetime file of an account: complete, in order, page by page; and what if something were otherwise."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from features.core.errors import GarrisonError
from features.core.timestamps import DAY, to_micros
from features.engine import snapshots
from features.sources.history import History
from features.state.tables import EVENT_LOG, SCORES
from monitoring.console.accounts.account_index import AccountIndex
from monitoring.console.app import create_app
from monitoring.console.context import ConsoleContext
from monitoring.lifetime import like_accounts
from monitoring.lifetime.entry import KINDS
from monitoring.lifetime.like_accounts import LikeAccountFinder
from monitoring.lifetime.notes import write_note
from monitoring.lifetime.promises import keep_promise, make_promise
from monitoring.lifetime.touches import record_touch
from monitoring.lifetime.what_if import Change, change_rows, score_what_if
from serving.scoring import score_table
from tests.support.account_company import CHILD, EMPTY, FULL, GONE, MERGED, YOUNG, AccountCompany
from tests.support.commands import run_command
from tests.support.console import sign_in

END = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def company(tmp_path_factory):
    made = AccountCompany(tmp_path_factory.mktemp("account") / "company")
    yield made
    made.close()


@pytest.fixture(scope="module")
def written(company):
    """The company after people wrote about its full account."""
    with company.state.writing() as connection:
        write_note(connection, FULL, "They want alerts.\nBefore May.", by="o0@harbour.test", key="n1", now=NOW)
        due = NOW + timedelta(days=7)
        given = {"due": due, "by": "Ann", "recorded_by": "o0@harbour.test", "now": NOW}
        make_promise(connection, FULL, "A visit", key="p1", **given)
    return company


@pytest.mark.parametrize("kinds", [KINDS, ("ticket",), ("usage", "score"), ("note", "promise", "touch")])
@pytest.mark.parametrize("limit", [1, 7])
def test_the_pages_of_a_timeline_are_the_whole_of_it_in_order_each_entry_once(written, kinds, limit):
    whole = written.files.read(FULL, kinds=kinds, limit=10_000).timeline
    assert whole.after is None
    assert sum(whole.counts[kind] for kind in kinds) == len(whole.entries) > 1
    assert [e.place for e in whole.entries] == sorted({e.place for e in whole.entries})
    pages, after = [], None
    while len(pages) * limit < min(len(whole.entries), 12 if limit == 1 else 45):
        page = written.files.read(FULL, kinds=kinds, limit=limit, after=after).timeline
        pages.append(page.entries)
        after = page.after
    entries = [entry for page in pages for entry in page]
    assert entries == list(whole.entries[: len(entries)])
    assert (after is None) == (len(entries) == len(whole.entries))


def test_a_timeline_has_entries_of_each_kind_and_says_what_was_known_late(written):
    entries = written.files.read(FULL, limit=10_000).timeline.as_dict()["entries"]
    assert {e["kind"] for e in entries} == {"ticket", "usage", "purchase", "touch", "score", "note", "promise"}
    (late,) = [e for e in entries if "export" in e["title"] and e["kind"] == "ticket"]
    assert (late["title"], late["known_at"][:10]) == ("Urgent ticket: export", "2025-11-21")
    assert all(e["known_at"] is None for e in entries if e["kind"] in {"touch", "usage"})
    (note,) = [e for e in entries if e["kind"] == "note"]
    assert (note["title"], note["text"]) == ("Note by o0", "They want alerts.\nBefore May.")


@pytest.mark.parametrize("after", ["", "x", "W10", "bnVsbA", "WzEsICJub3RlIl0"])
def test_a_page_that_is_none_is_an_error(company, after):
    with pytest.raises(GarrisonError, match="no such page"):
        company.files.read(FULL, after=after)


def test_the_head_names_family_contracts_and_who_answers(company):
    head = company.files.read(FULL, now=NOW).head
    assert [child.account_id for child in head.children] == [CHILD]
    assert head.binding.owner.address == "o0@harbour.test"
    (term,) = head.contracts
    assert (term.state, term.products, term.amount) == ("in force", ("moorings",), 1_200)
    assert (head.renewal, head.renewal_days) == (term, 59)
    assert head.tier in {"A", "B", "C", "D", "E"}
    assert head.tier_reason.startswith(f"Tier {head.tier}")
    assert company.files.read(CHILD).head.parent.account_id == FULL


@pytest.mark.parametrize(
    ("account", "state"), [(FULL, "customer"), (GONE, "left"), (EMPTY, "not asked"), (YOUNG, "not scored")]
)
def test_accounts_that_are_no_customers_have_files_that_say_so(company, account, state):
    found = company.files.read(account)
    assert found.head.state == state
    json.dumps(found.as_dict(), allow_nan=False)
    if account == YOUNG:
        assert found.course.newest is None
        assert found.timeline.entries == ()


def test_a_merged_account_leads_to_the_one_that_was_kept(company):
    assert company.files.tables.find_survivor(MERGED) == FULL
    assert company.files.tables.find_survivor(FULL) == FULL
    with pytest.raises(GarrisonError, match="no account"):
        company.files.tables.find_survivor("nobody")


def test_the_course_has_each_score_and_the_share_of_all(company):
    course = company.files.read(FULL).course
    with company.state.reading() as connection:
        c = SCORES.c
        stored = connection.execute(sa.select(c.score).where(c.account_id == FULL).order_by(c.as_of)).scalars().all()
    assert [p.score for p in course.points] == stored
    assert course.base_rate == 0.25
    assert course.earlier.as_of == datetime(2025, 12, 1, tzinfo=UTC)


def test_what_like_accounts_use_and_this_one_does_not_is_a_hidden_need_with_its_numbers(company):
    needs = company.files.read(FULL).needs
    (feature,) = [need for need in needs.hidden if need.kind == "feature"]
    assert (feature.name, feature.of) == ("export", len(needs.like.account_ids))
    with History.open(company.settings) as history:
        of = ", ".join(f"'{a}'" for a in needs.like.account_ids)
        since = to_micros(END) - 90 * DAY
        sql = f"SELECT count(DISTINCT account_id) AS n FROM usage WHERE feature = 'export' AND account_id IN ({of}) AND used_at >= {since}"  # noqa: E501, S608
        assert feature.accounts == history.query(sql)["n"][0]
    assert FULL not in needs.like.account_ids
    assert needs.uses[0].feature == "reports"
    assert needs.uses[0].share == 1.0
    assert [(t.topic, t.tickets) for t in needs.topics] == [("billing", 30), ("export", 1)]


def test_promises_of_the_table_and_of_people_are_told_apart_by_whether_they_were_kept(written):
    promises = {p.text: p for p in written.files.read(FULL).promises}
    states = {text: p.find_state(NOW) for text, p in promises.items()}
    assert states == {"Answer on export": "overdue", "Second training": "kept", "A visit": "open"}
    assert promises["A visit"].find_state(NOW + timedelta(days=8)) == "overdue"
    with written.state.writing() as connection, pytest.raises(GarrisonError, match="no such promise"):
        keep_promise(connection, CHILD, "p1", by="x")  # another account's
    with written.state.writing() as connection:
        keep_promise(connection, FULL, "p1", by="o0@harbour.test", now=NOW + timedelta(days=9))
    with written.state.writing() as connection, pytest.raises(GarrisonError, match="kept already"):
        keep_promise(connection, FULL, "p1", by="x")
    kept = {p.text: p for p in written.files.read(FULL).promises}["A visit"]
    assert kept.find_state(NOW) == "kept late"


def test_a_touch_is_in_the_file_at_once_and_in_the_next_nights_features_and_counts_once(company):
    at = datetime(2025, 12, 30, 15, tzinfo=UTC)
    for _ in range(2):
        record_touch(company.settings, company.state, CHILD, kind="visit", at=at, key="k" * 32)
    entries = company.files.read(CHILD, kinds=("touch",)).timeline.entries
    assert [(e.at, str(e.title)) for e in entries] == [(to_micros(at), "Visit")]
    assert company.files.read(CHILD, kinds=("usage",)).timeline.counts["usage"] > 10
    with company.state.reading() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(EVENT_LOG)) == 1
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    with History.open(company.settings) as history:
        frame = snapshots.build(history, [tomorrow]).set_index("account_id")
    assert frame.loc[CHILD, "days_since_touch"] == pytest.approx((tomorrow - at) / timedelta(days=1))
    with pytest.raises(GarrisonError, match="can't be recorded"):
        record_touch(company.settings, company.state, CHILD, kind="visit", at=END, key="k" * 32)
    with pytest.raises(GarrisonError, match="no kind"):
        record_touch(company.settings, company.state, CHILD, kind="bribe", at=at, key="x" * 32)


def ask(company, change, account=FULL):
    return score_what_if(
        company.settings, company.files.tables.history, company.files.champions.load(), account, change
    )


def test_what_if_begins_with_the_stored_score_to_the_last_bit_and_stores_nothing(company):
    with company.state.reading() as connection:
        before = connection.execute(sa.select(SCORES).order_by(*SCORES.primary_key)).all()
    found = ask(company, Change(usage=-0.95), CHILD)
    score = found.find_score("churn", 90)
    assert score.now == company.files.read(CHILD).course.newest.score
    assert score.then > score.now
    assert found.touched["usage"] > 0
    with company.state.reading() as connection:
        assert connection.execute(sa.select(SCORES).order_by(*SCORES.primary_key)).all() == before
    assert ask(company, Change(answered=True)).touched["tickets"] == 1
    assert ask(company, Change(price=0.1, touch=True)).touched == {"tickets": 0, "usage": 0, "terms": 1, "calls": 1}


@pytest.mark.parametrize("change", [Change(), Change(usage=-1), Change(price=99), Change(usage=float("inf"))])
def test_what_if_refuses_what_is_no_change(company, change):
    with pytest.raises(GarrisonError):
        ask(company, change)


def test_what_if_refuses_what_the_account_has_not(company):
    with pytest.raises(GarrisonError, match="nothing that the change applies to"):
        ask(company, Change(answered=True), EMPTY)
    with pytest.raises(GarrisonError, match="created after"):
        ask(company, Change(touch=True), YOUNG)


@pytest.mark.parametrize("share", [0.2, -0.5, 3.0])
def test_usage_is_scaled_as_exactly_as_whole_counts_allow_and_only_what_can_be_seen(share):
    at = 100 * DAY
    rows = [
        {"used_at": day * DAY, "known_at": day * DAY + 1, "count": None if day % 3 else 7} for day in range(40, 120)
    ]
    changed, touched = change_rows({"accounts": [], "usage": rows}, at, Change(usage=share))
    inside = [i for i, row in enumerate(rows) if 70 * DAY <= row["used_at"] < at]
    assert touched["usage"] == len(inside)
    total = sum(rows[i]["count"] or 1 for i in inside)
    assert sum(changed["usage"][i]["count"] for i in inside) == round(total * (1 + share))
    assert all(changed["usage"][i] is row for i, row in enumerate(rows) if i not in inside)


def test_the_pages_show_the_file_lead_from_merged_accounts_and_ask_what_if(company):
    context = ConsoleContext(company.settings, company.state, None, AccountIndex.open(company.settings, company.state))
    with TestClient(create_app(context), follow_redirects=False) as client:
        sign_in(client, company.state, "boss@harbour.test")
        merged = client.get(f"/accounts/{MERGED}")
        assert (merged.status_code, merged.headers["location"]) == (303, f"/accounts/{FULL}?merged={MERGED}")
        for account, words in (
            (f"{FULL}?merged={MERGED}", f"The account {MERGED} became a part of this one."),
            (FULL, "Of a hundred accounts like this"),
            (FULL, "used by"),
            (f"{FULL}?kind=ticket", "Urgent ticket: export"),
            (GONE, "This account has left"),
            (EMPTY, "The scores do not ask about this account"),
            (YOUNG, "Nothing has happened yet"),
        ):
            page = client.get(f"/accounts/{account}")
            assert (page.status_code, words in page.text) == (200, True), account
        asked = client.get(f"/accounts/{FULL}/what-if?usage=-50&answered=1")
        assert (asked.status_code, "What if, not a score" in asked.text) == (200, True)
        assert client.get(f"/accounts/{EMPTY}/what-if?answered=1").status_code == 422


def test_the_command_prints_the_file_and_exports_all_of_it(written, tmp_path):
    out = tmp_path / "file.json"
    done = run_command(
        "monitoring", "account", MERGED, "--config", str(written.config), "--limit", "3", "--json", str(out)
    )
    assert done.returncode == 0, done.stderr
    assert f"became a part of {FULL}" in done.stdout
    assert "Answer on export by Ann, due 2025-12-05: overdue" in done.stdout
    assert "hidden: export, used in 90 days by" in done.stdout
    whole = json.loads(out.read_text())
    assert len(whole["timeline"]["entries"]) == sum(whole["timeline"]["counts"].values()) > 100
    wrong = run_command("monitoring", "account", FULL, "--config", str(written.config), "--kind", "gossip")
    assert (wrong.returncode, "gossip" in wrong.stderr) == (1, True)
    asked = run_command("monitoring", "what-if", FULL, "--usage", "-90", "--config", str(written.config))
    assert "is not stored" in asked.stdout


def test_in_a_large_company_an_account_is_compared_with_some_customers_spread_over_all(company, monkeypatch):
    newest = score_table.find_newest(company.settings)
    every = LikeAccountFinder.read(company.settings, newest).find(FULL)
    monkeypatch.setattr(like_accounts, "MOST_COMPARED", 20)
    some = LikeAccountFinder.read(company.settings, newest).find(FULL)
    assert every.among > 20 >= some.among >= 19  # FULL itself may be one of the twenty
    assert len(some.account_ids) == some.among
    assert FULL not in some.account_ids
    assert min(some.account_ids) < "A-020"
    assert max(some.account_ids) > "A-050"
