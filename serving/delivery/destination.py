"""What every destination offers, and the records that it takes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import pandas as pd

from features.core.errors import DeliveryError

# Called with a job's id before any record goes into that job.
JobCallback = Callable[[str], None]


@dataclass(frozen=True)
class OutgoingRecord:
    """One account's values as a destination takes them.

    Args:
        account_id: Garrison's id.
        content: Values ready for JSON, by the destination's field names, without the field of the account's id.
        digest: Equal for records of equal values, whatever instant they were scored at.
    """

    account_id: str
    content: Mapping[str, Any]
    digest: str


@dataclass(frozen=True)
class RecordOutcome:
    """What a destination did with one record.

    Args:
        status: `sent`: the destination confirmed it; `refused`: it will never take it; `failed`: it may take it later.
        reason: In words; "" where it was sent.
    """

    status: Literal["sent", "refused", "failed"]
    reason: str = ""


SENT = RecordOutcome("sent")


@dataclass(frozen=True)
class FieldStatus:
    """A field that scores need at a destination, its type, and whether it existed when it was looked for."""

    name: str
    type: str
    exists: bool


class StoppedError(DeliveryError):
    """The destination takes nothing now: it can't be reached, or refuses the credentials."""


class Destination(Protocol):
    """Takes records by upsert; safe to be given the same record twice.

    Attributes:
        key: Names it in the ledger; never with a secret.
        size: Records that it takes at once.
        is_readable: Whether `read_digests` and `read_record` return what it holds; otherwise the ledger has to.
    """

    key: str
    size: int
    is_readable: bool

    def prepare(self, frame: pd.DataFrame, *, dry_run: bool) -> None:
        """Check that it has a field for each column of `frame`.

        Raises:
            DeliveryError: A field is missing or of the wrong type.
        """

    def build_records(self, frame: pd.DataFrame) -> list[OutgoingRecord]:
        """Return the rows of a frame as records, in their order."""

    def read_digests(self, accounts: Sequence[str]) -> Mapping[str, str]:
        """Return the digests of the records that it holds now, by account."""

    def read_record(self, account_id: str) -> Mapping[str, Any] | None:
        """Return what it holds of one account."""

    def send(self, records: Sequence[OutgoingRecord], on_job: JobCallback) -> list[RecordOutcome]:
        """Send records; returns one outcome each, in their order.

        Raises:
            StoppedError: It takes nothing now. Which records it took is then unknown.
        """

    def recover_job(self, job: str, records: Sequence[OutgoingRecord]) -> list[RecordOutcome]:
        """Return what became of the records of a job whose sender died."""

    def close(self) -> None:
        """Close its connections."""


def compute_digest(values: Mapping[str, Any], *, without: Iterable[str] = ()) -> str:
    """Return a hash of all values but those named in `without`, as 32 hex digits."""
    excluded = set(without)
    hashed = {name: value for name, value in values.items() if name not in excluded}
    text = json.dumps(hashed, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
