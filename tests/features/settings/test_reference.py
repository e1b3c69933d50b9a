"""The page of all keys: current, complete, with a meaning for each; and the periods of the fiscal year."""

from __future__ import annotations

import re
from pathlib import Path

import pydantic
import pytest
from typer.testing import CliRunner

from features import settings
from features.__main__ import app
from features.core.contract import TABLES
from features.settings import reference
from features.settings.periods import find_period
from tests.support.commands import run_command

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"


def test_the_page_in_docs_is_current():
    page = PAGE.read_text(encoding="utf-8")
    if reference.replace_reference(page) != page:
        pytest.fail("docs/settings.md isn't current: make settings")


def test_every_key_is_on_it_with_a_meaning():
    page = reference.replace_reference("")
    models = [m for m in vars(settings).values() if isinstance(m, type) and issubclass(m, pydantic.BaseModel)]
    assert len(models) > 20
    for model in models:
        for name, field in model.model_fields.items():
            assert field.exclude or f"`{name}`" in page or f"`[{name}" in page, name
    bare = [line for line in page.split("## Columns of the tables")[0].splitlines() if line.endswith("|  |")]
    assert bare == []


def test_types_limits_values_and_defaults_are_those_of_the_settings():
    keys, _, columns = reference.replace_reference("").partition("## Columns of the tables")
    rows = dict(re.findall(r"(?m)^\| `(\w+)` \| (.+) \|$", keys))
    assert rows["lag"].startswith("span of time, such as `30m`, `6h` or `1d` | `0m` | How long after")
    assert rows["max_quarantine"].startswith("number (at least 0, at most 1) | `0.05` | A share")
    assert rows["repeats"].startswith('`"auto"`, `"drop"`, `"keep"` | `"auto"` | ')
    assert rows["port"].startswith("whole number (at least 1, at most 65535) | `587` | ")
    assert rows["starts"] == "time of day | `09:00` | By their own clock."
    rows = dict(re.findall(r"(?m)^\| `(\w+)` \| (.+) \|$", columns))
    assert rows["priority"] == "`low`, `normal`, `high`, `urgent` | "


def test_every_column_that_may_be_mapped_is_on_it():
    page = reference.replace_reference("").split("## Columns of the tables")[1]
    for name, table in TABLES.items():
        (section,) = re.findall(rf"### `{name}`\n((?:.*\n)*?)(?:\n### |\Z)", page + "\n")
        for column, spec in table.columns.items():
            assert (f"| `{column}` |" in section) == (spec.mappable or not spec.made), column


def test_what_stands_above_it_is_kept(tmp_path):
    file = tmp_path / "page.md"
    file.write_text(f"# Ours\n\nWords.\n\n{reference.HEADING}\n\nstale rows\n", encoding="utf-8")
    assert CliRunner().invoke(app, ["settings", "--markdown", str(file)]).exit_code == 0
    page = file.read_text(encoding="utf-8")
    assert page.startswith(f"# Ours\n\nWords.\n\n{reference.HEADING}\n")
    assert "stale rows" not in page
    assert CliRunner().invoke(app, ["settings"]).output == page[page.index(reference.HEADING) :]


@pytest.mark.parametrize(
    ("text", "starts", "begin", "end"),
    [
        ("2026-04", 4, "2026-04-01", "2026-05-01"),
        ("2026-12", 1, "2026-12-01", "2027-01-01"),
        ("2026", 1, "2026-01-01", "2027-01-01"),
        ("2026", 4, "2025-04-01", "2026-04-01"),
        ("2026-Q4", 1, "2026-10-01", "2027-01-01"),
        ("2026-Q1", 4, "2025-04-01", "2025-07-01"),
        ("2026-Q4", 4, "2026-01-01", "2026-04-01"),
        ("2026-Q2", 10, "2026-01-01", "2026-04-01"),
        ("2026-Q1", 12, "2025-12-01", "2026-03-01"),
    ],
)
def test_a_period_is_a_month_or_of_the_fiscal_year_named_by_its_end(text, starts, begin, end):
    assert [f"{day:%Y-%m-%d}" for day in find_period(text, starts=starts)] == [begin, end]


@pytest.mark.parametrize(
    "words", [("--period", "2026-Q5"), ("--period", "Q1"), (), ("--since", "2026-01-01", "--period", "2026")]
)
def test_a_report_of_no_period_is_wrong_usage(company, words):
    done = run_command("monitoring", "report", "--config", company.write(), *words)
    assert done.returncode == 2
    assert "period" in done.stderr
