"""Convert instants between aware datetimes and the whole microseconds since 1970, UTC, that tables hold."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from features.core.errors import GarrisonError

if TYPE_CHECKING:  # commands that show help need no pandas
    import pandas as pd

DAY = 86_400_000_000  # µs
NEVER = 2**62  # µs, later than any event
EVER = -NEVER  # µs, earlier than any event
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_micros(instant: datetime) -> int:
    """Return the whole microseconds since 1970 of an aware datetime.

    Raises:
        GarrisonError: The datetime has no time zone.
    """
    if instant.tzinfo is None:
        raise GarrisonError(f"the instant {instant} has no time zone", hint="Give an aware datetime in UTC")
    return (instant - _EPOCH) // timedelta(microseconds=1)


def sort_unique_micros(as_ofs: Iterable[datetime]) -> list[int]:
    """Return the distinct instants of aware datetimes in µs, the earliest first."""
    return sorted({to_micros(a) for a in as_ofs})


def from_micros(us: int) -> datetime:
    """Return the aware UTC datetime of whole microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=int(us))


def to_datetimes(us: pd.Series) -> pd.Series:
    """Return a column of microseconds as datetime64[us, UTC]."""
    import pandas as pd

    return pd.to_datetime(us, unit="us", utc=True).astype("datetime64[us, UTC]")


def to_micros_column(instants: pd.Series) -> pd.Series:
    """Return a column of aware datetimes as whole microseconds (int64)."""
    return instants.astype("datetime64[us, UTC]").astype("int64")
