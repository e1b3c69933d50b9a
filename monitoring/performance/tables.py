"""Print the performance of scores as tables that fit a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from features.core.safe_line import to_safe_line
from features.settings.cli import table
from monitoring.performance.evaluation import AccountGroup, PerformanceReport, ScoredCohort
from monitoring.performance.figures import EstimatedPerformance, RealisedPerformance

# Groups of these are always printed; of the others those that surprise.
_ALWAYS = frozenset({"alerts", "model", "tier"})
_MOST_SURPRISES = 8


def iterate_tables(report: PerformanceReport) -> Iterator[Table]:
    """Yield two tables of each target and horizon: by cutoff, and by group of accounts where anything was measured."""
    for target, horizon in report.kinds:
        cohorts = [s for s in (*report.realised, *report.estimated) if (s.target, s.horizon) == (target, horizon)]
        yield _tabulate_cutoffs(f"{target}, {horizon} days", cohorts)
        groups = _select_groups([g for g in report.groups if (g.target, g.horizon) == (target, horizon)])
        if groups:
            yield _tabulate_groups(groups)


def format_summary(report: PerformanceReport) -> Iterator[str]:
    """Yield a sentence on each target and horizon: whether what was measured is what was expected."""
    for target, horizon in report.kinds:
        group = report.find_overall(target, horizon)
        yield f"{target}, {horizon} days: {describe_group(group) if group else 'no label has matured yet.'}"


def describe_group(group: AccountGroup) -> str:
    """Describe in a sentence whether what was measured is what was expected."""
    expected, measured = group.estimate, group.realised
    surprise = ", which is outside of that" if group.is_surprising else ""
    rows = (
        f"{format_positives(expected)} of {measured.accounts:,} scores were expected to come true, "
        f"{measured.positives:,} did{surprise}."
    )
    if measured.auc is None or expected.auc is None:
        return rows
    return f"{rows} The AUC is {measured.auc:.2f}, {expected.auc:.2f} was expected."


def format_positives(expected: EstimatedPerformance) -> str:
    """Format the expected number of positives with its interval."""
    return f"{expected.positives:,.0f} ({expected.low:,.0f}-{expected.high:,.0f})"


def format_auc(figures: EstimatedPerformance | RealisedPerformance) -> str:
    """Format an AUC with its interval; a dash where it has no meaning."""
    if figures.auc is None:
        return "-"
    if figures.auc_low is None or figures.auc_high is None:
        return f"{figures.auc:.2f}"
    return f"{figures.auc:.2f} ({figures.auc_low:.2f}-{figures.auc_high:.2f})"


def format_precision(figures: EstimatedPerformance | RealisedPerformance) -> str:
    """Format a precision with its interval, in percent; a dash where it has no meaning."""
    shares = figures.precision, figures.precision_low, figures.precision_high
    return "-" if None in shares else f"{shares[0]:.0%} ({100 * (shares[1] or 0):.0f}-{shares[2]:.0%})"


def _tabulate_cutoffs(title: str, cohorts: Sequence[ScoredCohort]) -> Table:
    rows = table("as of", "", "came true", "AUC", "alerts right", title=title)
    for cohort in cohorts:
        rows.add_row(f"{cohort.as_of:%Y-%m-%d}\n{cohort.estimate.accounts:,} scores", *_format_cells(cohort))
    return rows


def _tabulate_groups(groups: Sequence[AccountGroup]) -> Table:
    rows = table("accounts", "", "came true", "AUC", "alerts right")
    for group in groups:
        count = f"{group.realised.accounts:,}"
        count = f"{count} scores" if group.by == "all" else f"{group.by}: {count}"
        rows.add_row(f"{to_safe_line(group.value, 15)}\n{to_safe_line(count)}", *_format_cells(group))
    return rows


def _format_cells(figures: ScoredCohort | AccountGroup) -> tuple[str, ...]:
    expected, measured = figures.estimate, figures.realised
    cells = ["expected", format_positives(expected), format_auc(expected), format_precision(expected)]
    if measured:
        more = ("measured", f"{measured.positives:,}", format_auc(measured), format_precision(measured))
        cells = [f"{above}\n{below}" for above, below in zip(cells, more, strict=True)]
    return tuple(cells)


def _select_groups(groups: Sequence[AccountGroup]) -> list[AccountGroup]:
    """Select the groups to print: all accounts, those by alerts, model and tier, and others that surprise."""
    always = [g for g in groups if g.by in _ALWAYS | {"all"}]
    others = [g for g in groups if g.by not in _ALWAYS | {"all"} and g.is_surprising]
    return always + others[:_MOST_SURPRISES]
