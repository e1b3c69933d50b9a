"""Render templates in a reader's language, time zone and currency, with every value escaped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from features.core.language import Language, say
from features.core.safe_line import to_safe_line
from features.core.timestamps import from_micros
from monitoring.console.charts.meter import draw_meter
from monitoring.console.template_compiler import SAY, TranslatingGenerator

_TEMPLATES = Path(__file__).parent / "templates"
_NONE = "–"  # noqa: RUF001  # the dash of a table
_LONGEST_NAME = 80
# Numbers, days, names and sentences that are kept as they were written last.
_REMEMBERED = 16_384


@dataclass(frozen=True)
class Reader:
    """Whom a page is for.

    Args:
        language: `en`, `zh_Hans`, or `pseudo` in tests.
        timezone: IANA name.
        currency: Of the company's reports.
    """

    language: str = "en"
    timezone: str = "UTC"
    currency: str = "EUR"

    @cached_property
    def locale(self) -> str:
        """Return the locale of numbers and dates."""
        return Language(self.language).locale


# Filters and macros read it: macros see nothing of the page that calls them.
_READER: ContextVar[Reader] = ContextVar("reader", default=Reader())  # noqa: B039  # a Reader never changes


def render(template: str, reader: Reader, values: Mapping[str, Any]) -> str:
    """Render a template for a reader.

    Args:
        template: Name of a file in `templates/`.
        reader: Whom it is for.
        values: That the template uses.

    Raises:
        jinja2.UndefinedError: The template uses a value that is missing.
    """
    token = _READER.set(reader)
    try:
        return get_environment(reader.language).get_template(template).render(reader=reader, **values)
    finally:
        _READER.reset(token)


@cache
def get_environment(language: str) -> Environment:
    """Return the environment of all templates in a language."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.code_generator_class = TranslatingGenerator
    environment.extend(language=language)
    environment.globals |= {SAY: translate, "get_reader": _READER.get}
    environment.filters |= _FILTERS
    return environment


def translate(sentence: str, /, **values: Any) -> str:
    """Say a sentence in the reader's language, filled with values."""
    return Language(_READER.get().language).say(sentence, **values)


def format_number(number: float | None, digits: int = 0) -> str:
    """Write a number as the reader does; a dash for none."""
    if number is None or number != number:  # noqa: PLR0124  # NaN
        return _NONE
    written = f"{round(float(number), digits) or 0.0:,.{digits}f}"
    marks = _find_marks(_READER.get().locale)
    return written if marks is None else written.translate(marks)


# Babel takes as long for one number as a template for a row of a table: it is asked for the marks alone.
@cache
def _find_marks(locale: str) -> dict[int, str] | None:
    """Find what a locale writes in place of a comma, a point and a minus; None where it writes these."""
    from babel.numbers import get_decimal_symbol, get_group_symbol, get_minus_sign_symbol

    marks = (get_group_symbol(locale), get_decimal_symbol(locale), get_minus_sign_symbol(locale))
    return None if marks == (",", ".", "-") else dict(zip(map(ord, ",.-"), marks, strict=True))


def format_percent(share: float | None, digits: int = 0) -> str:
    """Write a share as per cent."""
    return _NONE if share is None or share != share else f"{format_number(100 * share, digits)} %"  # noqa: PLR0124


def format_money(amount: float | None, currency: str | None = None, digits: int = 0) -> str:
    """Write an amount after the code of its currency, by default that of the company's reports."""
    if amount is None or amount != amount:  # noqa: PLR0124
        return _NONE
    sign = "−" if round(amount, digits) < 0 else ""  # noqa: RUF001  # the sign that is as wide as +
    return f"{sign}{currency or _READER.get().currency} {format_number(abs(amount), digits)}"


def format_day(value: date | datetime | int | None) -> str:
    """Write a day; that of an instant in the reader's time zone."""
    if value is None:
        return _NONE
    if isinstance(value, int):
        value = from_micros(value)
    if isinstance(value, datetime):
        value = _to_local(value).date()
    pattern = "y年M月d日" if _READER.get().language == "zh_Hans" else "d MMM y"
    return _write_day(value, pattern, _READER.get().locale)


@lru_cache(maxsize=_REMEMBERED)
def _write_day(day: date, pattern: str, locale: str) -> str:
    from babel.dates import format_date

    return format_date(day, format=pattern, locale=locale)


def format_instant(value: datetime | int | None) -> Markup:
    """Write an instant in the reader's time zone, as an element that says it exactly too."""
    if value is None:
        return escape(_NONE)
    instant = from_micros(value) if isinstance(value, int) else value
    local = _to_local(instant)
    written, zone = local.isoformat(timespec="seconds"), escape(local.tzname())
    exact = f"{local.isoformat(timespec='minutes')} {zone}"
    # Numbers and the names of months: escaped is the name of the zone alone.
    return Markup(f'<time datetime="{written}" title="{exact}">{format_day(instant)} {local:%H:%M}</time>')  # noqa: S704


def format_ago(days: float | None) -> str:
    """Say how long ago something was, in whole days."""
    if days is None or days != days:  # noqa: PLR0124
        return _NONE
    whole = round(days)
    if whole <= 0:
        return translate("today")
    return translate("yesterday") if whole == 1 else translate("{days} days ago", days=format_number(whole))


def format_name(name: str | None) -> Markup:
    """Write a name that strangers chose: on one line, cut, and kept from turning the text around it."""
    return _write_name(name or _NONE)


@lru_cache(maxsize=_REMEMBERED)
def _write_name(name: str) -> Markup:
    return Markup(f"<bdi>{escape(to_safe_line(name, _LONGEST_NAME))}</bdi>")  # noqa: S704  # escaped


def link_account(account_id: str, name: str | None = None) -> Markup:
    """Link an account's page by its name, or by its id where it has none."""
    path = f"/accounts/{quote(account_id, safe='')}"  # quoted: it needs no escape
    return Markup(f'<a href="{path}">{format_name(name or account_id)}</a>')  # noqa: S704


def _to_local(instant: datetime) -> datetime:
    aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return aware.astimezone(ZoneInfo(_READER.get().timezone))


def _format_hours(span: timedelta | float | None) -> str:
    if span is None:
        return _NONE
    hours = span / timedelta(hours=1) if isinstance(span, timedelta) else span
    return translate("{hours} h", hours=format_number(hours, 0 if hours >= 10 else 1))


_FILTERS: dict[str, Callable[..., Any]] = {
    "account_link": link_account,
    "ago": format_ago,
    "date": format_day,
    "hours": _format_hours,
    "instant": format_instant,
    "meter": draw_meter,
    "money": format_money,
    "name": format_name,
    "number": format_number,
    "percent": format_percent,
    "say": lambda text: say(text, Language(_READER.get().language)),
    "text": escape,
}
