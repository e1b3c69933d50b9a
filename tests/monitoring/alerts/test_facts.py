"""What alerts read of the company's tables beside the scores: as of the run, and never later."""

import pytest

from features.sources.history import History
from monitoring.alerts import facts
from monitoring.lifetime.promises import keep_promise, make_promise
from tests.monitoring.conftest import day

AT = "2024-06-01"
PROMISES = """
[sources.promises]
path = "promises.csv"
[tables.promises]
source = "promises"
columns = { account_id = "id", made_at = "made", due = "due", by = "who", text = "what", kept_at = "kept" }
"""
LIFETIMES = """
[sources.lifetimes]
path = "lifetimes.csv"
[tables.lifetimes]
source = "lifetimes"
columns = { account_id = "id", started_at = "since", ended_at = "until" }
"""


@pytest.fixture
def write(company):
    def write_table(toml, name, text):
        (company.folder / f"{name}.csv").write_text(text)
        company.tables += toml
        company.configure()

    return write_table


def test_the_first_promise_that_is_known_and_not_kept_counts(company, write):
    rows = [
        "A,2024-05-01,2024-06-10,Ana,a patch,",
        "A,2024-05-02,2024-06-05,Ben,a call,",
        "A,2024-05-02,2024-05-05,Ben,a visit,2024-05-04",  # kept
        "A,2024-06-02,2024-06-03,Ben,made later,",
        "B,2024-05-01,2024-05-20,,,2024-06-02",  # kept, but not by then
    ]
    write(PROMISES, "promises", "id,made,due,who,what,kept\n" + "\n".join(rows) + "\n")
    with History.open(company.settings) as history:
        found = facts.read_facts(company.settings, history, day(AT))
    assert {a: (p.text, p.by, p.days_left) for a, p in found.promises.items()} == {
        "A": ("a call", "Ben", 4.0),
        "B": (None, None, -12.0),
    }
    assert str(found.promises["A"].describe()) == "“a call”, promised by Ben, is due on 5 June 2024"
    assert str(found.promises["B"].describe()) == "a promise was due on 20 May 2024"
    assert "tenure_days" in found.frame
    assert "days_since_touch" not in found.frame


def test_promises_that_people_recorded_count_like_those_of_the_table_until_they_are_kept(company):
    def read(as_of):
        with History.open(company.settings) as history:
            return facts.read_facts(company.settings, history, day(as_of), company.state).promises

    assert read(AT) is None
    with company.state.writing() as connection:
        given = {"by": "Ann", "recorded_by": "ann@owners.test", "now": day("2024-05-20")}
        make_promise(connection, "A", "a call", due=day("2024-06-03"), key="1", **given)
        make_promise(connection, "A", "a patch", due=day("2024-06-20"), key="2", **given)
        keep_promise(connection, "A", "1", by="ann@owners.test", now=day("2024-06-02"))
    assert {a: (p.text, p.by, p.days_left) for a, p in read(AT).items()} == {"A": ("a call", "Ann", 2.0)}
    assert read("2024-06-05")["A"].text == "a patch"
    assert read("2024-05-20") == {}  # made at that instant, so not known before it


def test_without_the_table_promises_are_not_judged(company):
    with History.open(company.settings) as history:
        assert facts.read_facts(company.settings, history, day(AT)).promises is None


def test_an_account_is_gone_for_certain_where_its_record_says_so(company, write):
    rows = [
        "A,2023-01-01,2024-05-01",
        "B,2023-01-01,",
        "C,2023-01-01,2024-05-01",
        "C,2024-05-10,",
        "D,2023-01-01,2024-07-01",
    ]
    write(LIFETIMES, "lifetimes", "id,since,until\n" + "\n".join(rows) + "\n")
    with History.open(company.settings) as history:
        gone = facts.find_departures(history, ["A", "B", "C", "D", "E", "unknown"], day(AT))
    assert {a: (d.outcome, d.reason) for a, d in gone.items()} == {
        "A": ("left", "its record says that it left on 1 May 2024")
    }
