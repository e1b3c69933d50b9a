"""Send a period's report to its readers: a short letter through the outbox, once for each reader and period."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.core.language import Language
from features.core.safe_line import to_safe_line
from features.core.timestamps import to_micros
from features.settings import Settings
from features.state.database import Store
from features.state.message_states import PENDING
from features.state.tables import OUTBOX
from monitoring.binding.reader_language import find_language
from monitoring.letters.text_lines import wrap
from monitoring.reports.stored_reports import PERIOD, locate_reports, read_report

REPORT = "report"
_SPACE = uuid.UUID("a9b37c83-5f8a-5cb4-9a44-7a7d8f0b1a55")


@dataclass(frozen=True)
class SentReport:
    """To whom a report was sent now, and who had it already."""

    sent: tuple[str, ...]
    had: tuple[str, ...]

    def describe(self) -> str:
        """Say it in one line."""
        if self.sent:
            before = f"; {len(self.had)} had it already" if self.had else ""
            return f"The report is in the outbox for: {', '.join(self.sent)}{before}."
        return f"All of its readers had this report already: {', '.join(self.had)}."


def send_report(settings: Settings, store: Store, period: str) -> SentReport:
    """Put a report that was made into the outbox, for each reader that has not had it.

    Args:
        settings: With `[reports] readers`.
        store: The state database.
        period: Of the report, such as 2026-04.

    Raises:
        GarrisonError: The settings name no reader, or there is no such report.
    """
    if not settings.reports.readers:
        raise GarrisonError("the report has no readers", hint='Name them: [reports] readers = ["head@example.com"]')
    report = read_report(locate_reports(settings) / f"{period}.json") if PERIOD.fullmatch(period) else None
    if report is None:
        raise GarrisonError(
            f"there is no report of {period}", hint=f"Make it: python -m monitoring report --period {period}"
        )
    now, ids = to_micros(datetime.now(UTC)), {}
    for reader in dict.fromkeys(address.lower() for address in settings.reports.readers):
        ids[str(uuid.uuid5(_SPACE, f"{settings.company.name}\x1f{period}\x1f{reader}"))] = reader
    with store.writing() as connection:
        if connection.dialect.name == "postgresql":  # SQLite has one writer at a time anyway
            connection.execute(sa.text("LOCK TABLE outbox IN SHARE ROW EXCLUSIVE MODE"))
        there = set(connection.scalars(sa.select(OUTBOX.c.id).where(OUTBOX.c.id.in_(ids))))
        rows = [
            {
                "id": key,
                "kind": REPORT,
                "recipient": reader,
                **write_letter(settings, report, period, find_language(settings, reader)),
                "state": PENDING,
                "attempts": 0,
                "position": 0,
                "created_at": now,
                "next_try_at": now,
            }
            for key, reader in ids.items()
            if key not in there
        ]
        if rows:
            connection.execute(sa.insert(OUTBOX), rows)
    return SentReport(tuple(str(row["recipient"]) for row in rows), tuple(ids[key] for key in ids if key in there))


def write_letter(settings: Settings, report: Mapping[str, Any], period: str, language: Language) -> dict[str, str]:
    """Write the letter: subject and body. It names no account: the page does, to those who may see them."""
    say = language.say
    subject = say("{company}: report of {period}", company=settings.company.name, period=period)
    lines = [line for sentence in _list_sentences(settings, report, language) for line in wrap(sentence)]
    if settings.console.url:
        link = say("The whole report: {address}", address=f"{settings.console.url}/report?period={period}")
        lines += ["", link]
    return {"subject": to_safe_line(subject, 120), "body": "\n".join(lines) + "\n"}


def _list_sentences(settings: Settings, report: Mapping[str, Any], language: Language) -> Iterator[str]:
    say, currency = language.say, settings.company.currency
    counts = {way: f"{report['groups'][way]['count']:,}" for way in ("rose", "fell", "came", "left")}
    yield say("Risk rose for {rose} accounts and fell for {fell}; {came} came, {left} left.", **counts)
    before, now = (f"{currency} {amount:,.0f}" for amount in report["at_stake"])
    yield say("Value at risk went from {before} to {now}.", before=before, now=now)
    parts = report.get("parts") or {}
    revenue = parts.get("revenue")
    if revenue and revenue["nrr"] is not None:
        shares = {name: f"{revenue[name]:.1%}" for name in ("nrr", "grr")}
        yield say("NRR was {nrr}, GRR {grr}.", **shares)
    promises = parts.get("promises")
    if promises and promises["due"]:
        yield say("Of {due} promises due {kept} were kept in time.", due=promises["due"], kept=promises["kept"])
