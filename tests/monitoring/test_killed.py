"""A run of the alerts in a process that is really killed; `notifications/test_faults.py` has those of deliveries."""

from contextlib import contextmanager

import sqlalchemy as sa

from features.state.tables import ALERT_RUNS, EPISODES, OUTBOX
from tests.support.stalled_writes import stall_sqlite
from tests.support.waiting import wait_until

AT = "2024-06-01"
ACCOUNTS = dict.fromkeys("ABCDE", 0.7)


def kill(process):
    process.kill()
    process.wait(timeout=20)


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
    stalled = stalled_postgres(any_company) if any_company.url else stall_sqlite(any_company, "outbox")
    with stalled as is_writing:
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
