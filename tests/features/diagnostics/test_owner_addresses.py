"""`features check` counts the accounts whose owner no letter can reach."""

import pytest
from typer.testing import CliRunner

from features.__main__ import app

OWNERS = ["ann@shop.example", "Jane Doe <jane@shop.example>", "MAILTO:jo@shop.example"]
FAULTS = ["", "0055x00000A1QAB", "0055x00000A1QAC", "a@shop.example;b@shop.example", "ann@"]


@pytest.fixture
def check(company):
    def run(owners, mapped=("account_id", "created_at", "owner_email")):
        rows = (f"A{n},2023-01-01,{owner}" for n, owner in enumerate(owners))
        company.table("accounts", "account_id,created_at,owner_email", *rows, columns={c: c for c in mapped})
        company.table("usage", "account_id,used_at", "A1,2024-01-05")
        file = company.write()
        return " ".join(
            CliRunner().invoke(app, ["check", "--config", str(file), "--as-of", "2024-01-06"]).output.split()
        )

    return run


def test_owners_without_a_usable_address_are_counted_by_what_is_wrong(check):
    out = check(OWNERS + FAULTS)
    assert "2 of 8 have no owner that a letter can reach: its owner is a name or an id" in out
    assert "1 of 8 have no owner that a letter can reach: it has no owner" in out
    assert "1 of 8 have no owner that a letter can reach: its owner is several addresses in one field" in out
    assert "1 of 8 have no owner that a letter can reach: its owner's e-mail address can't be read" in out


def test_nothing_is_said_of_owners_who_can_be_reached_or_are_not_mapped(check):
    assert "a letter can reach" not in check(OWNERS)
    assert "a letter can reach" not in check(FAULTS, mapped=("account_id", "created_at"))
