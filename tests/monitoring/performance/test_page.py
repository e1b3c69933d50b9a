"""The page of performance: charts that stay within their frame, and names that are escaped."""

from datetime import UTC, datetime

import numpy as np
import pytest

from monitoring.performance.charts import ExpectedAndMeasured, lay_out
from monitoring.performance.evaluation import AccountGroup, PerformanceReport, ScoredCohort
from monitoring.performance.figures import estimate_performance, measure_performance
from monitoring.performance.page import write_performance_page

MONTHS = [datetime(2024, month, 1, tzinfo=UTC) for month in range(1, 13)]


def draw(values, **rest):
    figures = [
        ExpectedAndMeasured(at, (v, v - 0.05, v + 0.05), (v, v - 0.1, v)) for at, v in zip(MONTHS, values, strict=False)
    ]
    return lay_out("AUC", figures, **rest)


@pytest.mark.parametrize("values", [[0.7], [0.5, 0.95], np.linspace(0.55, 0.6, 12), [0.1, 0.1]])
def test_everything_lies_within_the_frame_and_larger_values_higher(values):
    chart = draw(values)
    points = [*chart.expected, *chart.measured]
    assert all(chart.left <= p.x <= chart.right for p in points)
    assert all(0 <= p.high <= p.y <= p.low <= chart.bottom + 1e-6 for p in points)
    order = np.argsort(values, kind="stable")
    assert np.all(np.diff([chart.expected[i].y for i in order]) <= 1e-9)
    assert 2 <= len(chart.y_marks) <= 8
    assert 1 <= len(chart.x_marks) <= 4
    assert (chart.y_marks[0].at, chart.y_marks[-1].at) == (pytest.approx(chart.bottom), pytest.approx(12))


def test_labels_are_shares_where_asked_and_what_is_not_known_is_left_out():
    chart = draw([0.2, 0.3], is_share=True)
    assert all(mark.label.endswith("%") for mark in chart.y_marks)
    assert chart.expected[0].text == "2024-01-01: expected 20% (15% to 25%)"
    chart = lay_out(
        "AUC", [ExpectedAndMeasured(MONTHS[0], (0.7, 0.6, 0.8), None), ExpectedAndMeasured(MONTHS[1], None, None)]
    )
    assert (len(chart.expected), chart.measured) == (1, ())
    assert lay_out("AUC", [ExpectedAndMeasured(MONTHS[0], None, None)]) is None


def test_names_are_escaped_and_what_surprises_is_said(company):
    scores = np.linspace(0.05, 0.6, 100)
    estimate, realised = estimate_performance(scores), measure_performance(scores, np.ones(100))
    cohort = ScoredCohort("churn", 90, MONTHS[0], "churn-1", estimate, None)
    groups = (
        AccountGroup("churn", 90, "all", "all", estimate, realised),
        AccountGroup("churn", 90, "plan", "<script>x</script>", estimate, realised),
    )
    text = write_performance_page(company.settings, PerformanceReport((cohort,), (), groups)).read_text()
    assert "<script>" not in text
    assert "plan: &lt;script&gt;" in text
    assert "100 did, which is outside of that." in text
    assert 'class="banner warn"' in text
    assert "not known yet" in text
