"""Every step of a run fails once, in turn: nothing of it is left, and the next run ends as an undisturbed one."""

import contextlib
from itertools import count

import pytest
from sqlalchemy.exc import DBAPIError

from features.core.errors import GarrisonError
from features.state import database
from features.state.tables import ALERT_CHOICES, ALERT_RUNS, EPISODE_EVENTS, EPISODES, OUTBOX
from monitoring.alerts import acts
from tests.monitoring.conftest import day
from tests.support.episodes import find_illegal
from tests.support.faults import KINDS, Fault, run_forked

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
    """Read all that runs write, but for the clock's instants."""
    clocks = {"run_at", "at", "created_at", "next_try_at", "closed_at", "acknowledged_at", "snoozed_until"}
    columns = {table: [c.name for c in table.c if c.name not in clocks] for table in TABLES}
    return {table.name: sorted(map(repr, company.rows(table, *names))) for table, names in columns.items()}


def alert_with_fault(company, at, kind):
    """Run the alerts with the n-th step failing; return whether it came to it."""

    def do(store):
        company.state = store
        with Fault(store.engine, at, kind) as fault, contextlib.suppress(GarrisonError, DBAPIError):
            company.alert(SECOND)
        return fault.steps >= at

    if kind != "kill":
        return do(company.state)
    company.state.close()  # a forked process must not share its connections
    is_killed = run_forked(lambda: do(database.open(company.settings))) is None
    company.state = database.open(company.settings)
    return is_killed


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_fails_at_any_step_leaves_nothing_or_all_and_the_next_ends_as_an_undisturbed_one(
    company, tmp_path, kind
):
    (tmp_path / "twin").mkdir()
    twin = type(company)(tmp_path / "twin")
    for one in (company, twin):
        set_scene(one)
    twin.alert(SECOND)
    before, undisturbed = read_all(company), read_all(twin)
    twin.state.close()
    for at in count(1):
        has_failed = alert_with_fault(company, at, kind)
        assert find_illegal(company.state) == [], at
        found = read_all(company)
        # All or nothing: after the commit whose answer is lost, all is there.
        assert found in (before, undisturbed), at
        if found == undisturbed:
            break
        assert has_failed, at
    assert at > 20
    company.alert(SECOND)
    assert read_all(company) == undisturbed
    assert not company.alert(SECOND).fresh
    outcomes = dict(company.rows(EPISODES, "account_id", "state"))
    assert outcomes == {"A": "open", "B": "open", "C": "closed", "D": "closed", "E": "open"}
    events = [event for (event,) in company.rows(EPISODE_EVENTS, "event")]
    assert {"worsened", "woken", "exited", "closed", "opened"} <= set(events)
