"""What people do with episodes: each act's event, what is refused, and that a run takes up what they left."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.state.tables import EPISODE_EVENTS, EPISODES, MUTES
from monitoring.alerts import acts, mutes
from tests.monitoring.conftest import day

FIRST, SECOND, THIRD = "2024-06-01", "2024-06-08", "2024-06-15"
ANA = {"by": "ana@owners.test"}
NOW = {"now": day("2024-06-02")}


@pytest.fixture
def episode(any_company):
    """A company with an episode of A; its id."""
    any_company.score(FIRST, {"A": 0.7, "B": 0.1})
    return any_company.alert(FIRST).opened[0].episode


def course(company, episode):
    query = sa.select(EPISODE_EVENTS.c.seq, EPISODE_EVENTS.c.event, EPISODE_EVENTS.c.by)
    with company.state.reading() as connection:
        rows = connection.execute(query.where(EPISODE_EVENTS.c.episode_id == episode).order_by(EPISODE_EVENTS.c.seq))
        return [tuple(row) for row in rows]


def row(company, *columns):
    return company.rows(EPISODES, *columns)[-1]


def test_acknowledging_notes_who_and_when_and_is_one_event(any_company, episode):
    after = acts.acknowledge(any_company.state, episode[:8], **ANA, **NOW, reason="on it")
    assert (after.state, after.version) == ("acknowledged", 2)
    assert course(any_company, episode) == [(1, "opened", "run"), (2, "acknowledged", "ana@owners.test")]
    assert row(any_company, "state", "acknowledged_by", "version") == ("acknowledged", "ana@owners.test", 2)
    with pytest.raises(GarrisonError, match=r"can't be acknowledged.*it is acknowledged"):
        acts.acknowledge(any_company.state, episode, **ANA)


def test_an_act_on_what_somebody_decided_meanwhile_is_refused_and_names_it(any_company, episode):
    state = any_company.state
    acts.close(state, episode, outcome="saved", by="ben@owners.test", **NOW)
    with pytest.raises(GarrisonError, match=r"changed since you saw it.*closed by ben@owners.test on 2024-06-02"):
        acts.snooze(state, episode, until=day("2024-06-20"), version=1, **ANA, **NOW)
    assert len(course(any_company, episode)) == 2


def test_what_runs_note_makes_no_act_stale(any_company, episode):
    any_company.score(SECOND, {"B": 0.1})  # A is not seen
    any_company.alert(SECOND)
    assert [event for _, event, _ in course(any_company, episode)] == ["opened", "unseen"]
    assert acts.acknowledge(any_company.state, episode, version=1, **ANA).state == "acknowledged"


@pytest.mark.parametrize(
    ("outcome", "reason", "problem"),
    [
        ("false_alarm", "", "a false alarm needs a reason"),
        ("expired", "x", "expired is no outcome that a person states.*saved, false-alarm, left, recovered"),
    ],
)
def test_an_outcome_that_says_too_little_is_refused(company, outcome, reason, problem):
    company.score(FIRST, {"A": 0.7})
    episode = company.alert(FIRST).opened[0].episode
    with pytest.raises(GarrisonError, match=problem):
        acts.close(company.state, episode, outcome=outcome, reason=reason, **ANA)
    assert row(company, "state") == ("open",)


def test_a_dry_run_checks_and_changes_nothing(company):
    company.score(FIRST, {"A": 0.7})
    episode = company.alert(FIRST).opened[0].episode
    after = acts.close(company.state, episode, outcome="saved", dry_run=True, **ANA)
    assert (after.state, row(company, "state", "version")) == ("closed", ("open", 1))


def test_unknown_short_and_ambiguous_ids_are_refused(company):
    with pytest.raises(GarrisonError, match="there is no episode 1234567"):
        acts.acknowledge(company.state, "1234567", **ANA)
    company.score(FIRST, {"A": 0.7})
    episode = company.alert(FIRST).opened[0].episode
    for wrong in (episode[:3], "%" * 8):
        with pytest.raises(GarrisonError, match="there is no episode"):
            acts.acknowledge(company.state, wrong, **ANA)


def test_a_snoozed_episode_wakes_when_its_time_is_over_and_tells_its_owner_again(company):
    company.score(FIRST, {"A": 0.7})
    episode = company.alert(FIRST).opened[0].episode
    acts.snooze(company.state, episode, until=day(THIRD), **ANA, **NOW)
    for as_of, expected in ((SECOND, "snoozed"), (THIRD, "open")):
        company.score(as_of, {"A": 0.7})
        outcome = company.alert(as_of)
        assert row(company, "state") == (expected,)
    assert [told.event for told in outcome.told_again] == ["woken"]
    with pytest.raises(GarrisonError, match="can't be snoozed until then"):
        acts.snooze(company.state, episode, until=day(FIRST), **ANA, **NOW)


def test_a_person_who_closes_an_episode_is_not_alarmed_again_before_its_condition_has_ended(company):
    company.score(FIRST, {"A": 0.7})
    episode = company.alert(FIRST).opened[0].episode
    acts.close(company.state, episode, outcome="false_alarm", reason="they moved house", **ANA, **NOW)
    for as_of, score, opened in ((SECOND, 0.8, 0), (THIRD, 0.1, 0), ("2024-06-22", 0.8, 1)):
        company.score(as_of, {"A": score})
        assert len(company.alert(as_of).opened) == opened
    assert [event for _, event, _ in course(company, episode)] == ["opened", "closed", "exited"]
    assert row(company, "outcome", "outcome_reason") in {("false_alarm", "they moved house"), (None, None)}


def test_an_episode_handed_over_stays_with_its_new_owner(company):
    company.score(FIRST, {"A": 0.7})
    episode = company.alert(FIRST).opened[0].episode
    after = acts.hand_over(company.state, episode, to="Ben <ben@owners.test>", **ANA, **NOW)
    assert (after.owner, after.state) == ("ben@owners.test", "open")
    company.score(SECOND, {"A": 0.7})
    company.alert(SECOND)
    assert row(company, "owner") == ("ben@owners.test",)
    with pytest.raises(GarrisonError, match="not one plain e-mail address"):
        acts.hand_over(company.state, episode, to="ben", **ANA)


def test_an_account_that_changes_hands_takes_its_open_episodes_along(company):
    company.score(FIRST, {"A": 0.7})
    company.alert(FIRST)
    company.accounts({"A": "new@owners.test"})
    company.score(SECOND, {"A": 0.7})
    outcome = company.alert(SECOND)
    assert row(company, "owner", "state") == ("new@owners.test", "open")
    assert [told.event for told in outcome.told_again] == ["handed_over"]


def test_a_muted_account_opens_nothing_until_the_mute_ends(company):
    given = {"reason": "in a lawsuit", **ANA, **NOW}
    mutes.mute(company.state, "A", until=day("2024-06-10"), **given)
    mutes.mute(company.state, "B", until=day("2024-06-10"), kind="upsell", **given)
    company.score(SECOND, {"A": 0.7, "B": 0.7})
    assert [o.score.account_id for o in company.alert(SECOND).opened] == ["B"]
    company.score(THIRD, {"A": 0.7, "B": 0.7})
    assert [o.score.account_id for o in company.alert(THIRD).opened] == ["A"]


def test_a_mute_can_be_ended_and_what_is_wrong_with_one_is_said(company):
    given = {"reason": "x", **ANA}
    mutes.mute(company.state, "A", until=day("2024-06-10"), **given, **NOW)
    assert [m["account_id"] for m in mutes.read_mutes(company.state, **NOW)] == ["A"]
    assert mutes.unmute(company.state, "A", **NOW) == 1
    assert mutes.read_mutes(company.state, now=NOW["now"] + timedelta(seconds=1)) == []
    assert len(company.rows(MUTES, "id")) == 1
    wrong = [
        ({"until": day("2024-06-01"), **given}, "can't be muted until then"),
        ({"until": day("2024-06-10"), **given, "kind": "chrun"}, "no kind of alert chrun.*churn"),
        ({"until": day("2024-06-10"), **given, "reason": " "}, "needs a reason"),
    ]
    for options, problem in wrong:
        with pytest.raises(GarrisonError, match=problem):
            mutes.mute(company.state, "A", **options, **NOW)
    with pytest.raises(GarrisonError, match="the account A is not muted"):
        mutes.unmute(company.state, "A", **NOW)
