"""Render HTML pages from templates, with every value escaped, and write them whole or not at all."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from features.core.atomic_write import write_atomically

_TEMPLATES = Path(__file__).parent / "templates"


def render_template(template: Path, **values: Any) -> str:
    """Render a template, with every value escaped.

    Args:
        template: Its file, in the folder of its room; its base lies there or in `features/core/templates`.
        values: The values that it uses, by name.

    Raises:
        jinja2.UndefinedError: The template uses a value that is missing.
    """
    return _environment(template.parent).get_template(template.name).render(values)


def write_page(file: Path, text: str) -> Path:
    """Write a page and create its folder; a reader sees the old page or the new one, never half of it."""
    with write_atomically(file) as part:
        part.write_text(text, encoding="utf-8")
    return file


@cache
def _environment(folder: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader([folder, _TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda share, digits=0: f"{share:.{digits}%}"
    environment.filters["short"] = lambda number: f"{number:,.4g}" if abs(number) < 10_000 else f"{number:,.0f}"
    environment.filters["short2"] = _round_to_two
    return environment


def _round_to_two(number: float) -> str:
    """Return a number with two digits that say something: 39.7 as 40, 0.0114 as 0.011."""
    return f"{number:,.0f}" if abs(number) >= 10 else f"{number:.2g}"
