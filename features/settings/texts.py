"""Define the settings of what people wrote: tickets, surveys, promises."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from features.settings.values import SettingsSection


def _patterns(given: tuple[str, ...]) -> tuple[str, ...]:
    for pattern in given:
        try:
            compiled = re.compile(pattern)
        except re.error as error:
            message = f"{pattern!r} is no regular expression: {error}"
            raise ValueError(message) from None
        if compiled.search(""):
            message = f"{pattern!r} matches nothing at all, and so everywhere"
            raise ValueError(message)
    return given


class Texts(SettingsSection):
    """What becomes of the texts that are mapped: subjects and bodies of tickets, comments of surveys, promises.

    They are always redacted before they are stored: mail addresses, telephone numbers, cards, accounts and identity
    numbers become [mail], [phone], [card] and [id]. No feature reads them, and they never leave the machine.
    """

    # Whether redacted texts are kept; false stores none, whatever is mapped.
    keep: bool = True
    # Regular expressions (Python's) of numbers of your own that are hidden too, as [id]: "KD-[0-9]{6}".
    hide: Annotated[tuple[str, ...], AfterValidator(_patterns)] = ()
