"""What both clouds have in common: fields of ours that must be there, and how they are asked.

That is again when busy, with backoff and no sooner than Retry-After says; with secrets out of the environment.
"""

from __future__ import annotations

import os
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import pandas as pd

from features.core.errors import DeliveryError
from serving.delivery import crm_fields
from serving.delivery.crm_fields import CrmField, FieldKind
from serving.delivery.destination import OutgoingRecord, StoppedError

_BUSY = frozenset({429, 500, 502, 503, 504})
# Seconds: the longest wait of our own, and the longest that we let a cloud impose.
_LONGEST, _IMPOSED = 60.0, 900.0

Answer = TypeVar("Answer")


class CrmClient(ABC):
    """A CRM whose accounts have fields of ours; not asked for what it holds: that would cost as much as sending."""

    remembers = False
    _fields: tuple[CrmField, ...] = ()

    @abstractmethod
    def check(self, columns: Mapping[str, FieldKind]) -> None:
        """See that the fields for these columns are there and of the right types, and keep them.

        Raises:
            DeliveryError: One is missing, or is none that we may write to.
        """

    def prepare(self, frame: pd.DataFrame, *, dry_run: bool) -> None:  # noqa: ARG002  # as all destinations have it
        """The same for a frame's columns."""
        self.check(crm_fields.infer_kinds(frame))

    def rows(self, frame: pd.DataFrame) -> list[OutgoingRecord]:
        """By our fields."""
        return crm_fields.build_records(frame, self._fields)

    def held(self, accounts: Sequence[str]) -> Mapping[str, str]:  # noqa: ARG002  # as all destinations have it
        """Nothing."""
        return {}

    def before(self, account_id: str) -> Mapping[str, Any] | None:  # noqa: ARG002  # as all destinations have it
        """Nothing."""
        return None


@dataclass(frozen=True)
class RetryPolicy:
    """How often to try, and how long to wait in between.

    Args:
        tries: In all, at least 1.
        first: Seconds before the second try; doubled with each.
        sleep: Waits so many seconds.
    """

    tries: int
    first: float
    sleep: Callable[[float], None] = time.sleep

    def wait(self, tried: int, asked: float = 0.0) -> None:
        """Wait after the try of this number, at least the seconds `asked` for."""
        ours = min(_LONGEST, self.first * 2 ** (tried - 1)) * random.uniform(0.5, 1.0)  # noqa: S311  # jitter
        self.sleep(max(ours, asked))

    def answer(self, who: str, ask: Callable[[], Answer], broken: tuple[type[Exception], ...]) -> Answer:
        """The first answer that is not "busy".

        Args:
            who: The destination, for the error.
            ask: Makes one request; its answer has `status_code` and `headers`.
            broken: What `ask` raises when there is no answer.

        Raises:
            StoppedError: All tries were in vain, or we are told to stay away for long.
        """
        why, tried = "", 0
        while tried < self.tries:
            tried, asked = tried + 1, 0.0
            try:
                found: Any = ask()
            except broken as error:
                why = type(error).__name__
            else:
                if found.status_code not in _BUSY:
                    return found
                why, asked = f"HTTP {found.status_code}", parse_retry_after(found.headers.get("Retry-After"))
            if asked > _IMPOSED:
                raise StoppedError(
                    f"{who} asks to be left alone for {asked:.0f} s", found=why, hint="Run it again later"
                )
            if tried < self.tries:
                self.wait(tried, asked)
        raise StoppedError(f"{who} did not answer in {self.tries} tries", found=why, hint="Run it again later")


def parse_retry_after(header: str | None) -> float:
    """Seconds to wait: the header gives them, or a date. 0 without it."""
    if not header:
        return 0.0
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def read_secret(name: str) -> str:
    """An environment variable that must be there.

    Raises:
        DeliveryError: It is not.
    """
    found = os.environ.get(name)
    if not found:
        raise DeliveryError(f"the environment variable {name} is not set", hint=f"export {name}=…")
    return found
