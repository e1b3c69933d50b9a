"""Find the language that a reader of letters has."""

from __future__ import annotations

from features.core.language import Language
from features.settings import Settings


def find_language(settings: Settings, address: str | None) -> Language:
    """Return the language of the person at an address, by the settings; else that of the company's letters."""
    person = settings.binding.get_person(address) if address else None
    return Language((person and person.language) or settings.alerts.language)
