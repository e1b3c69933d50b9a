"""Columns and sources that look like the answer are named without any label."""

import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.diagnostics.target_leakage import find_suspects, measure_alone
from tests.support.commands import run_command

ROOT = Path(__file__).parents[3]
END = date(2024, 6, 30)


@pytest.fixture
def mixed(company):
    """200 accounts, every fourth silent for 120 days; `fill(number, gone)` gives what a made-up column holds."""

    def make(fill, *, ends=False):
        accounts, purchases, lives = [], [], []
        for n in range(200):
            gone = n % 4 == 0
            last = END - timedelta(days=120 if gone else n % 20)
            accounts.append(f"A{n},2023-01-01,{fill(n, gone)}")
            purchases += [f"A{n},{d},10" for d in ("2023-02-01", last)]
            lives.append(f"A{n},2023-01-01,{last if gone else ''}")
        company.table("accounts", "account_id,created_at,made_up", *accounts)
        company.table("purchases", "account_id,purchased_at,amount", *purchases)
        if ends:
            company.table("lifetimes", "account_id,started_at,ended_at", *lives)
        return company

    return make


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize(
    ("fill", "by"),
    [
        (lambda _, gone: "closed" if gone else "open", "its value"),
        (lambda n, gone: f"reason {n}" if gone else "", "whether it is there"),
    ],
)
def test_a_column_that_tells_the_gone_from_the_present_is_named(mixed, fill, by, ends):
    with mixed(fill, ends=ends).open() as history:
        [found] = find_suspects(history)
    assert found.name == "made_up"
    assert found.auc == pytest.approx(1.0)
    assert f"made_up: {by} alone tells accounts that left" in found.sentence
    assert "200 accounts, 50 of them gone" in found.sentence


def test_a_column_that_only_goes_with_leaving_is_not(mixed):
    with mixed(lambda n, gone: "basic" if gone or n % 3 == 0 else "plus").open() as history:
        assert find_suspects(history) == ()


@pytest.mark.parametrize("dated", [False, True])
def test_a_number_that_goes_with_leaving_is_named_unless_it_is_dated(mixed, dated):
    company = mixed(lambda n, gone: n % 7 + 3 * (not gone))
    columns = company.toml["tables"]["accounts"]["columns"]
    columns["made_up"] = {"column": "made_up", "kind": "whole"}
    if dated:
        columns["valid_from"] = "created_at"
    with company.open() as history:
        assert [s.name for s in find_suspects(history)] == ([] if dated else ["made_up"])


def test_a_source_that_only_the_gone_have_is_named(mixed):
    company = mixed(lambda n, _: n % 7)
    rows = [f"T{n},A{n},2024-02-01" for n in range(0, 200, 4)]
    company.table("tickets", "ticket_id,account_id,opened_at", *rows)
    with company.open() as history:
        assert [s.name for s in find_suspects(history)] == ["tickets"]


def test_too_few_accounts_say_nothing(company):
    with company.open() as history:
        assert find_suspects(history) == ()


def test_check_prints_what_is_suspicious_and_writes_it_for_machines(mixed):
    company = mixed(lambda _, gone: "closed" if gone else "open")
    file = company.folder / "check.json"
    done = run_command("features", "check", "--config", company.write(), "--json", file)
    assert "training would stop" in done.stderr
    assert "Suspicious: made_up: its value alone tells accounts that left" in done.stdout
    assert [s["name"] for s in json.loads(file.read_text())["suspects"]] == ["made_up"]


def test_a_number_tells_in_either_direction_and_by_being_there():
    answers = np.repeat([1.0, 0.0], 50)
    assert measure_alone(pd.Series(np.arange(100.0)), answers).auc == 1.0
    assert measure_alone(pd.Series(-np.arange(100.0)), answers).auc == 1.0
    by_presence = measure_alone(pd.Series(np.where(answers == 1, 5.0, np.nan)), answers)
    assert (by_presence.auc, by_presence.by) == (1.0, "whether it is there")


def test_names_that_differ_for_every_account_tell_nothing():
    random = np.random.default_rng(1)
    answers = random.integers(0, 2, 400).astype("float64")
    assert measure_alone(pd.Series([f"name {n}" for n in range(400)]), answers).auc < 0.6
