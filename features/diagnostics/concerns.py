"""What stands out in a company's data, the worst first: what the report's page begins with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from features.diagnostics.data_report import DataReport, TableReport

# Of rows in quarantine, and of accounts without an owner: less is a few.
_MANY = 0.05


@dataclass(frozen=True)
class Concern:
    """One thing that stands out.

    Args:
        severity: `stop` where nothing made of the data can be trusted, `look` where a person should look, `know` where
            it does no harm.
        label: Of its kind, in a word or two.
        text: The thing in one sentence with its figure.
    """

    severity: Literal["stop", "look", "know"]
    label: str
    text: str


def list_concerns(report: DataReport) -> tuple[Concern, ...]:
    """Return all that stands out in a report, the worst first."""
    order = ("stop", "look", "know")
    return tuple(sorted(_iterate_concerns(report), key=lambda concern: order.index(concern.severity)))


def _iterate_concerns(report: DataReport) -> Iterator[Concern]:
    for leak in report.leak_tests.leaks if report.leak_tests else ():
        yield Concern("stop", "leak", str(leak))
    for finding in report.findings:
        is_worst = finding.severity == "hold"
        yield Concern("stop" if is_worst else "look", "stops scores" if is_worst else "unusual", str(finding))
    for problem in report.labels.problems if report.labels else ():
        is_fault = report.labels is not None and problem in report.labels.faults
        yield Concern("stop" if is_fault else "look", "stops training", problem)
    for remark in report.ends:
        yield Concern("look", "ends of terms", remark)
    for conflict in report.conflicts:
        yield Concern("look", "at odd times", str(conflict))
    for suspect in report.suspects:
        yield Concern("look", "may leak", suspect.sentence)
    for table in report.tables:
        yield from _iterate_table_concerns(table)
    for kind, examples in report.identity.remarks():
        yield Concern("know", "identities", f"{examples.count:,} {kind}")


def _iterate_table_concerns(table: TableReport) -> Iterator[Concern]:
    checked = table.checked
    bad = checked.rows - checked.kept
    if bad:
        share = bad / checked.rows
        why = f", most of all: {table.reasons[0].why}" if table.reasons else ""
        text = f"{checked.table}: {bad:,} of {checked.rows:,} rows ({_show_share(share)}) are left out{why}"
        yield Concern("look" if share >= _MANY else "know", "quarantine", text)
    unowned = table.nulls.get("owner_email", 0.0)
    if unowned:
        text = f"{_show_share(unowned)} of the accounts have no owner who could act"
        yield Concern("look" if unowned >= _MANY else "know", "no owner", text)


def _show_share(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "less than 1 %"
