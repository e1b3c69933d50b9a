"""The commands about episodes, from the command line inwards: what they print, what they refuse, what they leave."""

import json

import pytest
from typer.testing import CliRunner

from features.core.errors import GarrisonError
from features.state.tables import EPISODES, MUTES
from monitoring.__main__ import app

FIRST = "2024-06-01"


@pytest.fixture
def say(company):
    def run(*words):
        result = CliRunner().invoke(app, [*words, "--config", str(company.file)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    return run


@pytest.fixture
def episode(company):
    """The id of an open episode of A."""
    company.score(FIRST, {"A": 0.7, "B": 0.1})
    return company.alert(FIRST).opened[0].episode


def test_an_episode_is_listed_acknowledged_handed_over_and_closed_and_its_course_is_told(company, say, episode):
    row = next(line.split() for line in say("episodes").splitlines() if episode[:8] in line)
    assert row[:6] == [FIRST, episode[:8], "A", "Company", "A", "at"]
    said = say("ack", episode[:8], "--by", "Ana", "--reason", "I call them")
    assert said == f"{episode[:8]}, account A. It is acknowledged; version 2.\n"
    assert "handed over to ben; version 3" in say("hand-over", episode, "--to", "ben@owners.test", "--by", "Ana")
    out = company.folder / "closed.json"
    said = say("close", episode, "--as", "false-alarm", "--reason", "moved", "--by", "Ben", "--json", str(out))
    assert "closed as false-alarm; version 4" in said
    assert json.loads(out.read_text())["outcome"] == "false_alarm"
    course = say("episodes", "--events", episode[:6])
    assert course.splitlines()[0] == f"Episode {episode}: at risk, account A; it is closed"
    assert f"1. as of {FIRST}  opened by run: score 70.0%; expected" in course
    assert "acknowledged by Ana: reason I call them" in course
    assert "handed over by Ana: from a; to ben" in course
    assert "closed by Ben: outcome false_alarm; reason moved" in course
    assert "owners.test" not in course
    assert "0 episodes are open" in say("episodes")
    assert "false alarm" in say("episodes", "--closed")


def test_snoozing_says_until_when_and_the_list_shows_it(say, episode):
    assert "snoozed until" in say("snooze", episode, "--until", _in_days(20))
    assert f"snoozed until {_in_days(20)}" in " ".join(say("episodes").split())


def test_a_preview_changes_nothing(company, say, episode):
    assert "Would be closed as saved" in say("close", episode, "--as", "saved", "--dry-run")
    assert "Would mute: A until" in say("mute", "A", "--until", _in_days(5), "--reason", "x", "--dry-run")
    assert (company.rows(EPISODES, "state", "version"), company.rows(MUTES)) == ([("open", 1)], [])


def test_an_account_is_muted_listed_and_unmuted(say):
    assert say("mute") == "Nothing is muted.\n"
    until = _in_days(9)
    assert say("mute", "A", "--until", until, "--reason", "a lawsuit", "--by", "Ana") == f"Muted: A until {until}.\n"
    assert say("mute") == f"A until {until}: a lawsuit (Ana)\n"
    assert say("unmute", "A") == "Ended 1 mute of A.\n"
    assert say("mute") == "Nothing is muted.\n"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("ack", "12345678"), "there is no episode 12345678"),
        (("close", "{episode}", "--as", "false-alarm"), "a false alarm needs a reason"),
        (("close", "{episode}", "--as", "won"), "won is no outcome"),
        (("snooze", "{episode}", "--until", "2020-01-01"), "can't be snoozed until then"),
        (("hand-over", "{episode}", "--to", "nobody"), "not one plain e-mail address"),
        (("mute", "Z", "--until", "2030-01-01", "--reason", "x"), "there is no account Z"),
        (("mute", "A", "--until", "{soon}"), "a mute needs a reason"),
        (("unmute", "A"), "the account A is not muted"),
        (("episodes", "--events", "12345678"), "there is no episode 12345678"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_changes(company, episode, words, problem):
    words = [word.format(episode=episode, soon=_in_days(5)) for word in words]
    with pytest.raises(GarrisonError, match=problem):
        CliRunner().invoke(app, [*words, "--config", str(company.file)], catch_exceptions=False)
    assert company.rows(EPISODES, "state", "version") == [("open", 1)]


def test_an_act_that_saw_an_old_version_is_refused(company, say, episode):
    say("ack", episode, "--by", "Ana")
    words = ["close", episode, "--as", "saved", "--version", "1", "--config", str(company.file)]
    with pytest.raises(GarrisonError, match=r"has changed since you saw it.*acknowledged by Ana"):
        CliRunner().invoke(app, words, catch_exceptions=False)


def _in_days(days):
    from datetime import UTC, datetime, timedelta

    return f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%d}"
