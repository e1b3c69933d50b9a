"""Note who is away or gone, and who stands in."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from features.core.addresses import parse_address
from features.core.errors import GarrisonError
from features.core.language import Phrase
from features.core.local_formats import Day
from features.core.timestamps import from_micros, to_micros
from features.core.user import name_user
from features.state.database import Store
from features.state.tables import ABSENCES


@dataclass(frozen=True)
class Absence:
    """A time in which a person gets no messages.

    Args:
        address: Of the person, in lower case.
        since: From this instant (µs) on.
        until: Until this one; None where the person has left for good.
        deputy: Stands in; None leaves it to the settings.
    """

    address: str
    since: int
    until: int | None
    deputy: str | None

    def describe(self) -> Phrase:
        """Return what others are told of the person."""
        if self.until is None:
            return Phrase("{person} has left", {"person": self.address})
        return Phrase("{person} is away until {day}", {"person": self.address, "day": Day(from_micros(self.until))})


def note_absence(
    store: Store, address: str, *, until: datetime | None, since: datetime | None = None, deputy: str | None = None
) -> Absence:
    """Note that a person is away, in place of an absence noted before.

    Args:
        store: The state database.
        address: Of the person.
        until: The first instant at which the person is back; None if the person has left for good.
        since: By default now.
        deputy: Who stands in.

    Raises:
        GarrisonError: An address can't be read, the deputy is the person, or the time is empty.
    """
    since = since or datetime.now(UTC)
    person, deputy_address = _read(address, "the person"), None if deputy is None else _read(deputy, "--deputy")
    if person == deputy_address:
        raise GarrisonError(f"{person} can't stand in for themselves", hint="Name another --deputy")
    if until is not None and until <= since:
        raise GarrisonError("the absence ends before it begins", found=f"{since.date()} to {until.date()}")
    absence = Absence(person, to_micros(since), None if until is None else to_micros(until), deputy_address)
    row = {"address": person, "since": absence.since, "until": absence.until, "deputy": deputy_address}
    with store.writing() as connection:
        _withdraw(connection, person)
        connection.execute(
            sa.insert(ABSENCES),
            row | {"id": uuid.uuid4().hex, "by": name_user(), "noted_at": to_micros(datetime.now(UTC))},
        )
    return absence


def end_absence(store: Store, address: str) -> None:
    """Note that a person is back.

    Raises:
        GarrisonError: The person was not away.
    """
    person = _read(address, "the person")
    with store.writing() as connection:
        if not _withdraw(connection, person):
            raise GarrisonError(f"{person} is not noted as away", hint="`python -m monitoring away` lists who is")


_c = ABSENCES.c
_now: sa.BindParameter[int] = sa.bindparam("now")
# Built once: building a statement takes SQLAlchemy as long as asking it.
_AWAY = (
    sa.select(_c.address, _c.since, _c.until, _c.deputy)
    .where(_c.withdrawn_at.is_(None), _c.since <= _now, _c.until.is_(None) | (_c.until > _now))
    .order_by(_c.noted_at)
)


def read_absences(store: Store, at: datetime) -> Mapping[str, Absence]:
    """Read who is away at an instant, by address in lower case."""
    with store.reading() as connection:
        return {row.address: Absence(*row) for row in connection.execute(_AWAY, {"now": to_micros(at)})}


def _read(address: str, what: str) -> str:
    plain = parse_address(address)
    if plain is None:
        raise GarrisonError(f"{what} is not one e-mail address", found=repr(address), hint="Write name@example.com")
    return plain.lower()


def _withdraw(connection: sa.Connection, address: str) -> int:
    standing = sa.update(ABSENCES).where(ABSENCES.c.address == address, ABSENCES.c.withdrawn_at.is_(None))
    return connection.execute(standing.values(withdrawn_at=to_micros(datetime.now(UTC)))).rowcount
