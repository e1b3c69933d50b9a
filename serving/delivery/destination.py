"""A row as a destination takes it, and what became of it there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import pandas as pd

from features.core.errors import DeliveryError

# Told the id of a job before any row goes into it.
JobCallback = Callable[[str], None]


@dataclass(frozen=True)
class OutgoingRecord:
    """An account's values, ready for JSON, by the destination's field names.

    Args:
        account_id: Ours.
        content: Of all fields but the one that holds the account's id.
        digest: The same for rows with the same values, whatever instant they were scored at.
    """

    account_id: str
    content: Mapping[str, Any]
    digest: str


@dataclass(frozen=True)
class RecordOutcome:
    """sent: confirmed by the destination; refused: it will never take this row; failed: it may, another time."""

    fate: Literal["sent", "refused", "failed"]
    reason: str = ""


SENT = RecordOutcome("sent")


@dataclass(frozen=True)
class FieldStatus:
    """A field that scores need at a destination, its type there, and whether it was there."""

    name: str
    type: str
    there: bool


class StoppedError(DeliveryError):
    """The destination takes nothing now: it can't be reached, or lets us no longer in."""


class Destination(Protocol):
    """Takes rows by upsert; safe to be given the same row twice.

    Attributes:
        key: Names it in the ledger; never with a secret.
        size: Rows that it takes at once.
        remembers: Whether `held` and `before` know what it holds; otherwise the ledger has to.
    """

    key: str
    size: int
    remembers: bool

    def prepare(self, frame: pd.DataFrame, *, dry_run: bool) -> None:
        """See that it has a field for each column of `frame`.

        Raises:
            DeliveryError: It hasn't, or not one of the right kind.
        """

    def rows(self, frame: pd.DataFrame) -> list[OutgoingRecord]:
        """The rows of a frame, in its order."""

    def held(self, accounts: Sequence[str]) -> Mapping[str, str]:
        """Digests of what it holds now, by account."""

    def before(self, account_id: str) -> Mapping[str, Any] | None:
        """What it holds of one account."""

    def send(self, rows: Sequence[OutgoingRecord], job: JobCallback) -> list[RecordOutcome]:
        """Hand rows over; one outcome each, in their order.

        Raises:
            StoppedError: It takes nothing now. Which rows it took is then unknown.
        """

    def found(self, job: str, rows: Sequence[OutgoingRecord]) -> list[RecordOutcome]:
        """What became of the rows of a job whose sender died."""

    def close(self) -> None:
        """Give its connections back."""


def compute_digest(values: Mapping[str, Any], *, without: Iterable[str] = ()) -> str:
    """Of all values but those named."""
    left = set(without)
    kept = {name: value for name, value in values.items() if name not in left}
    text = json.dumps(kept, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
