"""Pages for people: templates filled in with every value escaped, written whole or not at all."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from features.core.atomic_write import write_atomically

_TEMPLATES = Path(__file__).parent / "templates"


def render_template(template: Path, **values: Any) -> str:
    """Fill in a template; names and other data of users are escaped.

    Args:
        template: Its file, in the folder of its room; what it extends lies beside it or in `features/core/templates`.
        values: What it asks for.

    Raises:
        jinja2.UndefinedError: The template asks for a value that was not given.
    """
    return _environment(template.parent).get_template(template.name).render(values)


def write_page(file: Path, text: str) -> Path:
    """Write a page, its folder made; a reader sees the old one or the new one, never half of it."""
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
    return environment
