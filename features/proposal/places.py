"""The sources in a folder or database: which files belong together, and what each is to be called."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import ibis

from features.core.errors import SourceError
from features.core.redaction import hide_password
from features.proposal.text_forms import find_form
from features.settings import Source
from features.sources.files import find_format, list_files
from features.sources.mapping import summarize_error
from features.sources.text_files import read_form

_SIDECARS = re.compile(r"^[._]|\.(crc|md|sql|toml|yml|yaml|log|py|lock)$|^(readme|license)", re.IGNORECASE)
# What tells files of one table apart at the end of their names: a number, a date, a part.
_SERIAL = re.compile(r"([-_. ]?(part|page|chunk|q)?[-_. ]?\d[\d_-]*(-[0-9a-f-]{8,})?)+$", re.IGNORECASE)
PASSWORD = "DB_PASSWORD"  # noqa: S105  # the environment variable's name, no secret


def find_sources(place: str, toml_folder: Path) -> tuple[dict[str, dict[str, Any]], dict[str, str], list[str]]:
    """Find the sources of a company.

    Args:
        place: A folder, a file, or the URL of a database.
        toml_folder: Folder of the TOML file: paths are relative to it.

    Returns:
        Keys of each source by its name, what was found about its form, and what was left out.

    Raises:
        SourceError: There is nothing to read.
    """
    if "://" in place:
        return _list_tables(place, toml_folder), {}, []
    folder = Path(place)
    if not folder.exists():
        raise SourceError(f"there is no folder {place}", hint="Name the folder of the exports, or a database's URL")
    found: dict[str, Path | str] = {}
    left: list[str] = []
    if folder.is_file():
        found[_name(folder.name)] = folder
    else:
        _gather(folder, "", found, left)
    if not found:
        raise _refuse(place, left)
    sources: dict[str, dict[str, Any]] = {}
    notes: dict[str, str] = {}
    for name, path in found.items():
        relative = Path(os.path.relpath(path, toml_folder or ".")).as_posix()
        described = _describe_files(relative, toml_folder)
        if described is None:
            left.append(f"{relative} (empty)")
            continue
        sources[name] = {"path": relative, **described[0]}
        notes |= {name: described[1]} if described[1] else {}
    if not sources:
        raise _refuse(place, left)
    return sources, notes, left


def _describe_files(path: str, folder: Path) -> tuple[dict[str, Any], str] | None:
    """Return the keys that say how files are written, and why; None where all are empty."""
    files = list_files(Source(path=path), folder) or []
    form = find_format(files[0]) if files else None
    if form not in {"csv", "json"}:
        return {}, ""
    if not any(file.stat().st_size for file in files):
        return None
    keys, why = find_form(files)
    return ({key: value for key, value in keys.items() if form == "csv" or key == "encoding"}, why)


def _refuse(place: str, left: list[str]) -> SourceError:
    hint = "Files are CSV, JSON lines, Parquet or Excel (.xlsx)"
    return SourceError(f"{place} holds no file that can be read", found=", ".join(left[:5]) or "nothing", hint=hint)


def _gather(folder: Path, prefix: str, found: dict[str, Path | str], left: list[str]) -> None:
    """Add the sources in a folder and those below it."""
    groups: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            if _SIDECARS.search(entry.name):
                continue
            if _is_one_table(entry):
                _add(found, prefix + entry.name, entry)
            else:
                _gather(entry, prefix + entry.name + "_", found, left)
        elif find_format(entry):
            ending = "".join(entry.suffixes[-2:] if entry.suffix in {".gz", ".zst"} else entry.suffixes[-1:])
            stem = entry.name.removesuffix(ending)
            groups[_SERIAL.sub("", stem) or stem, ending].append(entry)
        elif not _SIDECARS.search(entry.name):
            left.append(f"{entry.name} (no known format)")
    for (stem, ending), files in groups.items():
        pattern = f"{stem}*{ending}"
        is_series = len(files) > 1 and sorted(folder.glob(pattern)) == files and _have_same_columns(files)
        if is_series:
            _add(found, prefix + stem, str(folder / pattern))
        else:
            for file in files:
                _add(found, prefix + file.name.removesuffix(ending), file)


def _is_one_table(folder: Path) -> bool:
    """Return whether a folder's files are parts of one table: folders such as month=1, or files of the same columns."""
    if any(entry.is_dir() and "=" in entry.name for entry in folder.iterdir()):
        return True
    files = [f for f in folder.rglob("*") if f.is_file() and find_format(f) and not _SIDECARS.search(f.name)]
    if any(entry.is_dir() and not _SIDECARS.search(entry.name) for entry in folder.iterdir()):
        return False
    if len(files) == 1:
        return bool(_SERIAL.search(files[0].name.split(".")[0])) or files[0].stem.lower() in {"data", "rows", "part"}
    return bool(files) and _have_same_columns(files)


def _have_same_columns(files: list[Path]) -> bool:
    formats = {find_format(file) for file in files}
    if len(formats) != 1:
        return False
    (form,) = formats
    if form == "parquet":
        import pyarrow.parquet as pq

        return len({tuple(pq.read_schema(file).names) for file in files}) == 1
    if form == "csv":
        source = Source(path="x", encoding="latin-1")
        return len({f.columns for file in files if (f := read_form(file, source, name="x"))}) == 1
    stems = {_SERIAL.sub("", file.name.split(".")[0]) for file in files}
    return len(stems) == 1


def _name(text: str) -> str:
    """Return a name of small letters, digits and _."""
    name = re.sub(r"[^a-z0-9]+", "_", text.split(".", maxsplit=1)[0].lower()).strip("_") or "rows"
    return f"t_{name}" if name[0].isdigit() else name


def _add(found: dict[str, Path | str], text: str, path: Path | str) -> None:
    base = name = _name(text)
    number = 2
    while name in found:
        name, number = f"{base}_{number}", number + 1
    found[name] = path


def _list_tables(url: str, toml_folder: Path) -> dict[str, dict[str, Any]]:
    if url.startswith("sqlite:///"):
        file = Path(url.removeprefix("sqlite:///"))
        # SQLite would create an empty database where there is none.
        if not file.exists():
            raise SourceError(f"there is no database {file}", hint="Correct the URL")
        written = "sqlite:///" + os.path.relpath(file, toml_folder or ".")
        url = f"sqlite:///{file.absolute()}"
    else:
        written = url
    try:
        backend = ibis.connect(url)
        tables = sorted(backend.list_tables())
        backend.disconnect()
    except Exception as error:  # noqa: BLE001  # every backend raises errors of its own
        raise SourceError(
            f"the tables of {hide_password(url)} can't be listed",
            found=hide_password(summarize_error(error).replace(url, hide_password(url))),
            hint="See that the server runs and lets this machine in",
        ) from None
    if not tables:
        raise SourceError(f"{hide_password(url)} has no tables", hint="Name another database or schema")
    return {_name(table): {"url": written, "table": table} for table in tables}


def hide_secret(url: str) -> tuple[str, str | None]:
    """Return a URL with `${DB_PASSWORD}` in place of its password, and the password; None where it has none."""
    parts = urlsplit(url)
    if not parts.password:
        return url, None
    host = parts.netloc.rpartition("@")[2]
    netloc = f"{parts.username or ''}:${{{PASSWORD}}}@{host}"
    return urlunsplit(parts._replace(netloc=netloc)), parts.password
