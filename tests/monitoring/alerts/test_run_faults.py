"""Every write of a run fails once, in turn: nothing of it is left, and the next run ends as an undisturbed one."""

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from features.core.errors import GarrisonError
from features.state.tables import ALERT_CHOICES, ALERT_RUNS, EPISODE_EVENTS, EPISODES, OUTBOX
from monitoring.alerts import acts
from tests.monitoring.conftest import day
from tests.support.episodes import find_illegal

TABLES = (ALERT_RUNS, EPISODES, EPISODE_EVENTS, ALERT_CHOICES, OUTBOX)
FIRST, SECOND = "2024-06-01", "2024-06-08"


def set_scene(company):
    """Leave a next run that continues, closes, worsens, wakes, exits and opens an episode each."""
    company.score(FIRST, dict.fromkeys("ABCD", 0.65))
    opened = company.alert(FIRST).opened
    by_account = {o.score.account_id: o.episode for o in opened}
    given = {"by": "ana", "now": day("2024-06-02")}
    acts.close(company.state, by_account["D"], outcome="false_alarm", reason="x", **given)
    acts.snooze(company.state, by_account["B"], until=day("2024-06-07"), **given)
    company.score(SECOND, {"A": 0.95, "B": 0.6, "C": 0.1, "D": 0.1, "E": 0.9})


def read_all(company):
    return {table.name: sorted(map(repr, company.rows(table))) for table in TABLES}


class FailingWrites:
    """Fails the n-th statement that writes, before it or after it."""

    def __init__(self, engine, number, *, after):
        self.engine, self.number, self.seen = engine, number, 0
        self.event = "after_cursor_execute" if after else "before_cursor_execute"

    def __enter__(self):
        sa.event.listen(self.engine, self.event, self.fail)
        return self

    def __exit__(self, *_):
        sa.event.remove(self.engine, self.event, self.fail)

    def fail(self, _connection, _cursor, statement, *_):
        if statement.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE")):
            self.seen += 1
            if self.seen == self.number:
                raise OperationalError(statement, {}, Exception("disk full"))


@pytest.mark.parametrize("after", [False, True])
def test_a_run_that_fails_at_any_write_leaves_nothing_and_can_be_run_again(company, after):
    set_scene(company)
    before, number = read_all(company), 0
    while True:
        number += 1
        with FailingWrites(company.state.engine, number, after=after) as failing:
            try:
                company.alert(SECOND)
            except (GarrisonError, OperationalError):
                assert read_all(company) == before
                assert find_illegal(company.state) == []
            else:
                break
        assert failing.seen == number
    assert number > 8
    assert find_illegal(company.state) == []
    outcomes = dict(company.rows(EPISODES, "account_id", "state"))
    assert outcomes == {"A": "open", "B": "open", "C": "closed", "D": "closed", "E": "open"}
    events = [event for (event,) in company.rows(EPISODE_EVENTS, "event")]
    assert {"worsened", "woken", "exited", "closed", "opened"} <= set(events)
    assert not company.alert(SECOND).fresh
