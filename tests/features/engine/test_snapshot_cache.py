"""What was built once is read, until something that was visible then has changed; it is what would be built."""

import random
from datetime import UTC, datetime, timedelta, timezone

import pyarrow.parquet as pq
import pytest

from features.engine import snapshot_cache, snapshots
from tests.support.property_tests import is_nightly

JAN, FEB, MAR, APR = (datetime(2024, month, 1, tzinfo=UTC) for month in (1, 2, 3, 4))
TICKETS = "ticket_id,account_id,opened_at,known_at,first_response_at,resolved_at,csat"
BOUGHT = "account_id,purchased_at,known_at,amount"
PLANS = "account_id,created_at,plan,owner_email"


@pytest.fixture
def built(monkeypatch):
    """The instants that were built, since it was last emptied."""
    seen, table = [], snapshots.build_table

    def counted(history, as_ofs, progress=None):
        seen.extend(as_ofs)
        return table(history, as_ofs, progress)

    monkeypatch.setattr(snapshots, "build_table", counted)
    return seen


def read(company, *as_ofs):
    settings = company.settings()
    with company.open() as history:
        return snapshot_cache.load_table(settings, history, as_ofs)


def exact(company, *as_ofs):
    """Whether the archive gives what the engine does, to the last bit and type."""
    settings = company.settings()
    with company.open() as history:
        return snapshot_cache.load_table(settings, history, as_ofs).equals(
            snapshots.build_table(history, as_ofs), check_metadata=True
        )


def files(company):
    """The snapshots kept: by day, name and when written."""
    folder = company.folder / "var" / "harbour" / "features"
    return {f.name[:10]: (f.name, f.stat().st_mtime_ns) for f in sorted(folder.iterdir())}


def bought(company, *rows):
    company.table("purchases", BOUGHT, "A,2024-01-05,2024-01-05,10", "B,2024-02-06,2024-02-06,20", *rows)


def test_what_was_built_is_read_again(company, built):
    first = read(company, MAR, FEB)
    assert built == [FEB, MAR]
    kept = files(company)
    assert list(kept) == ["2024-02-01", "2024-03-01"]
    built.clear()
    assert read(company, FEB, MAR).equals(first, check_metadata=True)
    assert read(company, MAR)["as_of"].to_pylist() == [MAR, MAR]
    assert (built, files(company)) == ([], kept)


def test_a_written_file_holds_what_the_engine_gives_and_one_instant_is_a_copy(company, built, tmp_path):
    settings = company.settings()
    for name, as_ofs in (("one", [FEB]), ("more", [FEB, MAR]), ("loose", [FEB + timedelta(hours=5)])):
        file = tmp_path / f"{name}.parquet"
        with company.open() as history:
            about = snapshot_cache.write_file(settings, history, as_ofs, file)
            whole = snapshots.build_table(history, as_ofs)
        assert pq.read_table(file).equals(whole)
        assert (about.num_rows, about.num_columns) == whole.shape
    copied = [
        f for f in (settings.var / "features").iterdir() if f.read_bytes() == (tmp_path / "one.parquet").read_bytes()
    ]
    assert len(copied) == 1
    built.clear()
    with company.open() as history:
        assert (
            snapshot_cache.count_snapshots(settings, history, FEB)[0]
            == pq.read_metadata(tmp_path / "one.parquet").num_rows
        )
    assert built == []


def test_what_is_there_is_told(company):
    read(company, FEB)
    noon = FEB + timedelta(hours=12)
    with company.open() as history:
        assert snapshot_cache.find_cached(company.settings(), history, [FEB, MAR, noon]) == {FEB}


def test_what_came_or_became_known_later_leaves_old_snapshots_and_only_the_new_one_is_built(company, built):
    bought(company)
    read(company, FEB, MAR)
    kept = files(company)
    built.clear()
    bought(
        company, "A,2024-03-01,2024-03-01,7", "A,2024-01-20,2024-03-10,7", "B,2024-02-20,2024-03-01T00:00:00.000001Z,7"
    )
    assert read(company, FEB, MAR, APR)["orders_in_all"].to_pylist() == [1, 0, 1, 1, 3, 2]
    assert built == [APR]
    assert {day: file for day, file in files(company).items() if day in kept} == kept
    assert exact(company, FEB, MAR, APR)


def test_what_becomes_known_at_the_instant_itself_is_in_its_snapshot(company, built):
    bought(company)
    read(company, FEB, MAR)
    kept = files(company)
    built.clear()
    bought(company, "A,2024-01-20,2024-03-01,7")
    assert read(company, FEB, MAR)["orders_in_all"].to_pylist() == [1, 0, 2, 1]
    assert built == [MAR]
    now = files(company)
    assert now["2024-02-01"] == kept["2024-02-01"]
    assert now["2024-03-01"][0] != kept["2024-03-01"][0]  # and the one before it is gone
    assert len(now) == 2


def test_a_ticket_answered_and_resolved_later_leaves_older_snapshots(company, built):
    company.table("tickets", TICKETS, "1,A,2024-01-10,2024-01-10,,,")
    read(company, FEB, MAR, APR)
    built.clear()
    company.table("tickets", TICKETS, "1,A,2024-01-10,2024-01-10,2024-02-15,,")
    read(company, FEB, MAR, APR)
    assert built == [MAR, APR]
    built.clear()
    company.table("tickets", TICKETS, "1,A,2024-01-10,2024-01-10,2024-02-15,2024-03-20,4")
    assert read(company, FEB, MAR, APR)["open_tickets"].to_pylist() == [1, 0, 1, 0, 0, 0]
    assert built == [APR]
    # Told as late as its opening was: it would have been open still.
    company.table("tickets", TICKETS, "1,A,2024-01-10,2024-01-25,2024-02-15,2024-03-20,4")
    assert read(company, APR)["open_tickets"].to_pylist() == [1, 0]


def test_a_resolution_that_is_told_at_the_instant_itself_is_in_its_snapshot(company, built):
    # Told as long after it as the opening was: five days.
    for csat in (4, 2):
        company.table("tickets", TICKETS, f"1,A,2024-01-10,2024-01-15,,2024-02-25,{csat}")
        assert read(company, FEB, MAR)["csat_90d"].to_pylist() == [None, None, csat, None]
    assert built == [FEB, MAR, MAR]


def test_a_changed_attribute_is_built_anew_but_not_a_changed_owner(company, built):
    company.table("accounts", PLANS, "A,2023-01-01,basic,ann@x.example", "B,2023-01-01,team,ann@x.example")
    read(company, FEB, MAR)
    built.clear()
    company.table("accounts", PLANS, "A,2023-01-01,basic,bob@x.example", "B,2023-01-01,team,bob@x.example")
    read(company, FEB, MAR)
    assert built == []
    company.table("accounts", PLANS, "A,2023-01-01,plus,bob@x.example", "B,2023-01-01,team,bob@x.example")
    assert read(company, FEB, MAR)["plan"].to_pylist() == ["plus", "team"] * 2
    assert built == [FEB, MAR]
    assert len(files(company)) == 2


def test_an_account_that_came_later_leaves_older_snapshots_even_if_its_id_comes_first(company, built):
    read(company, FEB, MAR)
    built.clear()
    company.table("accounts", "account_id,created_at", "A,2023-01-01", "B,2023-01-01", "AA,2024-02-10", "0,2024-03-01")
    assert read(company, FEB, MAR)["account_id"].to_pylist() == ["A", "B", "A", "AA", "B"]
    assert built == [MAR]
    assert exact(company, FEB, MAR)


def merge(company, csat, merged_at="2024-02-10"):
    company.only(
        "accounts", "account_id,created_at,merged_into,merged_at", f"A,2023-01-01,B,{merged_at}", "B,2023-01-01,,"
    )
    company.table("tickets", TICKETS, f"1,A,2024-01-10,2024-01-10,,2024-02-20,{csat}")


def test_a_merge_leaves_the_snapshots_from_before_it(company, built):
    company.table("accounts", "account_id,created_at", "A,2023-01-01", "B,2023-01-01")
    company.table("tickets", TICKETS, "1,A,2024-01-10,2024-01-10,,2024-02-20,4")
    read(company, FEB, MAR)
    built.clear()
    merge(company, 4)
    assert read(company, FEB, MAR)["account_id"].to_pylist() == ["A", "B", "B"]
    assert built == [MAR]
    assert exact(company, FEB, MAR)
    built.clear()
    merge(company, 4, merged_at="2024-02-01")  # at the instant itself: it has none any more
    assert read(company, FEB)["account_id"].to_pylist() == ["B"]
    assert built == [FEB]


def test_a_change_to_what_the_survivor_of_a_merge_was_told_is_seen(company, built):
    merge(company, 4)
    assert read(company, MAR)["csat_90d"].to_pylist() == [4]
    merge(company, 2)
    assert read(company, MAR)["csat_90d"].to_pylist() == [2]
    assert built == [MAR, MAR]


def test_an_instant_that_is_no_midnight_is_built_each_time(company, built):
    noon = FEB + timedelta(hours=12)
    for _ in range(2):
        read(company, noon, FEB)
    assert built == [FEB, noon, noon]
    assert list(files(company)) == ["2024-02-01"]


def test_an_instant_is_the_same_in_any_time_zone(company, built):
    read(company, FEB, FEB - timedelta(days=1))
    kept = files(company)
    built.clear()
    found = read(company, FEB.astimezone(timezone(timedelta(hours=-5))))
    assert found["as_of"].to_pylist() == [FEB, FEB]
    assert (built, files(company)) == ([], kept)


def test_without_an_account_there_is_an_empty_snapshot_all_the_same(company, built):
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    for _ in range(2):
        assert read(company, long_ago, FEB).num_rows == 2
    assert built == [long_ago, FEB]
    assert exact(company, long_ago)


def test_a_run_that_is_killed_while_it_writes_leaves_no_half_snapshot(company, built, monkeypatch):
    write = pq.write_table

    def killed(table, file, **rest):
        if table["as_of"][0].as_py() == MAR:
            file.write_bytes(b"PAR1 and no more")
            raise KeyboardInterrupt
        write(table, file, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", killed)
        with pytest.raises(KeyboardInterrupt):
            read(company, FEB, MAR)
    assert list(files(company)) == ["2024-02-01"]
    built.clear()
    assert exact(company, FEB, MAR)
    assert built == [MAR, FEB, MAR]  # the first by the archive, the others to compare


def cached(company):
    with company.open() as history:
        return snapshot_cache.find_cached(company.settings(), history, [FEB])


def test_another_engine_has_snapshots_of_its_own(company):
    read(company, FEB)
    assert cached(company) == {FEB}
    company.toml["engine"] = {"kind": "postgres", "url": "postgresql://localhost/never_asked"}
    assert cached(company) == set()
    company.toml["engine"] = {"kind": "spark"}
    assert cached(company) == set()


def test_other_code_has_snapshots_of_its_own(company, monkeypatch):
    read(company, FEB)
    packages = []
    monkeypatch.setattr(snapshot_cache, "fingerprint_packages", lambda *names: packages.extend(names) or "other")
    assert cached(company) == set()
    assert packages == ["features.engine", "features.arrays", "features.definitions"]


def test_another_catalog_has_snapshots_of_its_own(company, built):
    plain = read(company, FEB)
    (company.folder / "own.py").write_text(
        "from features.definitions.feature import feature\n"
        "from features.definitions.streams import PURCHASES\n\n"
        "@feature(unit='orders', missing='never', family='orders', says='{value:,.0f} purchases')\n"
        "def bought_ever(at):\n"
        '    """Purchases so far."""\n'
        "    return at(PURCHASES.count())\n\n"
        "FEATURES = (*bought_ever,)\n"
    )
    company.toml["catalog"] = {"features": "own.py"}
    own = read(company, FEB)
    assert set(own.column_names) - set(plain.column_names) == {"bought_ever"}
    assert built == [FEB, FEB]


@pytest.mark.hypothesis  # so that `make test-nightly` runs it as well, with more seeds
@pytest.mark.parametrize("seed", range(40 if is_nightly() else 1))
def test_whatever_changes_the_archive_gives_what_the_engine_does(company, seed):
    draw = random.Random(seed)  # noqa: S311  # nothing secret here
    plans = dict.fromkeys("ABCD", "basic")
    tickets, purchases, merged = {}, {}, False

    def moment():
        return FEB + timedelta(hours=12 * draw.randint(-40, 140))

    def tell():
        into = {"D": f"A,{MAR.isoformat()}"} if merged else {}
        rows = [f"{a},2023-01-0{1 + (a == 'B')},{plan},{into.get(a, ',')}" for a, plan in plans.items()]
        company.only("accounts", "account_id,created_at,plan,merged_into,merged_at", *rows)
        company.only("tickets", TICKETS, "0,A,2023-05-01,2023-05-01,,,", *(f"{n},{row}" for n, row in tickets.items()))
        company.only("purchases", BOUGHT, "A,2023-05-01,2023-05-01,1", *purchases.values())

    def change():
        nonlocal merged
        what, n = (
            draw.choice(["ticket", "ticket", "purchase", "purchase", "less", "plan", "merge", "come"]),
            len(tickets),
        )
        opened, who = moment(), draw.choice("ABCD")
        known, late = (opened + timedelta(days=draw.choice([0, 0, 3, 30])) for _ in range(2))
        if what == "ticket":
            answered, resolved = (opened + timedelta(days=draw.randint(0, 60)) for _ in range(2))
            after = [f"{answered.isoformat()},,", f",{resolved.isoformat()},{draw.randint(1, 5)}", ",,"]
            tickets[draw.randint(1, n + 1)] = f"{who},{opened.isoformat()},{known.isoformat()},{draw.choice(after)}"
        elif what == "purchase":
            purchases[len(purchases)] = f"{who},{opened.isoformat()},{late.isoformat()},{draw.randint(0, 90)}"
        elif what == "less" and purchases:
            purchases.pop(draw.choice([*purchases]))
        elif what == "plan":
            plans[draw.choice([*plans])] = draw.choice(["basic", "plus"])
        elif what == "merge":
            merged = not merged
        else:
            plans[f"{who}{n}"] = "new"

    for _ in range(14):
        change()
        tell()
        assert exact(company, FEB, MAR, APR)
