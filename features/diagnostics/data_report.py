"""Data report, for people and for machines: each table's rows, gaps and bad rows, identities, and suspected leaks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from features.core import html
from features.core.contract import EVENTS, TABLES, Column
from features.diagnostics import activity, identity_report, owner_addresses, table_remarks, table_times, target_leakage
from features.diagnostics.activity import TableActivity
from features.diagnostics.concerns import list_concerns
from features.diagnostics.identity_report import IdentityReport as Identity
from features.diagnostics.label_report import LabelReport
from features.diagnostics.leak_tests import LeakTestResult
from features.diagnostics.product_features import list_product_feature_remarks
from features.diagnostics.source_findings import SourceFinding
from features.diagnostics.source_health import check_sources
from features.diagnostics.table_times import TimeConflict
from features.diagnostics.target_leakage import LeakSuspect
from features.settings import Settings
from features.sources.history import History
from features.sources.mapping import quote_identifier, quote_literal
from features.sources.validated_table import ValidatedTable

_TEMPLATE = Path(__file__).parent / "templates" / "check.html"
_EXAMPLES, _REASONS, _GAPS, _CONCERNS = 3, 20, 5, 12
# Events of a table, where its name is none.
_EVENT_WORDS = {"usage": "usage events"}
_LONGEST = 40
_AT_ONCE = 0.05  # hours
_MAIL = re.compile(r"[^\s@,;<>\"']*@")
# Columns of raw rows with personal data that no company mapped, recognised by name.
_PERSONAL = re.compile(
    r"mail|phone|mobile|contact|owner|address|street|birth|user|iban|(^|_)((first|last|full|sur|given)_?)?name$",
    re.IGNORECASE,
)
_HIDDEN = "(hidden)"


@dataclass(frozen=True)
class QuarantineReason:
    """A reason of quarantine.

    Args:
        why: In words.
        count: Number of rows.
        examples: Up to three raw rows; personal values are hidden, long ones shortened.
    """

    why: str
    count: int
    examples: tuple[Mapping[str, str], ...]


@dataclass(frozen=True)
class TableReport:
    """The report on one table.

    Args:
        checked: The result of validating it.
        activity: Of its events; None for a table that is no event table.
        nulls: By mapped column, the share of kept rows without a value.
        reasons: The reasons of quarantine, the commonest first, at most twenty.
        remarks: What else was dropped, emptied or converted, in sentences.
    """

    checked: ValidatedTable
    activity: TableActivity | None
    nulls: Mapping[str, float]
    reasons: tuple[QuarantineReason, ...]
    remarks: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        examples = {r.why: list(r.examples) for r in self.reasons}
        measured = self.activity.as_dict() if self.activity else {}
        return (
            self.checked.as_dict()
            | measured
            | {
                "nulls": dict(self.nulls),
                "examples": examples,
                "remarks": list(self.remarks),
            }
        )


@dataclass(frozen=True)
class DataReport:
    """The report on a company's data.

    Args:
        company: Its name.
        tables: The mapped tables.
        absent: Sources that are not mapped.
        identity: The report on identities.
        suspects: Columns and sources that may leak the target.
        features: Number of features, including attributes of accounts.
        catalog: Its version.
        own: Names of the company's own features.
        leak_tests: The result of the leak tests; None where there was no feature to test.
        as_of: The instant at which the sources should be up to date.
        findings: What is wrong with the sources then, worst first.
        sources: The event tables that it has.
        conflicts: Events at a time at which their account should have none.
        ends: What is odd about the ends of terms, in sentences.
        labels: What there is to learn, by month; None where there is no event, or where nobody asked.
    """

    company: str
    tables: tuple[TableReport, ...]
    absent: tuple[str, ...]
    identity: Identity
    suspects: tuple[LeakSuspect, ...]
    features: int
    catalog: str
    own: tuple[str, ...]
    leak_tests: LeakTestResult | None
    as_of: datetime
    findings: tuple[SourceFinding, ...]
    sources: tuple[str, ...] = ()
    conflicts: tuple[TimeConflict, ...] = ()
    ends: tuple[str, ...] = ()
    labels: LabelReport | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {
            "tables": {t.checked.table: t.as_dict() for t in self.tables},
            "identity": self.identity.as_dict(),
            "absent": list(self.absent),
            "suspects": [vars(s) for s in self.suspects],
            "features": self.features,
            "catalog": self.catalog,
            "own_features": list(self.own),
            "probes": self.leak_tests.as_dict() if self.leak_tests else None,
            "as_of": self.as_of.isoformat(),
            "sources": [finding.as_dict() for finding in self.findings],
            "term_ends": list(self.ends),
            "times": [conflict.as_dict() for conflict in self.conflicts],
            "labels": self.labels.as_dict() if self.labels else None,
        }

    def lines(self) -> Iterator[str]:
        """Yield lines for people, with what the printed tables leave out."""
        yield from self._describe_sources()
        for t in self.tables:
            if t.activity and t.activity.span:
                yield f"{t.checked.table}: {_describe_activity(t.activity)}"
            yield from t.remarks
            for r in t.reasons:
                for example in r.examples:
                    shown = ", ".join(f"{column} {value}" for column, value in example.items())
                    yield f"{t.checked.table}, such as this ({r.why}): {shown}"
        yield from self.ends
        yield from (str(conflict) for conflict in self.conflicts)
        if self.absent:
            yield f"Missing: {', '.join(self.absent)}. Their features are absent, and every score will say so."
        own = f", {len(self.own)} of them your own" if self.own else ""
        yield f"Features from these sources: {self.features}{own}"
        yield from (f"Suspicious: {s.sentence}" for s in self.suspects)
        if self.leak_tests:
            tests = self.leak_tests
            count, instants = len(tests.features), len(tests.as_ofs)
            yield f"Leak tests: {count} features on {tests.accounts} accounts at {instants} instants"
            yield from (f"Leak: {leak}" for leak in tests.leaks)

    def _describe_sources(self) -> Iterator[str]:
        """Yield the findings on sources, and the data's end where it is in the past."""
        shown = f"{self.as_of:%Y-%m-%d}"
        if not self.findings:
            yield f"Sources as of {shown}: all as they always were"
            return
        yield f"Sources as of {shown}:"
        yield from (f"  {finding.severity}: {finding}" for finding in self.findings)
        ends = [t.checked.last for t in self.tables if t.activity and t.checked.last]
        if all(finding.kind == "silent" for finding in self.findings) and len(self.findings) == len(ends):
            end = max(ends).date() + timedelta(days=1)
            yield f"All sources ended: to look from the data's end, add --as-of {end}"


def build_data_report(
    history: History,
    settings: Settings,
    leak_tests: LeakTestResult | None = None,
    *,
    as_of: datetime | None = None,
    labels: LabelReport | None = None,
) -> DataReport:
    """Build the report on a company whose tables were validated.

    Args:
        history: Its history.
        settings: Its settings.
        leak_tests: Their result.
        as_of: The instant at which the sources should be up to date; by default now.
        labels: What there is to learn, as `training.targets.label_overview` counts it.
    """
    as_of = as_of or datetime.now(UTC)
    return DataReport(
        company=settings.company.name,
        tables=tuple(_build_table_report(history, settings, c) for c in history.checked),
        absent=tuple(t for t in ("tickets", "usage", "purchases") if t not in history.sources),
        identity=identity_report.build_identity_report(history, settings),
        suspects=target_leakage.find_suspects(history),
        features=len(history.features) + len(history.attributes),
        catalog=history.catalog.version,
        own=tuple(f.name for f in history.catalog.custom_features),
        leak_tests=leak_tests,
        as_of=as_of,
        findings=check_sources(settings, history, as_of=as_of),
        sources=history.sources,
        conflicts=table_times.find_conflicts(history),
        ends=tuple(table_times.describe_term_ends(history, settings)),
        labels=labels,
    )


def write_page(report: DataReport, file: Path) -> Path:
    """Write the report as an HTML page that needs no network."""
    heading = f"Data of {report.company}"
    concerns = list_concerns(report)
    page = html.render_template(
        _TEMPLATE, report=report, heading=heading, concerns=concerns, shown=_CONCERNS, most=_GAPS, words=_EVENT_WORDS
    )
    return html.write_page(file, page)


def _describe_activity(activity: TableActivity) -> str:
    """Describe gaps and lateness in words."""
    gaps = activity.gaps()
    without = sum(g.days for g in gaps)
    longest = f"; longest {gaps[0]}" if gaps else ""
    late = activity.late_hours or (0.0, 0.0, 0.0)
    known = f"known after {late[0]:,.1f} h in the median, {late[1]:,.1f} h in 95 of 100, {late[2]:,.1f} h at most"
    days = f"{without:,} of {activity.span:,} days without an event" if without else "events on every day"
    return f"{days}{longest}; {known if late[2] >= _AT_ONCE else 'each known at once'}"


def _build_table_report(history: History, settings: Settings, checked: ValidatedTable) -> TableReport:
    measured = activity.measure_activity(history, checked.table) if checked.table in EVENTS else None
    return TableReport(
        checked,
        measured,
        _measure_nulls(history, settings, checked.table),
        tuple(_list_reasons(history, settings, checked)),
        (
            *table_remarks.list_remarks(checked, settings),
            *(owner_addresses.list_owner_remarks(history, settings) if checked.table == "accounts" else ()),
            *(table_times.describe_versions(history, checked) if checked.table == "accounts" else ()),
            *(list_product_feature_remarks(history, settings) if checked.table == "usage" else ()),
        ),
    )


def _measure_nulls(history: History, settings: Settings, table: str) -> dict[str, float]:
    columns = [c for c in settings.tables[table].columns if c in TABLES[table].columns or table == "accounts"]
    counts = ", ".join(f"count({quote_identifier(c)})" for c in columns)
    total, *filled = history.query(f"SELECT count(*), {counts} FROM {table}").iloc[0]  # noqa: S608  # quoted
    return {c: 1 - int(n) / int(total) if total else 0.0 for c, n in zip(columns, filled, strict=True)}


def _list_reasons(history: History, settings: Settings, checked: ValidatedTable) -> Iterator[QuarantineReason]:
    file = checked.quarantine
    rows: list[dict[str, Any]] = []
    if file and file.exists():
        rows_of = f"read_parquet({quote_literal(str(file))}, file_row_number = true)"
        bad = f"SELECT raw, why, file, line, file_row_number AS position FROM {rows_of}"  # noqa: S608  # quoted
        examples = f"QUALIFY row_number() OVER (PARTITION BY why ORDER BY position) <= {_EXAMPLES} ORDER BY position"
        rows = history.query_arrow(f"SELECT * FROM ({bad}) {examples}").to_pylist()  # noqa: S608  # as above
    mapped, known = settings.tables[checked.table].columns, TABLES[checked.table].columns
    personal = {str(source.column) for c, source in mapped.items() if c in known and _is_hidden(known[c])}
    for why, count in list(checked.reasons.items())[:_REASONS]:
        yield QuarantineReason(why, count, tuple(_show_bad_row(row, personal) for row in rows if row["why"] == why))


def _is_hidden(column: Column) -> bool:
    """Return whether a column names a person or holds what one wrote; an account's id is shown, to find its row."""
    return column.prose or column.personal in {"person", "name"}


def _show_bad_row(row: Mapping[str, Any], personal: set[str]) -> dict[str, str]:
    """Return a bad row without personal values; of a line that can't be read its place."""
    if row["raw"] is None:
        return {"file": Path(row["file"]).name, "line": str(row["line"])}
    return _hide_personal_values(row["raw"], personal)


def _hide_personal_values(raw: Mapping[str, Any], personal: set[str]) -> dict[str, str]:
    """Return a raw row without personal values, and without the columns computed by SQL."""
    return {
        _shorten(column): _HIDDEN
        if column in personal or _PERSONAL.search(column)
        else _shorten(_MAIL.sub("…@", str(value)))
        for column, value in raw.items()
        if value is not None and not column.startswith("=")
    }


def _shorten(value: str) -> str:
    """Shorten text to forty characters in one line."""
    plain = " ".join(value.split())
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 1]}…"
