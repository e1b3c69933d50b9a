"""Pages for account owners and managers, out of `monitoring/templates`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from features import pages
from features.pages import write

__all__ = ["render", "write"]

_TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **values: Any) -> str:
    """Fill in a template of `monitoring/templates`; names and other data of users are escaped.

    Raises:
        jinja2.UndefinedError: The template asks for a value that was not given.
    """
    return pages.render(template, _TEMPLATES, **values)
