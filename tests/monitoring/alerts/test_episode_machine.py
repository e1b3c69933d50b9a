"""A state machine over episodes: any scores, missing accounts, reruns and acts leave only legal states."""

from collections import defaultdict
from datetime import timedelta
from itertools import pairwise

import hypothesis
import pytest
import sqlalchemy as sa
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from features.core.errors import GarrisonError
from features.core.timestamps import DAY, to_micros
from features.state.tables import EPISODES, METADATA, OUTBOX, SCORES
from monitoring.alerts import acts, kinds, mutes
from tests.monitoring.conftest import LIMITS, day
from tests.support.episodes import find_illegal, read_course

ACCOUNTS = "ABC"
# A score, an account that is no customer, one whose cohort is not known, or one that is missing.
ROW = st.one_of(
    st.sampled_from([0.1, 0.39, 0.4, 0.59, 0.6, 0.75, 0.9]),
    st.just({"score": 0.9, "in_cohort": False}),
    st.just({"score": 0.9, "in_cohort": None}),
    st.none(),
)


class EpisodeMachine(RuleBasedStateMachine):
    """Runs of a few days each, and what people do between them."""

    company = None

    @initialize()
    def begin(self):
        self.now, self.runs = day("2024-01-01"), []
        with self.company.state.writing() as connection:
            for table in reversed(METADATA.sorted_tables):
                connection.execute(sa.delete(table))

    @rule(days=st.integers(1, 20), rows=st.fixed_dictionaries(dict.fromkeys(ACCOUNTS, ROW)))
    def run(self, days, rows):
        self.now += timedelta(days=days)
        present = {account: row for account, row in rows.items() if row is not None} or {"Z": 0.1}
        self.company.score(self.now.date().isoformat(), present)
        before = self.read_open()
        outcome = self.company.alert(self.now.date().isoformat())
        self.runs.append(to_micros(self.now))
        high = {a for a, row in present.items() if isinstance(row, float) and row >= LIMITS.enter}
        assert {o.score.account_id for o in outcome.opened} <= high - {e["account_id"] for e in before}
        for closed in outcome.closed:
            row = rows.get(closed.episode.account_id)
            if isinstance(row, float):
                assert (closed.outcome, row < LIMITS.leave) == (kinds.RECOVERED, True)
            else:
                assert closed.outcome == kinds.LEFT

    @precondition(lambda self: self.runs)
    @rule()
    def run_again(self):
        before = read_course(self.company.state), self.company.rows(OUTBOX)
        assert not self.company.alert(self.now.date().isoformat()).fresh
        assert (read_course(self.company.state), self.company.rows(OUTBOX)) == before

    @precondition(lambda self: self.read_open())
    @rule(
        data=st.data(),
        act=st.sampled_from(["acknowledge", "snooze", "close", "hand_over"]),
        stale=st.booleans(),
        days=st.integers(1, 30),
    )
    def act(self, data, act, stale, days):
        episode = data.draw(st.sampled_from(self.read_open()))
        given = {"by": "ana", "now": self.now + timedelta(hours=1), "version": 1 if stale else episode["version"]}
        more = {
            "acknowledge": {},
            "snooze": {"until": self.now + timedelta(days=days)},
            "close": {"outcome": data.draw(st.sampled_from(acts.STATED)), "reason": "so"},
            "hand_over": {"to": data.draw(st.sampled_from(["x@owners.test", "y@owners.test"]))},
        }
        decided = [e for e in read_course(self.company.state)[episode["id"]] if e["event"] in kinds.DECISIONS]
        is_stale = any(event["seq"] > given["version"] for event in decided)
        is_double = act == "acknowledge" and episode["state"] == kinds.ACKNOWLEDGED
        if is_stale or is_double:
            with pytest.raises(GarrisonError):
                getattr(acts, act)(self.company.state, episode["id"], **more[act], **given)
        else:
            after = getattr(acts, act)(self.company.state, episode["id"], **more[act], **given)
            assert after.version == episode["version"] + 1

    @rule(account=st.sampled_from(ACCOUNTS), days=st.integers(1, 30))
    def mute(self, account, days):
        until = self.now + timedelta(days=days)
        mutes.mute(self.company.state, account, until=until, reason="so", by="ana", now=self.now)

    @invariant()
    def every_episode_is_legal(self):
        if hasattr(self, "runs"):
            assert find_illegal(self.company.state) == []

    @invariant()
    def nothing_opens_anew_before_its_condition_has_ended(self):
        if not hasattr(self, "runs"):
            return
        by_account = defaultdict(list)
        for row in self.read_all():
            by_account[row["account_id"], row["kind"]].append(row)
        for rows in by_account.values():
            for earlier, later in pairwise(rows):
                waited = later["opened_as_of"] - earlier["closed_as_of"]
                exited = earlier["exited_as_of"] is not None and earlier["exited_as_of"] < later["opened_as_of"]
                assert exited or waited >= self.company.settings.episodes.reopen_days * DAY

    def read_all(self):
        query = "SELECT * FROM episodes ORDER BY account_id, kind, opened_as_of"
        with self.company.state.reading() as connection:
            return [dict(row) for row in connection.execute(sa.text(query)).mappings()]

    def read_open(self):
        return [row for row in self.read_all() if row["closed_as_of"] is None]


@pytest.mark.hypothesis
def test_whatever_happens_episodes_are_legal(company):
    machine = type("Machine", (EpisodeMachine,), {"company": company})
    short = hypothesis.settings(max_examples=12, stateful_step_count=14, deadline=None)
    is_short = hypothesis.settings().max_examples <= 100
    run_state_machine_as_test(machine, settings=short if is_short else hypothesis.settings(stateful_step_count=40))


def test_late_data_that_reverses_a_risk_and_takes_it_back_raises_no_storm(company):
    values = [0.7, 0.1, 0.7, 0.1, 0.1, 0.7, 0.65]
    for n, score in enumerate(values):
        as_of = f"2024-06-{n + 1:02}"
        company.score(as_of, {"A": score})
        company.alert(as_of)
    events = next(iter(read_course(company.state).values()))
    assert [e["event"] for e in events] == ["opened", "eased", "returned", "eased", "returned"]
    assert len(company.rows(OUTBOX, "id")) == 1
    assert len(company.rows(SCORES, "score")) == len(values)


def test_half_of_the_accounts_missing_for_a_day_closes_nothing_and_tells_nobody(company):
    company.score("2024-06-01", dict.fromkeys("ABCD", 0.7))
    company.alert("2024-06-01")
    company.score("2024-06-02", dict.fromkeys("AB", 0.7))
    outcome = company.alert("2024-06-02")
    assert (outcome.opened, outcome.closed) == ((), ())
    company.score("2024-06-03", dict.fromkeys("ABCD", 0.7))
    outcome = company.alert("2024-06-03")
    assert (outcome.opened, outcome.closed, len(outcome.continued)) == ((), (), 4)
    assert len(company.rows(OUTBOX, "id")) == 4


def test_an_account_missing_from_three_runs_has_left_and_one_gone_for_certain_at_once(company):
    from monitoring.alerts.facts import Departure

    company.score("2024-06-01", dict.fromkeys("ABC", 0.7))
    company.alert("2024-06-01")
    gone = {"B": Departure(kinds.LEFT, "its last term ended"), "C": Departure(kinds.MERGED, "merged into A")}
    outcomes = {}
    for n in (2, 3, 4):
        company.score(f"2024-06-0{n}", {"Z": 0.1})
        for closed in company.alert(f"2024-06-0{n}", departures=lambda _: gone).closed:
            outcomes[closed.episode.account_id] = (n, closed.outcome, closed.reason)
    assert outcomes == {
        "A": (4, "left", "missing from 3 runs in a row"),
        "B": (2, "left", "its last term ended"),
        "C": (2, "merged", "merged into A"),
    }


def test_an_episode_speaks_again_at_each_set_step_from_what_was_last_told(company):
    events = []
    for n, score in enumerate([0.62, 0.7, 0.78, 0.9, 0.6, 0.92, 0.94, 0.99]):
        company.score(f"2024-06-{n + 1:02}", {"A": score})
        events += [(n, told.event) for told in company.alert(f"2024-06-{n + 1:02}").told_again]
    # 0.78 is a step above 0.62, and 0.94 above 0.78; what eases and comes back is no news.
    assert events == [(2, "worsened"), (6, "worsened")]
    letters = [" ".join(body.split()) for (body,) in company.rows(OUTBOX, "body")]
    assert sorted(body.partition("the risk was ")[2][:4] for body in letters) == ["", "62 %", "78 %"]


def test_an_account_that_worsens_all_the_week_is_in_full_letters_as_often_as_the_cap_lets_it(company):
    company.configure(per_account_week=2)
    kinds_of_message = []
    for n, score in enumerate([0.61, 0.7, 0.8, 0.9]):
        company.settings = company.settings.model_copy(
            update={"episodes": company.settings.episodes.model_copy(update={"worsened": 0.05})}
        )
        company.score(f"2024-06-{n + 1:02}", {"A": score})
        rows = company.alert(f"2024-06-{n + 1:02}").mailing.rows
        kinds_of_message += [row["kind"] for row in rows]
    assert kinds_of_message == ["opened", "worsened", "digest", "digest"]


@pytest.mark.parametrize(("is_decision", "tries"), [(False, 1), (True, 2)])
def test_a_run_begins_anew_if_somebody_decided_meanwhile_and_not_if_an_owner_was_told(company, is_decision, tries):
    company.score("2024-06-01", {"A": 0.65})
    company.alert("2024-06-01")
    [(episode,)] = company.rows(EPISODES, "id")
    calls = []

    def bind(accounts):
        calls.append(accounts)
        if len(calls) == 1 and is_decision:
            acts.acknowledge(company.state, episode, by="ana")
        elif len(calls) == 1:
            with company.state.writing() as connection:
                acts.mark_notified(connection, episode, now=1, message="m")
        return company.bindings(accounts)

    company.score("2024-06-02", {"A": 0.9})
    company.alert("2024-06-02", bindings=bind)
    assert len(calls) == tries
    events = [e["event"] for e in read_course(company.state)[episode]]
    assert events == ["opened", "acknowledged" if is_decision else "notified", "worsened"]
    assert find_illegal(company.state) == []
