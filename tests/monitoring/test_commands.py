"""The commands as typed: what they print, write and end with."""

import json

import pytest
from typer.testing import CliRunner

from features.core.errors import GarrisonError
from features.state.tables import EPISODES, OUTBOX
from monitoring.__main__ import app

AT = "2024-06-01"


@pytest.fixture
def say(company):
    """Run a command on the company; gives what it printed."""

    def run(*words):
        result = CliRunner().invoke(app, [*words, "--config", str(company.file)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    return run


def test_alert_then_deliver_then_episodes(company, post, say):
    company.promote()
    company.mail_to(post)
    company.score(AT, {"A": 0.7, "B": 0.65, "C": 0.1})
    out = say("alert", "--as-of", AT, "--json", str(company.folder / "alert.json"))
    assert "As of 2024-06-01, 3 accounts in the cohort" in out
    assert "enters at 0.600, ends below 0.429" in out
    assert "2 opened, 0 continue, 0 closed" in out
    data = json.loads((company.folder / "alert.json").read_text())
    assert {(o["account_id"], o["message"]) for o in data["opened"]} == {("A", "letter"), ("B", "letter")}
    assert "owners.test" not in out + json.dumps(data)
    assert "Sent 2, refused 0" in say("deliver", "--json", str(company.folder / "deliver.json"))
    assert json.loads((company.folder / "deliver.json").read_text())["sent"] == 2
    listed = say("episodes")
    assert "2 episodes" in listed
    row = next(line.split() for line in listed.splitlines() if " A " in line)
    assert row[2:] == ["A", "Company", "A", "at", "risk", "a", "70%", "70%", "notified", "sent"]
    assert "nothing to do" in say("alert", "--as-of", AT)
    assert "No message was due: nothing was sent." in say("deliver")


def test_alert_shows_accounts_by_name_and_owner_and_money_in_its_currency(company, say):
    company.promote()
    company.score(AT, {"A": 0.7, "B": {"score": 0.65, "value": None}})
    rows = [line.split() for line in say("alert", "--as-of", AT).splitlines()]
    assert ["account", "name", "kind", "owner", "risk", "EUR", "a", "year", "message"] in rows
    assert ["A", "Company", "A", "at", "risk", "a", "70%", "12,000", "letter"] in rows
    assert ["B", "Company", "B", "at", "risk", "b", "65%", "not", "known", "letter"] in rows


def test_an_alert_that_finds_nothing_says_so(company, say):
    company.promote()
    company.score(AT, {"A": 0.1})
    assert "No account entered risk: no message was written." in say("alert", "--as-of", AT)


def test_a_dry_run_prints_and_writes_nothing(company, say):
    company.promote()
    company.score(AT, {"A": 0.7})
    assert "Dry run: nothing is written." in say("alert", "--as-of", AT, "--dry-run")
    assert (company.rows(EPISODES), company.rows(OUTBOX)) == ([], [])


def test_closed_episodes_are_listed_on_request(company, say):
    company.promote()
    for as_of, score in ((AT, 0.7), ("2024-06-08", 0.1)):
        company.score(as_of, {"A": score})
        say("alert", "--as-of", as_of)
    assert "0 episodes" in say("episodes")
    assert "recovered 2024-06-08" in say("episodes", "--closed")


def test_alert_without_a_champion_names_the_commands_that_make_one(say):
    with pytest.raises(GarrisonError, match="training promote"):
        say("alert")


def test_deliver_without_a_server_ends_with_status_1_and_one_line(company, post, finish):
    company.mail_to(post)
    company.score(AT, {"A": 0.7})
    company.alert(AT)
    post.stop()
    status, out, err = finish(company, "deliver")
    assert (status, out) == (1, "")
    assert err.startswith(f"error: no SMTP server can be reached at 127.0.0.1:{post.port}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("words", [("alert", "--as-of", "tomorrow"), ("deliver", "--to", "a@x.test"), ("mailbox",)])
def test_wrong_usage_ends_with_status_2(company, words):
    config = [] if words[0] == "mailbox" else ["--config", str(company.file)]
    assert CliRunner().invoke(app, [*words, *config]).exit_code == 2


def test_the_mailbox_command_takes_the_alerts(company, say, start, free_port):
    process = start(company, "mailbox", "--port", str(free_port), "--folder", str(company.folder / "mail"))
    assert "taking mail on" in process.stdout.readline()
    company.configure(
        folder=None, email={"host": "127.0.0.1", "port": free_port, "sender": "a@x.test", "security": "none"}
    )
    company.score(AT, {"A": 0.7})
    company.alert(AT)
    assert "Sent 1" in say("deliver")
    assert "to a@owners.test: At risk: Company A" in process.stdout.readline()
    assert (company.folder / "mail" / "0001.eml").exists()


def test_columns_that_the_model_does_not_read_are_no_drift_and_close_no_gate(company, say):
    company.promote(rank_spend_90d=0.5, parent_tickets_90d=1.0)
    company.score(AT, {"A": 0.7})
    out = say("drift", "--as-of", AT)
    assert "hold" not in out
    assert "rank_spend_90d" not in out
    assert "1 opened" in say("alert", "--as-of", AT)


def test_a_column_gone_that_the_model_reads_is_broken_and_closes_the_gate(company, say):
    company.promote(reads=("spend_90d", "seats"), seats=3.0)
    company.score(AT, {"A": 0.7})
    drift = CliRunner().invoke(app, ["drift", "--as-of", AT, "--config", str(company.file)])
    assert drift.exit_code == 1
    assert "hold\n  1 thing is wrong" in drift.output
    assert "seats: is not in the snapshot" in drift.output
    with pytest.raises(GarrisonError, match=r"is held: seats: is not in the snapshot\. Repair the data"):
        say("alert", "--as-of", AT)
    assert company.rows(EPISODES) == []


def test_drift_alone_closes_no_gate(company, say):
    owners = {f"a{n:03}": "o@owners.test" for n in range(90)}
    company.accounts(owners)
    company.purchases([f"{a},2024-05-{1 + n % 31:02},{9_000 + n}" for n, a in enumerate(owners)])
    company.promote()
    company.score(AT, {"a001": 0.7})
    assert "churn, as of 2024-06-01: watch" in say("drift", "--as-of", AT)
    assert "1 opened" in say("alert", "--as-of", AT)
