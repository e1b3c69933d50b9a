"""Keep what people chose: language, theme, time zone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import available_timezones

import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.core.language import LANGUAGES
from features.core.timestamps import to_micros
from features.state import database
from features.state.console_tables import CONSOLE_CHOICES
from features.state.database import Store

THEMES = ("light", "dark")


@dataclass(frozen=True)
class Choices:
    """What a person chose.

    Args:
        language: `en` or `zh_Hans`; None leaves it to the browser.
        theme: `light` or `dark`; None leaves it to the browser.
        timezone: IANA name; None leaves it to the settings.
    """

    language: str | None = None
    theme: str | None = None
    timezone: str | None = None


def read_choices(store: Store, address: str) -> Choices:
    """Read what a person chose."""
    c = CONSOLE_CHOICES.c
    query = sa.select(c.language, c.theme, c.timezone).where(c.address == address)
    with store.reading() as connection:
        row = connection.execute(query).first()
    return Choices(*row) if row else Choices()


def change_choices(store: Store, address: str, changes: dict[str, Any]) -> Choices:
    """Change what a person chose.

    Args:
        store: The state database.
        address: Of the person.
        changes: By name of the choice; "" takes one back.

    Raises:
        GarrisonError: A value is none that can be chosen.
    """
    allowed = {"language": LANGUAGES, "theme": THEMES, "timezone": available_timezones()}
    for name, value in changes.items():
        if value and value not in allowed[name]:
            raise GarrisonError(f"{name} can't be this", found=repr(value)[:80], hint="Choose one of the list")
    changed = replace(read_choices(store, address), **{name: value or None for name, value in changes.items()})
    row = {
        "address": address,
        "language": changed.language,
        "theme": changed.theme,
        "timezone": changed.timezone,
        "changed_at": to_micros(datetime.now(UTC)),
    }
    with store.writing() as connection:
        database.upsert(connection, CONSOLE_CHOICES, [row])
    return changed
