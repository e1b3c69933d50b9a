import json
from datetime import UTC, datetime

import pandas as pd
import pytest

from features.core.errors import GarrisonError
from features.state.tables import EPISODES
from monitoring.reports import manager
from tests.support.commands import run_command

JUNE, JULY = datetime(2024, 6, 1, tzinfo=UTC), datetime(2024, 7, 1, tzinfo=UTC)
EVIL = "<script>alert(1)</script>"


@pytest.fixture
def scored(company):
    """A rose most in money, B a little in risk, C fell, D left, E came, F is outside of the cohort."""
    company.accounts(dict.fromkeys("ABCDEF"), {a: f"Company {a}" for a in "BCDEF"} | {"A": EVIL})
    june = {"A": 0.2, "B": 0.2, "C": 0.9, "D": 0.3}
    july = {"A": {"score": 0.7, "value": 90_000.0}, "B": 0.24, "C": 0.1, "E": {"score": 0.5, "value": None}}
    outside = {"F": {"score": 0.5, "in_cohort": False}}
    company.score("2024-06-01", june | outside)
    company.score("2024-07-01", july | outside)
    return company


def ids(report):
    return {way: [m.account_id for m in group.top] for way, group in report.groups.items()}


def test_each_account_is_in_the_list_it_belongs_to(scored):
    report, _ = manager.run(scored.settings, since=JUNE)
    assert (report.since, report.until, report.horizon) == (JUNE, JULY, 90)
    assert report.accounts == (4, 4)
    assert ids(report) == {"rose": ["A"], "fell": ["C"], "came": ["E"], "left": ["D"]}
    assert report.at_stake == (pytest.approx(1.6 * 12_000), pytest.approx(0.7 * 90_000 + 0.34 * 12_000))


def test_the_page_escapes_names_and_needs_no_network(scored):
    report, file = manager.run(scored.settings, since=JUNE)
    text = file.read_text()
    assert EVIL not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "http" not in text
    assert "not known" in text
    assert file.name == "2024-06-01-2024-07-01.html"
    assert any("risk 20% -> 70%" in line for line in report.lines("EUR"))
    assert json.loads(json.dumps(report.as_dict(), allow_nan=False))["groups"]["came"]["top"][0]["value"] is None


def test_what_is_at_risk_is_told_by_owner_and_over_time(scored):
    scored.accounts({a: f"{'ann' if a in 'AB' else 'bea'}@quay.example" for a in "ABCDE"} | {"F": None})
    report, file = manager.run(scored.settings, since=JUNE)
    ann, bea = report.breakdown.owners
    assert (ann.owner, ann.accounts, ann.rose) == ("ann@quay.example", 2, 1)
    assert (ann.before, ann.now) == (pytest.approx(0.4 * 12_000), pytest.approx(0.7 * 90_000 + 0.24 * 12_000))
    assert (bea.accounts, bea.rose, bea.now) == (2, 0, pytest.approx(0.1 * 12_000))
    assert report.breakdown.others == 0
    assert [(p.as_of, p.accounts) for p in report.breakdown.course] == [(JUNE, 4), (JULY, 4)]
    assert tuple(p.at_risk for p in report.breakdown.course) == pytest.approx(report.at_stake)
    text = file.read_text()
    assert text.index("The course of what is at risk") < text.index("By owner") < text.index("Risk rose")
    assert report.as_dict()["breakdown"]["course"][0]["as_of"] == "2024-06-01T00:00:00+00:00"


def test_a_note_about_the_data_stands_above_the_figures(scored):
    report, file = manager.run(scored.settings, since=JUNE, note=f"usage is late {EVIL}")
    assert next(report.lines("EUR")) == f"Note: usage is late {EVIL}"
    text = file.read_text()
    assert text.index("usage is late &lt;script&gt;") < text.index("value at risk")
    assert EVIL not in text
    assert 'class="banner' not in manager.run(scored.settings, since=JUNE)[1].read_text()


def test_with_a_lead_the_risk_is_told_from_as_of_to_the_horizons_end(scored):
    scored.lead(14)
    report, file = manager.run(scored.settings, since=JUNE)
    assert next(report.lines("EUR")).endswith("risk of leaving within 104 days")
    assert "risk of leaving within 104 days" in file.read_text()
    assert (report.as_dict()["horizon"], report.as_dict()["lead"]) == (90, 14)


def test_the_scores_taken_are_the_newest_that_are_not_after_each_end(scored):
    scored.score("2024-08-01", {"A": 0.1})
    report, _ = manager.run(
        scored.settings, since=datetime(2024, 6, 20, tzinfo=UTC), until=datetime(2024, 7, 30, tzinfo=UTC)
    )
    assert (report.since, report.until) == (JUNE, JULY)


def test_episodes_of_the_period_are_counted(scored):
    scored.alert("2024-06-01")  # opens C
    scored.alert("2024-07-01")  # opens A, closes C
    assert len(scored.rows(EPISODES)) == 2
    report, _ = manager.run(scored.settings, since=JUNE)
    assert report.episodes == manager.EpisodeCounts(opened=1, recovered=1, left=0, open=1)


def test_the_most_money_stands_first_and_the_count_is_of_all():
    def scores(at, risk):
        rows = {"account_id": [f"a{n:02d}" for n in range(40)], "as_of": at, "score": risk}
        return pd.DataFrame(rows | {"value": [float(n) for n in range(40)], "in_cohort": True})

    report = manager.compare_scores(
        scores(0, 0.2), scores(1, 0.6), episodes=manager.EpisodeCounts(0, 0, 0, 0), horizon=90
    )
    assert report.groups["rose"].count == 40
    assert ids(report)["rose"] == [f"a{n:02d}" for n in range(39, 24, -1)]


def test_without_two_sets_of_scores_it_says_so(company):
    with pytest.raises(GarrisonError, match="no two sets"):
        manager.run(company.settings, since=JUNE)
    company.score("2024-06-01", {"A": 0.1})
    with pytest.raises(GarrisonError, match="no newer than"):
        manager.run(company.settings, since=JUNE)


def test_a_report_of_a_month_or_a_fiscal_quarter(scored):
    file = scored.settings.file
    file.write_text(file.read_text().replace("[company]\n", "[company]\nfiscal_year_starts = 3\n"))
    for period in ("2024-06", "2025-Q2"):
        done = run_command("monitoring", "report", "--config", file, "--period", period)
        assert "2024-06-01 to 2024-07-01" in done.stdout, done.stderr
