"""Read a company's TOML file: fill in environment variables, and report every mistake at once."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from features.core.errors import SettingsError, nearest
from features.settings import LoadingSettings, Settings, validate
from features.settings.key_lines import Key, find_key_lines, find_line


def load_settings(file: Path | str | Mapping[str, Any]) -> Settings:
    """Read and check a company's TOML file, or the same as a dictionary.

    `${NAME}` and `${NAME:-default}` in any text stand for environment variables, so that secrets stay out of the file.

    Args:
        file: The TOML file; relative paths of sources start at its folder. Those of a dictionary, whose keys and
            values are as in the file, start at the folder that this process works in.

    Returns:
        The settings, read-only.

    Raises:
        SettingsError: Naming every key that is wrong, its value and what is allowed.

    Examples:
        >>> import tempfile
        >>> text = '''
        ... company.name = "Harbour Ltd"
        ... sources.orders.path = "${ORDERS:-orders.csv}"
        ... tables.accounts = { source = "orders", columns = { account_id = "customer", created_at = "since" } }
        ... tables.purchases.source = "orders"
        ... tables.purchases.columns = { account_id = "customer", purchased_at = "date", amount = "total" }
        ... churn.cohort = { kind = "active", within_days = 180 }
        ... churn.label.kind = "no_purchase"
        ... '''
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "garrison.toml"
        ...     _ = file.write_text(text)
        ...     settings = load_settings(file)
        >>> settings.company.slug, settings.churn.horizons, settings.sources["orders"].path
        ('harbour-ltd', (90,), 'orders.csv')
    """
    if isinstance(file, Mapping):
        settings: Settings = _check({**file}, Path("garrison.toml"), Settings)
    else:
        settings = _read(Path(file), Settings)
    return settings


def load_loading(file: Path | str) -> LoadingSettings:
    """Read and check the part of a company's TOML file that `features load` needs: [company], [load] and [paths].

    Raises:
        SettingsError: Naming every key that is wrong, its value and what is allowed.
    """
    settings: LoadingSettings = _read(Path(file), LoadingSettings)
    return settings


def _read(file: Path, model: type[Settings | LoadingSettings]) -> Any:
    text, raw = _parse(file)
    if model is LoadingSettings:
        raw = {section: raw[section] for section in LoadingSettings.model_fields if section in raw}
    return _check(raw, file, model, text)


def _check(raw: dict[str, Any], file: Path, model: type[Settings | LoadingSettings], text: str | None = None) -> Any:
    """Return the values as settings; `text` is that of their file, None where they are of a dictionary."""
    try:
        settings = model.model_validate({**_expand(raw, file, ""), "file": file})
        problems = list(validate.find_problems(settings)) if isinstance(settings, Settings) else []
    except ValidationError as error:
        errors = error.errors()
        # A list whose one value is wrong counts as empty as well.
        around = {e["loc"][:-1] for e in errors}
        problems = [_describe(e) for e in errors if e["type"] != "too_short" or e["loc"] not in around]
    if problems:
        lines = find_key_lines(text or "")
        listed = "; ".join(_add_line(problem, lines) for problem in dict.fromkeys(problems))
        name = "the dictionary" if text is None else file
        raise SettingsError(f"{name} has settings that are not allowed: {listed}")
    return settings


def _parse(file: Path) -> tuple[str, dict[str, Any]]:
    """Return the text of a TOML file and its tables."""
    try:
        # A byte-order mark, as editors of Windows write it, says nothing more.
        text = file.read_bytes().decode("utf-8-sig")
        return text, tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SettingsError(
            f"{file} is not UTF-8", found=f"line {line} has bytes of another encoding", hint="Save it as UTF-8"
        ) from error
    except FileNotFoundError:
        raise SettingsError(
            f"there is no settings file {file}",
            hint="Name one with --config FILE, or make a sample company: python -m features sample tidewater",
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file} is not TOML", found=str(error), hint=_explain_syntax(str(error))) from error


def _add_line(problem: str, lines: dict[Key, int]) -> str:
    """Put the line of the key that a problem begins with before it."""
    line = find_line(lines, re.split(r":? ", problem, maxsplit=1)[0])
    return f"line {line}: {problem}" if line else problem


def _expand(value: Any, file: Path, key: str) -> Any:
    if isinstance(value, dict):
        return {k: _expand(v, file, f"{key}.{k}".lstrip(".")) for k, v in value.items()}
    if isinstance(value, list):
        return [_expand(v, file, key) for v in value]
    return (
        re.sub(r"\$\{(\w+)(?::-([^}]*))?\}", lambda m: _variable(m, file, key), value)
        if isinstance(value, str)
        else value
    )


def _variable(match: re.Match[str], file: Path, key: str) -> str:
    name, default = match[1], match[2]
    value = os.environ.get(name, default)
    if value is None:
        raise SettingsError(
            f"{file} needs the environment variable {name} for {key}",
            found="it is not set",
            hint=f"export {name}=…",
        )
    return value


# What pydantic says in the words of Python.
_PLAIN = {
    "missing": "is missing",
    "too_short": "should not be empty",
    "string_too_short": "should not be empty",
    "dict_type": "should be a table: keys and values in { }, or below its name in [ ]",
    "model_type": "should be a table: keys and values in { }, or below its name in [ ]",
    "tuple_type": "should be a list, in [ ]",
    "string_type": "should be one text, in quotes",
}


def _explain_syntax(error: str) -> str:
    """Return what to do about an error of TOML's grammar."""
    if "escape" in error.casefold():
        return (
            r"In double quotes a backslash begins an escape: write such a path in single quotes, 'C:\exports\crm.csv'"
        )
    if re.search("overwrite|twice|mutate", error):
        return "Each key and each table stands once: join the two, or take one out"
    return "Correct that line: text stands in quotes, tables in [brackets]"


def _describe(error: Any) -> str:
    """Return a pydantic error as 'key: problem (given: value)', without whole tables or possible secrets."""
    key = ".".join(str(part) for part in error["loc"])
    value = error["input"]
    problem = _PLAIN.get(error["type"], str(error["msg"]).removeprefix("Value error, "))
    if error["type"] == "extra_forbidden":
        problem = "this key is unknown. " + nearest(str(error["loc"][-1]), _list_siblings(error["loc"]))
    hidden = error["type"] == "extra_forbidden" or isinstance(value, dict | BaseModel)
    shown = "" if hidden else f" (given: {value!r})"
    return f"{key}: {problem}{shown}" if key else problem


def _list_siblings(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys allowed in the place of an unknown one; [] if the place can't be found."""
    model: Any = Settings
    for part in location[:-1]:
        field = model.model_fields.get(str(part)) if model else None
        model = _find_model(field.annotation) if field else model
    return [name for name in model.model_fields if name != "file"] if model else []


def _find_model(annotation: Any) -> Any:
    """Return the settings model inside an annotation such as `dict[str, Source]` or `Upsell | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        model = _find_model(getattr(part, "__origin__", part)) if part is not type(None) else None
        if model:
            return model
    return None
