"""Change the hours of owners in the text of a TOML file; every other line and comment stays as it is."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from features.core.atomic_write import write_atomically
from features.core.errors import GarrisonError
from features.settings.key_lines import find_key_lines

_HOURS = re.compile(r"(\bhours\s*=\s*)([0-9_.+eE-]+)")


def set_hours(text: str, hours: float) -> str:
    r"""Return the text of a TOML file with other hours of owners.

    Args:
        text: Of the file.
        hours: A week, of owners without hours of their own.

    Raises:
        GarrisonError: The line can't be changed for certain.

    Example:
        >>> print(set_hours('[capacity]\nhours = 5  # a morning\n', 2.5), end="")
        [capacity]
        hours = 2.5  # a morning
    """
    places, lines = find_key_lines(text), text.splitlines(keepends=True)
    number = f"{hours:g}" if hours % 1 else f"{hours:.1f}"
    end = "\r\n" if "\r\n" in text else "\n"
    if (line := places.get(("capacity", "hours"))) is not None:
        lines[line - 1] = _HOURS.sub(rf"\g<1>{number}", lines[line - 1], count=1)
    elif (line := places.get(("capacity",))) is not None and lines[line - 1].lstrip().startswith("["):
        if not lines[line - 1].endswith(("\n", "\r")):
            lines[line - 1] += end
        lines.insert(line, f"hours = {number}{end}")
    elif any(key[0] == "capacity" for key in places):
        lines = _set_dotted(lines, places, f"capacity.hours = {number}{end}")
    else:
        last = "" if not lines or lines[-1].endswith(("\n", "\r")) else end
        lines += [f"{last}{end}[capacity]{end}hours = {number}{end}"]
    changed = "".join(lines)
    _check(text, changed, hours)
    return changed


def list_changes(before: str, after: str, name: str) -> Iterator[str]:
    """Yield the lines that differ, as `diff -u` prints them."""
    return difflib.unified_diff(before.splitlines(), after.splitlines(), name, name, lineterm="")


def write_hours(file: Path, hours: float) -> list[str]:
    """Change the hours of owners in a TOML file; returns what changed, line by line.

    Raises:
        GarrisonError: The line can't be changed for certain.
    """
    before = file.read_bytes().decode("utf-8")
    after = set_hours(before, hours)
    if after != before:
        with write_atomically(file) as part:
            part.write_bytes(after.encode("utf-8"))
    return [*list_changes(before, after, str(file))]


def _set_dotted(lines: list[str], places: dict[tuple[str, ...], int], new: str) -> list[str]:
    """Put a dotted key before the first of the table's keys that are written so."""
    first = min(line for key, line in places.items() if key[0] == "capacity")
    return [*lines[: first - 1], new, *lines[first - 1 :]]


def _check(before: str, after: str, hours: float) -> None:
    """Check that nothing but the hours has changed.

    Raises:
        GarrisonError: Something else has.
    """
    try:
        old, new = tomllib.loads(before), tomllib.loads(after)
    except tomllib.TOMLDecodeError:
        old, new = {}, {}
    wanted = old | {"capacity": old.get("capacity", {}) | {"hours": hours}}
    if not new or new != wanted:
        raise GarrisonError(
            "the hours of [capacity] can't be changed for certain in this file",
            hint=f"Write them yourself: hours = {hours:g}",
        )
