"""The commands as typed: who answers for an account, who is away, and what tier it has."""

import json

import pandas as pd
import pytest

from tests.support.commands import run_command

WEEKS = pd.date_range("2023-01-03", "2024-12-31", freq="7D")
BINDING = """
[binding]
teams = { service = "support@harbour.test" }
sponsors = [{ tiers = ["A", "B"], address = "ceo@harbour.test", role = "chief executive" }]
[binding.people."a@owners.test"]
deputy = "dee@harbour.test"
timezone = "Asia/Shanghai"
"""


@pytest.fixture
def bound(company):
    """Five accounts, of which A buys most and E least, with teams and a sponsor."""
    company.purchases([f"{a},{at:%Y-%m-%d},{60 - 10 * n}" for n, a in enumerate("ABCDE") for at in WEEKS])
    company.promote()
    company.file.write_text(company.file.read_text() + BINDING)
    return company


def score(company, at):
    done = run_command("serving", "score", "--as-of", at, "--config", company.file, cwd=company.folder)
    assert done.returncode == 0, done.stderr


def test_who_answers_for_an_account_and_why(bound, finish):
    score(bound, "2024-06-01")
    _, out, _ = finish(bound, "who", "A", "--json", bound.folder / "who.json")
    assert "Company A (account A)" in out
    assert "Tier A: worth 0.70, the mean of revenue 0.90, integrity 0.50; A is from 0.70" in out
    people = json.loads((bound.folder / "who.json").read_text())["people"]
    assert [(p["role"], p["address"]) for p in people] == [
        ("owner", "a@owners.test"),
        ("team for service", "support@harbour.test"),
        ("chief executive", "ceo@harbour.test"),
    ]
    assert "ceo@" not in finish(bound, "who", "E")[1]


def test_who_is_away_hands_over_and_comes_back(bound, finish):
    assert finish(bound, "away")[1] == "Nobody is noted as away.\n"
    finish(bound, "away", "a@owners.test", "--until", "2099-01-01")
    assert "a@owners.test is away until 1 January 2099" in finish(bound, "away")[1]
    _, out, _ = finish(bound, "who", "A", "--json", bound.folder / "who.json")
    owner = json.loads((bound.folder / "who.json").read_text())["people"][0]
    assert owner["address"] == "dee@harbour.test"
    assert owner["why"] == "You get this because a@owners.test is away until 1 January 2099 and you stand in."
    assert "No tier: it has not been scored." in out
    finish(bound, "back", "A <a@owners.test>")
    assert finish(bound, "away")[1] == "Nobody is noted as away.\n"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["who", "Z"], 1, "there is no account Z"),
        (["away", "nobody", "--gone"], 1, "is not one e-mail address"),
        (["away", "a@owners.test"], 2, "either --until DATE or --gone"),
        (["away", "a@owners.test", "--until", "2000-01-01"], 1, "ends before it begins"),
        (["away", "a@owners.test", "--gone", "--deputy", "a@owners.test"], 1, "can't stand in for themselves"),
        (["back", "a@owners.test"], 1, "is not noted as away"),
        (["tiers"], 1, "nothing has been scored"),
        (["tiers", "show", "A"], 1, "nothing has been scored"),
        (["tiers", "set", "A", "F", "--reason", "x"], 1, "there is no tier F"),
        (["tiers", "set", "A", "A", "--reason", " "], 1, "needs a reason"),
        (["tiers", "clear", "A"], 1, "nobody has set the tier of A"),
        (["tiers", "recut", "2026"], 1, "there are no cuts of 2026"),
    ],
)
def test_what_can_not_be_done_says_why(bound, words, status, said):

    done = run_command("monitoring", *words, "--config", bound.file, cwd=bound.folder)
    assert (done.returncode, said in " ".join(done.stderr.split())) == (status, True), done.stderr


def test_tiers_move_with_the_account_and_by_hand(bound, finish):
    score(bound, "2024-05-01")
    assert "A 1, B 1, C 1, D 1, E 1" in finish(bound, "tiers")[1]
    # E begins to buy most, and within the quarter only E moves, after two runs.
    rows = [f"{a},{at:%Y-%m-%d},{60 - 10 * n}" for n, a in enumerate("ABCDE") for at in WEEKS]
    bound.purchases([*rows, *(f"E,{at:%Y-%m-%d},9000" for at in WEEKS if at > pd.Timestamp("2024-05-01"))])
    score(bound, "2024-06-01")
    assert "Moved since 2024-05-01: 0" in finish(bound, "tiers")[1]
    assert "so far 1." in finish(bound, "tiers", "show", "E")[1]
    score(bound, "2024-06-08")
    _, out, _ = finish(bound, "tiers")
    assert "Moved since 2024-06-01: 1" in out
    assert ["E", "E", "A"] in [line.split() for line in out.splitlines()]
    assert finish(bound, "tiers", "show", "E")[1].splitlines()[-2:] == ["  2024-05-01 E", "  2024-06-08 A"]
    finish(bound, "tiers", "set", "D", "A", "--reason", "opens doors")
    score(bound, "2024-06-15")
    assert "opens doors" in finish(bound, "tiers")[1]
    assert "By the cuts it is" in finish(bound, "tiers", "show", "D")[1]
    score(bound, "2024-06-15")  # again: nothing counts twice
    assert "Moved since 2024-06-08: 1" in finish(bound, "tiers")[1]
    assert "are forgotten" in finish(bound, "tiers", "recut", "2024-Q2")[1]
