"""The page of the catalog: current, complete, and kept beside what people wrote."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from features.__main__ import app
from features.catalog import FEATURES, markdown

PAGE = Path(__file__).parents[3] / "docs" / "features.md"


def cells(page, name):
    (row,) = (line for line in page.splitlines() if f"| `{name}` |" in line)
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


def test_the_page_in_docs_is_current():
    page = PAGE.read_text(encoding="utf-8")
    if markdown.replace_catalog(page, FEATURES) != page:
        pytest.fail(f"docs/{PAGE.name} isn't current: python -m features catalog --markdown docs/{PAGE.name}")


def test_every_feature_has_a_row_with_all_that_it_is():
    page = markdown.replace_catalog("", FEATURES)
    for one in FEATURES.values():
        family, name, days, sentence, unit, missing, risk, play = cells(page, one.name)
        assert family in {"", one.family}
        assert (name, sentence, unit) == (f"`{one.name}`", one.sentence, one.unit)
        assert days == ("" if one.window is None else str(one.window))
        assert missing in {"", one.missing}
        assert risk == {-1: "only lowers", 0: "", 1: "only raises"}[one.direction]
        assert play == (one.play or "")


def test_what_a_null_means_is_said_where_there_can_be_one():
    page = markdown.replace_catalog("", FEATURES)
    assert cells(page, "usage_events_30d")[5] == ""
    assert cells(page, "csat_90d")[5] == FEATURES["csat_90d"].missing
    assert cells(page, "days_to_renewal")[5] == "no term in force"


def test_features_stand_under_the_sources_that_they_need():
    page = markdown.replace_catalog("", FEATURES)
    headings = [line for line in page.splitlines() if line.startswith("### ")]
    assert headings[0] == "### The account itself (2)"
    assert any(line.startswith("### Tickets and usage (") for line in headings)
    assert sum(int(line.split("(")[1].rstrip(")")) for line in headings) == len(FEATURES)


def test_what_stands_above_the_catalog_is_kept_and_renewing_twice_changes_nothing(tmp_path):
    file = tmp_path / "page.md"
    file.write_text(f"# Ours\n\nWords of ours.\n\n{markdown.HEADING}\n\nold rows\n", encoding="utf-8")
    said = CliRunner().invoke(app, ["catalog", "--markdown", str(file)])
    assert said.exit_code == 0
    assert f"{len(FEATURES)} features" in said.output
    page = file.read_text(encoding="utf-8")
    assert page.startswith(f"# Ours\n\nWords of ours.\n\n{markdown.HEADING}\n")
    assert "old rows" not in page
    assert markdown.replace_catalog(page, FEATURES) == page


def test_a_page_that_is_not_there_yet_is_made(tmp_path):
    CliRunner().invoke(app, ["catalog", "--markdown", str(tmp_path / "new.md")])
    assert (tmp_path / "new.md").read_text(encoding="utf-8").startswith(markdown.HEADING)
