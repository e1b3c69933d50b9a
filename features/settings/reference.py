"""Write the reference page of all keys of the TOML, from the settings' own code: types, defaults, comments."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from datetime import time, timedelta
from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from features.core.contract import TABLES, describe_kind
from features.settings import Settings

HEADING = "## All keys"
_INTRO = """Made from the settings' own code by `python -m features settings --markdown docs/settings.md`. A key is
needed where the column "default" says so; an optional one is absent by default. `NAME` stands for a name of your own.
In any text `${NAME}` and `${NAME:-default}` stand for environment variables."""
# What the validators of `features.settings` take.
_TAKES = {
    "_zone": "IANA time zone, such as `Europe/Berlin`",
    "_span": "span of time, such as `30m`, `6h` or `1d`",
    "parse_instant": "ISO date, or a time with its offset",
    "_encoding": "encoding, such as `windows-1252`",
    "_mark": "one character, or `tab`",
    "_address": "address",
    "_country": "country, in two letters",
    "_name": "name",
}
_LIMITS = ((Ge, "ge", "at least"), (Gt, "gt", "above"), (Le, "le", "at most"), (Lt, "lt", "below"))
_PLAIN = {str: "text", int: "whole number", float: "number", bool: "yes or no", time: "time of day"}


def replace_reference(page: str) -> str:
    """Return the page with its reference, from the heading to the end, made anew."""
    above = page.split(f"{HEADING}\n", 1)[0].rstrip()
    return "\n".join([*([above, ""] if above else []), *_list_lines()]) + "\n"


def _list_lines() -> Iterator[str]:
    yield HEADING
    yield ""
    yield _INTRO
    for path, model in _walk(Settings, ""):
        yield ""
        yield f"### `[{path}]`" if path else "### At the top"
        yield ""
        if path:
            yield from _describe_model(model)
            yield ""
        yield from _list_rows(path, model)
    yield ""
    yield from _list_contract()


def _list_rows(path: str, model: type[BaseModel]) -> Iterator[str]:
    fields = {name: field for name, field in model.model_fields.items() if not field.exclude}
    if not path:
        fields = {name: field for name, field in fields.items() if _find_model(field.annotation) is None}
    yield _row("key", "what it takes", "default", "what it is")
    yield _row("---", "---", "---", "---")
    comments = read_meanings(model)
    for name, field in fields.items():
        inner = _find_model(field.annotation)
        if inner is not None:
            below = f"`[{_name_path(path, name, field)}]`"
            default = "needed" if field.is_required() else "optional"
            yield _row(f"`{name}`", f"table: see {below}", default, comments.get(name, ""))
        else:
            yield _row(f"`{name}`", _describe_type(field), _describe_default(field), comments.get(name, ""))


def _walk(model: type[BaseModel], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield each section's path and model, a section before those in it."""
    yield path, model
    for name, field in model.model_fields.items():
        inner = _find_model(field.annotation)
        if inner is not None:
            yield from _walk(inner, _name_path(path, name, field))


def _name_path(path: str, name: str, field: FieldInfo) -> str:
    of_names = any(get_origin(part) is dict for part in (field.annotation, *get_args(field.annotation)))
    return f"{path}.{name}".lstrip(".") + ".NAME" * of_names


def _find_model(annotation: Any) -> type[BaseModel] | None:
    """Return the settings model inside an annotation such as `dict[str, Source]` or `Upsell | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _find_model(part))), None)


def _describe_model(model: type[BaseModel]) -> Iterator[str]:
    """Yield a section's docstring, its list of kinds as a list."""
    text = inspect.getdoc(model) or ""
    for line in text.split("\nArgs:", 1)[0].strip().splitlines():
        yield re.sub(r"^(\w+): ", r"- `\1`: ", line)


@cache
def read_meanings(model: type[BaseModel]) -> dict[str, str]:
    """Return what each key of a section means: the comment above it, or its line in the docstring."""
    found = dict[str, str]()
    for base in reversed(model.__mro__):
        if isinstance(base, type) and issubclass(base, BaseModel) and base is not BaseModel:
            found |= _read_args(inspect.getdoc(base) or "") | _read_comments(inspect.getsource(base))
    return found


def _read_args(docstring: str) -> dict[str, str]:
    args = textwrap.dedent(docstring.partition("\nArgs:\n")[2])
    return {match[1]: " ".join(match[2].split()) for match in re.finditer(r"(?m)^(\w+): ((?:.+\n?(?: +.+\n?)*))", args)}


def _read_comments(source: str) -> dict[str, str]:
    """Return the comment above each field; it speaks of the fields right below as well, up to the next comment."""
    meanings, above, is_open = dict[str, str](), list[str](), False
    for line in textwrap.dedent(source).splitlines():
        if comment := re.fullmatch(r"    # (.+)", line):
            above, is_open = [*(above if is_open else []), comment[1]], True
        elif (field := re.match(r"    (\w+): ", line)) and above:
            meanings[field[1]], is_open = " ".join(above), False
        elif not re.match(r"     |    [)\]}]", line):
            above, is_open = [], False
    return meanings


def _describe_type(field: FieldInfo) -> str:
    words = _describe_annotation(field.annotation, tuple(field.metadata))
    return words.replace("|", "\\|")


def _describe_annotation(annotation: Any, metadata: tuple[Any, ...]) -> str:
    named = next(
        (_TAKES[n] for m in metadata if (n := getattr(getattr(m, "func", None), "__name__", "")) in _TAKES), ""
    )
    if named:
        return named
    origin, parts = get_origin(annotation), [part for part in get_args(annotation) if part is not NoneType]
    if origin is Annotated:
        return _describe_annotation(parts[0], (*metadata, *annotation.__metadata__))
    if parts:
        return _describe_compound(origin, parts, metadata)
    limits = [
        f"{words} {getattr(m, attribute):g}"
        for kind, attribute, words in _LIMITS
        for m in metadata
        if isinstance(m, kind) and isinstance(getattr(m, attribute), int | float)
    ]
    return " ".join([_PLAIN.get(annotation, "text"), *([f"({', '.join(limits)})"] if limits else [])])


def _describe_compound(origin: Any, parts: list[Any], metadata: tuple[Any, ...]) -> str:
    if origin is Literal:
        return ", ".join(_show(part) for part in parts)
    if origin is tuple:
        some = " (at least one)" if any(isinstance(m, MinLen) for m in metadata) else ""
        return f"list of {_describe_annotation(parts[0], ())}{some}"
    if origin is dict:
        return f"table of {_describe_annotation(parts[0], ())} = {_describe_annotation(parts[1], ())}"
    return " or ".join(dict.fromkeys(_describe_annotation(part, metadata) for part in parts))


def _describe_default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    return "optional" if value is None or value is PydanticUndefined else _show(value)


def _show(value: Any) -> str:
    """Return a value as the TOML has it."""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, timedelta):
        return f"`{int(value.total_seconds() // 60)}m`"
    if isinstance(value, tuple | list | frozenset | set):
        return f"`[{', '.join(_show(one).strip('`') for one in value)}]`"
    if isinstance(value, dict):
        pairs = (f"{key} = {_show(one).strip('`')}" for key, one in value.items())
        return f"`{{{', '.join(pairs)}}}`"
    if isinstance(value, time):
        return f"`{value:%H:%M}`"
    return f"`{value}`" if isinstance(value, int | float) else f'`"{value}"`'


def _list_contract() -> Iterator[str]:
    yield "## Columns of the tables"
    yield ""
    yield "What `[tables.NAME.columns]` may map. `accounts` takes any further name as an attribute."
    for name, table in TABLES.items():
        yield ""
        yield f"### `{name}`"
        yield ""
        key = f" Rows are told apart by {', '.join(f'`{column}`' for column in table.key)}." if table.key else ""
        yield (f"Dated by `{table.time}`." if table.time else "Undated.") + key
        yield ""
        yield _row("column", "what it takes", "needed")
        yield _row("---", "---", "---")
        for column, spec in table.columns.items():
            if spec.made and not spec.mappable:
                continue
            takes = ", ".join(f"`{word}`" for word in spec.among) or describe_kind(spec)
            least = "" if spec.least is None else f" (at least {spec.least:g})"
            yield _row(f"`{column}`", takes + least, "yes" if spec.needed else "")


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"
