"""The data report: gaps, lateness, examples of bad rows, written as a page that needs no network and runs nothing."""

import html
import json
import re
from datetime import date

import pytest
from typer.testing import CliRunner

from features.__main__ import app
from features.core.errors import FeatureError
from features.diagnostics import data_report
from features.diagnostics.activity import measure_activity
from features.diagnostics.concerns import list_concerns

LEAKING = """
from features.definition import Stream, feature

EARLY = Stream("early", "tickets", lambda t: t.mutate(t=t.opened_at, known=t.known_at))

@feature(windows=(90,), unit="u", family="f", says="{value}")
def early_rating(at, w):
    "Sum of ratings."
    return at(EARLY.sum("csat"), w)

FEATURES = (*early_rating,)
"""


@pytest.fixture
def harbour(company):
    """Usage with a gap from the 4th to the 6th and one on the 9th, known hours late; and bad rows."""
    days = [1, 2, 3, 7, 8, 10]
    rows = [
        f"A,2024-01-{d:02}T10:00:00Z,2024-01-{d:02}T{10 + late}:00:00Z,3"
        for d, late in zip(days, range(6), strict=True)
    ]
    company.table("usage", "account_id,used_at,known_at,errors", *rows, "B,2024-01-02T11:00:00Z,,")
    company.only(
        "purchases",
        "account_id,purchased_at,amount,contact_name,note",
        "A,2024-01-05,10,Ann,fine",
        "A,<script>alert(1)</script>,10,Bea Berth,write to bea.berth@harbour.example",
        "A,soon,11,Bea Berth," + "long " * 30,
        "A,later,12,Bea Berth,x",
        "A,never,13,Bea Berth,fourth",
        columns={c: c for c in ("account_id", "purchased_at", "amount")},
    )
    return company


@pytest.fixture
def found(harbour):
    with harbour.open() as history:
        return data_report.build_data_report(history, harbour.settings())


def table(found, name):
    return next(t for t in found.tables if t.checked.table == name)


def check(company, *words):
    company.write()
    return CliRunner().invoke(app, ["check", "--config", str(company.file), *words], env={"COLUMNS": "200"})


def test_days_without_events_are_found_the_longest_first(harbour):
    with harbour.open() as history:
        usage = measure_activity(history, "usage")
    assert [str(g) for g in usage.gaps()] == ["2024-01-04 to 2024-01-06 (3 days)", "2024-01-09"]
    assert usage.span == 10
    bars = list(usage.bars())
    assert [bar.events for bar in bars] == [1, 2, 1, 0, 0, 0, 1, 1, 0, 1]
    assert [bar.empty for bar in bars] == [b.events == 0 for b in bars]
    assert (bars[0].first, bars[-1].first) == (date(2024, 1, 1), date(2024, 1, 10))
    assert max(bar.height for bar in bars) == 1


def test_lateness_is_that_from_the_event_to_when_it_was_known(found):
    # 0 to 5 hours, and 0 for the row that doesn't say.
    assert table(found, "usage").activity.late_hours == (2, 5, 5)
    assert table(found, "accounts").activity is None


def test_years_of_days_make_a_plot_of_few_bars_that_hold_all_events(company):
    company.table("usage", "account_id,used_at", *(f"A,{y}-{m:02}-01" for y in range(2015, 2024) for m in range(1, 13)))
    with company.open() as history:
        usage = measure_activity(history, "usage")
    bars = list(usage.bars())
    assert 100 < len(bars) <= 240
    wide = (bars[1].first - bars[0].first).days
    whole = sum(b.events for b in bars[:-1]) * wide + bars[-1].events * (usage.span - wide * (len(bars) - 1))
    assert whole == pytest.approx(108)


def test_a_source_without_rows_that_hold_has_no_course(company):
    company.only("usage", "account_id,used_at", "A,never")
    with company.open() as history:
        found = data_report.build_data_report(history, company.settings())
    assert table(found, "usage").as_dict()["gaps"] == []
    assert table(found, "usage").as_dict()["lateness_hours"] is None
    assert data_report.write_page(found, company.folder / "p.html").exists()


def test_nulls_are_shares_of_the_kept_rows_by_mapped_column(found):
    assert table(found, "usage").nulls == pytest.approx({"account_id": 0, "used_at": 0, "known_at": 0, "errors": 1 / 7})
    assert table(found, "accounts").nulls == {"account_id": 0, "created_at": 0}


def test_quarantine_shows_up_to_three_rows_shortened_and_no_person(found):
    (reason,) = table(found, "purchases").reasons
    assert (reason.why, reason.count, len(reason.examples)) == ("purchased_at is not a time", 4, 3)
    first, second, _ = reason.examples
    assert first["purchased_at"] == "<script>alert(1)</script>"
    assert first["contact_name"] == "(hidden)"
    assert first["note"] == "write to …@harbour.example"
    assert len(second["note"]) == 40
    assert second["note"].endswith("…")
    text = json.dumps(found.as_dict())
    assert "Berth" not in text
    assert "bea.berth" not in text


def test_the_page_escapes_what_is_in_the_data_and_needs_no_network(found, tmp_path):
    file = data_report.write_page(found, tmp_path / "new" / "check.html")
    page = file.read_text(encoding="utf-8")
    assert "<script" not in page
    assert html.escape("<script>alert(1)</script>") in page
    assert not re.findall(r"(?:src|href)\s*=|url\(|@import", page)
    assert "2024-01-04 to 2024-01-06 (3 days)" in page
    assert page.count("<svg") == 2
    assert page.rstrip().endswith("</html>")
    assert [f.name for f in file.parent.iterdir()] == ["check.html"]


def test_the_page_begins_with_what_is_worst_and_lists_only_columns_with_holes(found, tmp_path):
    page = data_report.write_page(found, tmp_path / "check.html").read_text(encoding="utf-8")
    banner = page[page.index("<h1>") : page.index("The tables")]
    assert "stops scores" in banner
    assert "purchases: 4 of 5 rows (80%) are left out, most of all: purchased_at is not a time" in banner
    assert page.count("Columns with holes") == 1
    assert "Filled in every row: account_id, created_at." in page
    severities = [concern.severity for concern in list_concerns(found)]
    assert severities == sorted(severities, key=("stop", "look", "know").index)


def test_a_page_that_can_not_be_made_leaves_the_one_before(found, tmp_path, monkeypatch):
    file = data_report.write_page(found, tmp_path / "check.html")
    before = file.read_bytes()
    monkeypatch.setattr(data_report.html, "render_template", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        data_report.write_page(found, file)
    assert file.read_bytes() == before


def test_check_prints_the_report_and_writes_page_and_json(harbour):
    said = check(harbour, "--json", str(harbour.folder / "check.json"))
    assert said.exit_code == 0, said.output
    assert "Can you train? Not yet:\n  churn_" in said.output
    assert "usage: 4 of 10 days without an event; longest 2024-01-04 to 2024-01-06 (3 days)" in said.output
    assert "purchases, such as this (purchased_at is not a time): account_id A" in said.output
    page = harbour.folder / "var" / "harbour" / "check.html"
    assert page.exists()
    report = json.loads((harbour.folder / "check.json").read_text(encoding="utf-8"))
    assert set(report) >= {
        "tables",
        "identity",
        "absent",
        "suspects",
        "features",
        "catalog",
        "own_features",
        "probes",
        "page",
    }
    assert report["page"] == str(page)
    usage = report["tables"]["usage"]
    assert usage["gaps"][0] == {"first": "2024-01-04", "last": "2024-01-06", "days": 3}
    assert (usage["days"], usage["days_without_events"]) == (10, 4)
    assert usage["lateness_hours"] == {"median": 2, "p95": 5, "max": 5}
    assert report["probes"] is None


def test_check_ends_with_an_error_that_names_the_leak_after_the_report_is_written(harbour):
    (harbour.folder / "own_features.py").write_text(LEAKING, encoding="utf-8")
    harbour.toml["catalog"] = {"features": "own_features.py"}
    tickets = [f"{d},A,2023-{m:02}-{d:02},2023-{m:02}-{d + 5:02},4" for m in range(1, 13) for d in (3, 13)]
    tickets = [f"{n}-{row}" for n, row in enumerate(tickets)]
    harbour.table("tickets", "ticket_id,account_id,opened_at,resolved_at,csat", *tickets)
    said = check(harbour, "--json", str(harbour.folder / "check.json"))
    assert isinstance(said.exception, FeatureError)
    assert re.search(
        r"features leak: early_rating_90d. found: early_rating_90d of account A at 20", str(said.exception)
    )
    assert "Leak: early_rating_90d of account A at 20" in said.output
    report = json.loads((harbour.folder / "check.json").read_text(encoding="utf-8"))
    assert report["own_features"] == ["early_rating_90d"]
    assert report["probes"]["leaks"][0]["feature"] == "early_rating_90d"
    page = (harbour.folder / "var" / "harbour" / "check.html").read_text(encoding="utf-8")
    assert page.index('<span class="label">leak</span>: early_rating_90d') < page.index("The tables")


def test_quarantine_hides_what_the_map_of_personal_columns_names_whatever_its_source_is_called(company):
    personal = {"who": "handled_by", "headline": "subject", "words": "body"}
    company.only(
        "tickets",
        f"ticket_id,account_id,opened_at,{','.join(personal)}",
        f"T1,A,never,{','.join(f'marked {column}' for column in personal)}",
        columns={c: c for c in ("ticket_id", "account_id", "opened_at")} | {v: k for k, v in personal.items()},
    )
    with company.open() as history:
        found = data_report.build_data_report(history, company.settings())
    example = table(found, "tickets").reasons[0].examples[0]
    assert {example[column] for column in personal} == {"(hidden)"}
    assert example["ticket_id"] == "T1"
    assert "marked" not in json.dumps(found.as_dict())
