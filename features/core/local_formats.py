"""Write days, shares and money as the reader's language does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from features.core.language import ENGLISH, PSEUDO, Language
from features.core.safe_line import to_safe_line


@dataclass(frozen=True)
class Day:
    """A day, such as 16 November 2025 or 2025年11月16日.

    Args:
        instant: In the zone whose day it is.
    """

    instant: datetime

    def say(self, language: Language) -> str:
        """Return it in a language."""
        from babel.dates import format_date

        if language.name == PSEUDO:  # a name of a month is no text of ours
            return f"{self.instant:%Y-%m-%d}"
        return format_date(self.instant, "long", locale=language.locale)

    def __str__(self) -> str:
        return self.say(ENGLISH)


@dataclass(frozen=True)
class Minute:
    """A day with the time of day, such as 16 November 2025 09:05 UTC.

    Args:
        instant: Aware.
    """

    instant: datetime

    def say(self, language: Language) -> str:
        """Return it in a language."""
        return f"{Day(self.instant).say(language)} {self.instant:%H:%M %Z}"

    def __str__(self) -> str:
        return self.say(ENGLISH)


@dataclass(frozen=True)
class Percent:
    """A share between 0 and 1, with a digit after the point where it would round to 0 or 100 percent."""

    share: float

    def say(self, language: Language) -> str:
        """Return it in a language."""
        from babel.numbers import format_percent

        number = "0" if 0.01 <= self.share < 0.995 else "0.0"
        return format_percent(self.share, number + (" %" if language.locale == "en_GB" else "%"), language.locale)

    def __str__(self) -> str:
        return self.say(ENGLISH)


@dataclass(frozen=True)
class Money:
    """An amount, without a fraction.

    Args:
        amount: In the currency.
        currency: Its code, such as EUR.
    """

    amount: float
    currency: str

    def say(self, language: Language) -> str:
        """Return it in a language."""
        from babel.numbers import format_currency

        currency, pattern = to_safe_line(self.currency), "¤¤ #,##0" if language.locale == "en_GB" else "¤#,##0"
        return format_currency(self.amount, currency, pattern, language.locale, currency_digits=False)

    def __str__(self) -> str:
        return self.say(ENGLISH)
