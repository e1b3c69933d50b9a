"""Define how long what runs write is kept: the night removes what is older."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from pydantic import model_validator

from features.settings.values import SettingsSection, Span

_LEAST_EVENTS = timedelta(days=1_095)
_LEAST_RESULTS = timedelta(days=35)


class Retention(SettingsSection):
    """How long what runs write is kept. What training and open experiments read is never removed."""

    # Posted events. They are history, which training reads: by default they are kept for ever; at least 1095d.
    events: Span | None = None
    # Files that say who asked for which account's score.
    audit: Span = timedelta(days=400)
    # Rows that could not be used, of tables that are read no more.
    quarantine: Span = timedelta(days=90)
    # Stored and cached snapshots, one each day; they can be built again.
    snapshots: Span = timedelta(days=400)
    # Score tables; the state database keeps every score that was given. At least 35d, as for snapshots.
    results: Span = timedelta(days=800)
    # Pages on drift.
    drift: Span = timedelta(days=400)
    # Texts of letters to owners; that they were sent, when and to whom stays.
    messages: Span = timedelta(days=400)

    @model_validator(mode="after")
    def _check_least(self) -> Self:
        if self.events is not None and self.events < _LEAST_EVENTS:
            message = f"retention.events is shorter than training needs: at least {_LEAST_EVENTS.days}d"
            raise ValueError(message)
        if min(self.snapshots, self.results) < _LEAST_RESULTS:
            message = f"retention.snapshots and retention.results must be at least {_LEAST_RESULTS.days}d"
            raise ValueError(message)
        return self
