"""Real processes, really killed: nobody gets an alert twice, and the end is that of an undisturbed run."""

import asyncio
import sqlite3
from contextlib import closing, contextmanager

import pytest
import sqlalchemy as sa

from features.state import database
from features.state.tables import ALERT_RUNS, EPISODES, OUTBOX
from monitoring.notifications import outbox
from tests.support.waiting import wait_until

AT = "2024-06-01"
ACCOUNTS = dict.fromkeys("ABCDE", 0.7)
OWNERS = [f"{a}@owners.test" for a in "abcde"]
# What a message is in the end, times aside.
END = ("id", "recipient", "state", "attempts")


@pytest.fixture
def waiting(company, post):
    """Five messages wait in the outbox."""
    company.score(AT, ACCOUNTS)
    company.alert(AT)
    company.mail_to(post)
    return company


def undisturbed(company, post):
    """The end of a delivery that nothing disturbs, made in a copy of the database."""
    twin = company.folder / "twin.db"
    state = company.settings.state.removeprefix("sqlite:///")
    with closing(sqlite3.connect(state)) as source, closing(sqlite3.connect(twin)) as target:
        source.backup(target)
    settings = company.settings.model_copy(update={"state_url": f"sqlite:///{twin}"})
    with closing(database.open(settings)) as copy:
        outbox.deliver(settings, copy)
        with copy.reading() as connection:
            rows = connection.execute(sa.select(*(OUTBOX.c[c] for c in END))).all()
    assert post.recipients == OWNERS
    post.received.clear()
    return sorted((tuple(row) for row in rows), key=repr)


def block(post, command, *, at, taken=False):
    """Make the server fall silent at its n-th message; `taken`: having accepted it."""
    seen = iter(range(1, 100))

    async def answer(server, address):
        if next(seen) < at:
            return "250 OK"
        if taken:
            post.received.append(([address], server.envelope.original_content))
        post.reached.set()
        await asyncio.sleep(600)
        return "450 never said"

    post.answers[command] = answer


def kill(process):
    process.kill()
    process.wait(timeout=20)


def test_a_delivery_killed_between_messages_and_run_again_ends_as_an_undisturbed_one(waiting, post, start, finish):
    expected = undisturbed(waiting, post)
    block(post, "RCPT", at=3)
    process = start(waiting, "deliver")
    assert post.reached.wait(60)
    kill(process)
    post.answers.clear()
    assert [s for (s,) in waiting.rows(OUTBOX, "state")].count("sent") == 2

    status, out, _ = finish(waiting, "deliver")
    assert (status, "Sent 3" in out) == (0, True)
    assert post.recipients == OWNERS
    assert waiting.rows(OUTBOX, *END) == expected


def test_a_delivery_killed_while_the_server_thinks_names_that_message_and_sends_none_twice(
    waiting, post, start, finish
):
    expected = undisturbed(waiting, post)
    block(post, "DATA", at=3, taken=True)
    process = start(waiting, "deliver")
    assert post.reached.wait(60)
    kill(process)
    post.answers.clear()

    status, out, _ = finish(waiting, "deliver")
    assert (status, "Sent 2" in out) == (0, True)
    assert post.recipients == OWNERS  # each once, the killed one among them
    ends = waiting.rows(OUTBOX, *END)
    [doubtful] = [row for row in ends if row[2] == "uncertain"]
    assert [row for row in ends if row != doubtful] == [row for row in expected if row[0] != doubtful[0]]
    assert f"uncertain: {doubtful[0]}" in out
    assert f"--resend {doubtful[0]}" in out


def test_two_deliver_processes_at_once_send_each_message_once(any_company, post, start):
    any_company.score(AT, ACCOUNTS)
    any_company.alert(AT)
    any_company.mail_to(post)

    async def slowly(_server, _address):
        await asyncio.sleep(0.3)
        return "250 OK"

    post.answers["DATA"] = slowly
    processes = [start(any_company, "deliver") for _ in range(2)]
    ends = [(*process.communicate(timeout=120), process.returncode) for process in processes]
    assert [status for *_, status in ends] == [0, 0], ends
    assert post.recipients == OWNERS
    assert {state for (state,) in any_company.rows(OUTBOX, "state")} == {"sent"}


def test_an_alert_run_killed_in_the_midst_of_its_writing_leaves_nothing_and_run_again_all(
    any_company, tmp_path, start, finish
):
    (tmp_path / "twin").mkdir()
    twin = type(any_company)(tmp_path / "twin")
    for one in (any_company, twin):
        one.promote()
        one.score("2024-05-01", {"A": 0.2})
        one.score(AT, ACCOUNTS)
    assert finish(twin, "alert", "--as-of", AT)[0] == 0
    stalled = stalled_postgres if any_company.url else stalled_sqlite
    with stalled(any_company) as is_writing:
        process = start(any_company, "alert", "--as-of", AT)
        wait_until(is_writing)
        kill(process)
    assert [any_company.rows(table) for table in (ALERT_RUNS, EPISODES, OUTBOX)] == [[], [], []]
    status, out, err = finish(any_company, "alert", "--as-of", AT)
    assert (status, err, "5 opened" in out) == (0, "", True)
    for table in (EPISODES, OUTBOX):
        columns = [c.name for c in table.c if c.name not in {"created_at", "next_try_at"}]
        assert any_company.rows(table, *columns) == twin.rows(table, *columns)
    twin.state.close()


@contextmanager
def stalled_sqlite(company):
    """The first row in the outbox takes forever; gives whether a process is writing."""
    file = company.settings.state.removeprefix("sqlite:///")
    with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as database:
        counting = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
        database.execute("CREATE VIEW forever AS " + counting)
        database.execute("CREATE TRIGGER stall BEFORE INSERT ON outbox BEGIN SELECT count(*) FROM forever; END")

        def is_writing():
            try:
                database.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            database.execute("ROLLBACK")
            return False

        yield is_writing
        database.execute("DROP TRIGGER stall")
        database.execute("DROP VIEW forever")


@contextmanager
def stalled_postgres(company):
    """The outbox takes no row; gives whether a process waits to write one."""
    query = sa.text("SELECT count(*) FROM pg_locks WHERE relation = 'outbox'::regclass AND NOT granted")

    def is_writing():
        with company.state.reading() as connection:
            return connection.scalar(query) > 0

    with company.state.writing() as connection:
        connection.execute(sa.text("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE"))
        yield is_writing
    wait_until(lambda: not is_writing())
