"""Write the page of performance: what scores promised, drawn beside what came true, with the tables behind it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from features.core.html import render_template, write_page
from features.settings import Settings
from features.settings.cli import write_json
from monitoring.performance import tables
from monitoring.performance.charts import Chart, ExpectedAndMeasured, lay_out
from monitoring.performance.evaluation import AccountGroup, PerformanceReport, ScoredCohort
from monitoring.performance.figures import EstimatedPerformance, RealisedPerformance

_TEMPLATE = Path(__file__).parent / "templates" / "performance.html"


@dataclass(frozen=True)
class ScoreSection:
    """The part of the page on one target and horizon.

    Args:
        title: In words.
        sentence: Whether what was measured is what was expected.
        state: good, warn (outside of what was expected) or quiet (nothing measured yet); a class of the page.
        charts: Of AUC, positives and precision.
        cohorts: By cutoff, oldest first, the newest without labels last.
        groups: Of accounts, all of them together first.
    """

    title: str
    sentence: str
    state: str
    charts: tuple[Chart, ...]
    cohorts: tuple[ScoredCohort, ...]
    groups: tuple[AccountGroup, ...]


def locate_figures(settings: Settings) -> Path:
    """Return the file with the figures of the last look at performance, which the console shows."""
    return settings.var / "reports" / "performance.json"


def write_performance_page(settings: Settings, report: PerformanceReport) -> Path:
    """Write the page into the company's folder, and its figures; it needs no network, and names are escaped."""
    write_json(locate_figures(settings), report.as_dict())
    sections = [_build_section(settings, report, target, horizon) for target, horizon in report.kinds]
    heading = f"{settings.company.name}: do the scores keep their promise?"
    text = render_template(_TEMPLATE, heading=heading, sections=sections, shown=tables)
    return write_page(settings.var / "performance.html", text)


def _build_section(settings: Settings, report: PerformanceReport, target: str, horizon: int) -> ScoreSection:
    kind = (target, horizon)
    cohorts = tuple(s for s in (*report.realised, *report.estimated) if (s.target, s.horizon) == kind)
    groups = tuple(g for g in report.groups if (g.target, g.horizon) == kind)
    days = settings.targets[target].lead_days + horizon
    return ScoreSection(
        title=f"{'Leaving' if target == 'churn' else 'Buying more'} within {days} days",
        sentence=tables.describe_group(groups[0]) if groups else "No label has matured yet: only estimates are known.",
        state=("warn" if groups[0].is_surprising else "good") if groups else "quiet",
        charts=tuple(filter(None, _lay_out_charts(cohorts))),
        cohorts=cohorts,
        groups=groups,
    )


def _lay_out_charts(cohorts: tuple[ScoredCohort, ...]) -> list[Chart | None]:
    figures = {
        "AUC: 1 ranks perfectly, 0.5 is chance": ([_pair(s, "auc") for s in cohorts], False),
        "Share of accounts for which it came true": ([_pair_shares(s) for s in cohorts], True),
        "Share of alerts that are right": ([_pair(s, "precision") for s in cohorts], True),
    }
    return [lay_out(title, points, is_share=is_share) for title, (points, is_share) in figures.items()]


def _pair(cohort: ScoredCohort, name: str) -> ExpectedAndMeasured:
    return ExpectedAndMeasured(
        cohort.as_of, _read_interval(cohort.estimate, name), _read_interval(cohort.realised, name)
    )


def _read_interval(
    figures: EstimatedPerformance | RealisedPerformance | None, name: str
) -> tuple[float, float, float] | None:
    value, low, high = (getattr(figures, f"{name}{end}", None) for end in ("", "_low", "_high"))
    return None if value is None or low is None or high is None else (value, low, high)


def _pair_shares(cohort: ScoredCohort) -> ExpectedAndMeasured:
    expected, rows = cohort.estimate, cohort.estimate.accounts
    share = None if cohort.realised is None else cohort.realised.positives / rows
    measured = None if share is None else (share, share, share)
    return ExpectedAndMeasured(
        cohort.as_of, (expected.positives / rows, expected.low / rows, expected.high / rows), measured
    )
