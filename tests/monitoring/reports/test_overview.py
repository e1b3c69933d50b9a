import json
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from monitoring.__main__ import app
from monitoring.drift.drift_page import name_drift_page
from monitoring.drift.drift_report import drift_folder
from serving.gate import verdict_store
from serving.gate.verdict import Reason, RunVerdict
from tests.monitoring.conftest import day

EVIL = "</svg><script>alert(1)</script>"
HOLD = Reason("source", "usage", "hold", "silent for 42 days, in two years never for more than 1")
WATCH = Reason("scores", "churn_90d", "watch", f"moved {EVIL}")
START = day("2024-01-01")


@pytest.fixture
def judge(company):
    """Store the verdict on one more run, a week after the last; returns it."""
    runs = []

    def store(*reasons, psi=0.01):
        at = START + timedelta(days=7 * len(runs))
        figures = {"accounts": 5.0} | ({"psi churn_90d": psi} if runs else {})
        made = RunVerdict(f"{len(runs):08}run", at, at, at, reasons, figures, None, {"churn": "churn-1"})
        verdict_store.write_verdict(company.state, made)
        runs.append(made)
        return made

    return store


def overview(company):
    """Run the command; returns the page's text, without the runs of blanks."""
    result = CliRunner().invoke(app, ["overview", "--config", str(company.file)], catch_exceptions=False)
    assert result.exit_code == 0
    page = company.settings.var / "monitoring.html"
    assert str(page) in result.output
    return " ".join(page.read_text().split())


def test_before_the_first_run_the_page_says_what_will_be_here(company):
    text = overview(company)
    assert "No run has been judged yet" in text
    assert "python -m serving score" in text
    assert "<svg" not in text


def test_the_newest_verdict_comes_first_with_its_reasons_and_what_to_do(company, judge):
    judge()
    judge(WATCH, psi=0.09)
    judge(HOLD, psi=0.5)
    text = overview(company)
    banner = text[text.index('class="banner') : text.index("The course of the verdicts")]
    assert 'class="banner bad"' in text
    assert "hold: nobody should act on the scores" in banner
    assert "silent for 42 days" in banner
    assert "release 00000002" in banner
    assert "2024-01-15" in text[: text.index('class="banner')]


def test_every_run_is_drawn_and_listed_with_the_psi_of_its_scores(company, judge):
    judge()
    judge(WATCH, psi=0.09)
    judge(HOLD, psi=0.5)
    judge()
    text = overview(company)
    course = text[text.index("The course of the verdicts") : text.index("How far the scores moved")]
    assert [course.count(f"2024-01-{at:02}: {state}") for at, state in ((1, "ok"), (8, "watch"), (15, "hold"))] == [
        1
    ] * 3
    assert ("2 ok" in course, "1 watch" in course, "1 hold" in course) == (True, True, True)
    scores = text[text.index("How far the scores moved") : text.index("<table ")]
    assert scores.count("<polyline") == 1
    assert "2024-01-15: PSI 0.50, hold" in scores
    assert text[text.index("<table ") :].count("<tr>") == 5


def test_a_decision_stands_beside_the_run(company, judge):
    held = judge(HOLD)
    assert "not decided" in overview(company)
    verdict_store.write_decision(company.state, held, "released", reason="a holiday <b>")
    text = overview(company)
    assert "not decided" not in text
    assert "a holiday &lt;b&gt;" in text


def test_nothing_breaks_out_of_the_page_and_nothing_is_fetched(company, judge):
    judge()
    judge(WATCH)
    text = overview(company)
    assert EVIL not in text
    assert "<script" not in text
    assert "&lt;/svg&gt;" in text
    assert "http" not in text


def test_the_drift_pages_of_a_run_are_linked_with_their_verdict(company, judge):
    run = judge()
    page = name_drift_page(drift_folder(company.settings), run.as_of, "churn")
    page.parent.mkdir(parents=True)
    page.write_text("a page")
    assert f'<a href="drift/{page.name}">churn</a>' in overview(company)
    page.with_suffix(".json").write_text(json.dumps({"verdict": {"state": "watch"}}))
    assert f'<a href="drift/{page.name}">churn watch</a>' in overview(company)


def test_of_many_runs_the_newest_are_shown_and_all_are_counted(company, judge):
    for _ in range(65):
        judge()
    text = overview(company)
    assert "(the newest 60 of 65)" in text
    assert "2024-01-29: ok" not in text
    assert "2024-02-05: ok" in text
