"""Count what became of a delivery's records, write it down record by record, and show it."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from features.core.atomic_write import write_atomically
from features.core.errors import DeliveryError
from features.core.progress import Progress
from features.core.spreadsheet_text import escape_text

SENT, UNCHANGED, FAILED, QUARANTINED = "sent", "unchanged", "failed", "quarantined"
# Of a dry run.
NEW, CHANGED = "new", "changed"
_LONGEST_TEXT = 40  # characters of a value that a dry run shows


@dataclass(frozen=True)
class RecordChange:
    """What a delivery would change of an account: by field, the value at the destination and the new one."""

    account_id: str
    fields: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True)
class DeliveryReport:
    """What a delivery did, or would do.

    Args:
        to: The destination, without a password.
        counts: Records by status: sent, unchanged, failed and quarantined; of a dry run new, changed and unchanged.
        recovered: Records of an earlier delivery that was cut off but had arrived.
        changes: Of a dry run, the first of them.
        dry_run: Nothing was sent.
        stopped: Why the destination took no more; "" where it did.
        result: The file with every record's status; None without one.
    """

    to: str
    counts: Mapping[str, int]
    recovered: int = 0
    changes: tuple[RecordChange, ...] = ()
    dry_run: bool = False
    stopped: str = ""
    result: Path | None = None

    def lines(self) -> Iterator[str]:
        """Yield the report for people, line by line."""
        counts = ", ".join(f"{n:,} {status}" for status, n in self.counts.items()) or "no rows"
        if self.dry_run:
            yield f"Dry run, nothing was sent to {self.to}: {counts}"
        elif self.counts and set(self.counts) == {UNCHANGED}:
            yield f"Nothing to send to {self.to}: {counts}"
        else:
            yield f"Rows in {self.to}: {counts}"
        if self.recovered:
            yield f"{self.recovered:,} rows of a delivery that was cut off had arrived"
        for change in self.changes:
            values = (f"{name} {_shorten(old)} -> {_shorten(new)}" for name, (old, new) in change.fields.items())
            yield f"  {change.account_id}: {', '.join(values)}"
        if self.result:
            yield f"Every row's status: {self.result}"

    def raise_for_failures(self) -> None:
        """Raise one error where not every record arrived, so that a command ends with status 1.

        Raises:
            DeliveryError: Records failed or were quarantined.
        """
        failures = {status: self.counts[status] for status in (FAILED, QUARANTINED) if self.counts.get(status)}
        if failures:
            raise DeliveryError(
                f"{self.to} did not take every row: " + ", ".join(f"{n:,} {status}" for status, n in failures.items()),
                found=self.stopped or None,
                hint=f"The reasons stand in {self.result}" if self.result else "--result FILE writes the reasons down",
            )

    def summary(self) -> dict[str, Any]:
        """Return the report for machines, ready for JSON."""
        return {
            "to": self.to,
            "dry_run": self.dry_run,
            "rows": dict(self.counts),
            "recovered": self.recovered,
            "stopped": self.stopped or None,
        }


@dataclass
class StatusTally:
    """Counts records by status, writes each down where a file is asked for, and reports the progress."""

    write_row: Callable[[Sequence[Any]], Any]
    progress: Progress
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, status: str, accounts: Iterable[str], reason: str = "", tries: int = 0) -> None:
        """Add the records of some accounts."""
        for account in accounts:
            self.write_row((escape_text(account), status, escape_text(reason), tries))
            self.counts[status] += 1
        self.progress("destination", self.counts.total())


@contextmanager
def open_tally(result: Path | None, progress: Progress) -> Iterator[StatusTally]:
    """Open a tally, and the CSV file behind it where one is given; the file appears whole or not at all."""
    if result is None:
        yield StatusTally(lambda _row: None, progress)
        return
    with write_atomically(result) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["account_id", "fate", "reason", "tries"])
        yield StatusTally(writer.writerow, progress)


def _shorten(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"
