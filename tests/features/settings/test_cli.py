"""Tables of commands fit a terminal and are whole elsewhere; an error is one line, in colour on a terminal."""

from __future__ import annotations

import re

import pytest

from features.core.errors import GarrisonError
from features.settings import cli

SENTENCE = "Hours until the first response, on the mean over tickets [urgent ones too] of the window " * 2
NAME = "rank_first_response_hours_90d"


@pytest.fixture
def terminal(monkeypatch):
    """An 80-column terminal that takes no colours."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")


def printed(capsys):
    return [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in capsys.readouterr().out.splitlines()]


def show(*, title=None):
    table = cli.table("feature", "what it is", "rows", "unit", title=title, right=("rows",))
    table.add_row(NAME, SENTENCE, "1,234,567", "share of peers")
    table.add_row("users", "People :smile:", "1", "users")
    cli.print_table(table)


def test_a_piped_table_has_each_row_on_one_line_whatever_its_width(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    show(title="Catalog")

    lines = printed(capsys)
    assert len(lines) == 5
    assert lines[0].strip() == "Catalog"
    assert all(cell in lines[3] for cell in (NAME, SENTENCE.strip(), "1,234,567", "share of peers"))
    assert "People :smile:" in lines[4]
    assert lines[3].index("1,234,567") + 8 == lines[4].index(" 1 ") + 1


@pytest.mark.usefixtures("terminal")
def test_a_table_fits_a_terminal_of_80_columns_and_loses_nothing(capsys):
    show()

    lines = printed(capsys)
    assert max(map(len, lines)) <= 80
    assert any(line.startswith(NAME) for line in lines)
    words = " ".join(" ".join(line.replace(NAME, "").split()) for line in lines)
    assert all(word in words for word in SENTENCE.split())
    assert "1,234,567" in words


def fail():
    raise GarrisonError("there is no [red] account", found="Ä" * 100, hint="Name another")


def test_an_error_is_one_plain_line(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.run(fail)

    assert ended.value.code == 1
    expected = f"error: there is no [red] account. found: {'Ä' * 100}. Name another.\n"
    assert capsys.readouterr().err == expected


@pytest.mark.usefixtures("terminal")
def test_an_error_begins_in_red_on_a_terminal(capsys):
    with pytest.raises(SystemExit):
        cli.run(fail)

    assert capsys.readouterr().err.startswith("\x1b[1;31merror:\x1b[0m there is no [red] account")
