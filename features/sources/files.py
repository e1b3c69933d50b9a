"""Files of raw rows: which ones a source names, and in what format each is."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from features.settings import Source

Format = Literal["parquet", "csv", "json", "excel"]
_ENDINGS: MappingProxyType[Format, re.Pattern[str]] = MappingProxyType(
    {
        "parquet": re.compile(r"\.(parquet|pq)$", re.IGNORECASE),
        "csv": re.compile(r"\.(csv|tsv|tab|txt)(\.gz|\.zst)?$", re.IGNORECASE),
        "json": re.compile(r"\.(jsonl|ndjson|json)(\.gz|\.zst)?$", re.IGNORECASE),
        "excel": re.compile(r"\.xlsx$", re.IGNORECASE),
    }
)


def list_files(source: Source, folder: Path) -> list[Path] | None:
    """Return the existing files that a source is read from, sorted; None for a database on a server.

    A folder stands for the Parquet files in it and in the folders below; without any, for its other files of a known
    format. In a glob `**` stands for any folders.
    """
    if source.path is None:
        url = str(source.url)
        return [folder / url.removeprefix("sqlite:///")] if url.startswith("sqlite:///") else None
    place = folder / source.path
    if place.exists() or not set("*?[") & set(source.path):
        places = [place] * place.exists()
    else:
        pattern = source.path if Path(source.path).is_absolute() else f"{glob.escape(str(folder))}/{source.path}"
        places = [Path(match) for match in glob.glob(pattern, recursive=True)]  # noqa: PTH207  # Path.glob can't take an absolute pattern
    return sorted({file for found in places for file in ([found] if found.is_file() else _list_folder(found))})


def _list_folder(folder: Path) -> Iterator[Path]:
    known = {file: find_format(file) for file in folder.rglob("*") if file.is_file() and _is_data(file, folder)}
    wanted = {"parquet"} if "parquet" in known.values() else {"csv", "json", "excel"}
    return (file for file, form in known.items() if form in wanted)


def _is_data(file: Path, folder: Path) -> bool:
    """Return whether a file is none that a system keeps for itself, such as _delta_log/… or .part.csv."""
    return not any(part.startswith((".", "_")) for part in file.relative_to(folder).parts)


def find_format(file: Path) -> Format | None:
    """Return the format that the end of a file's name says; None if it is not known."""
    return next((form for form, ending in _ENDINGS.items() if ending.search(file.name)), None)


def list_partitions(file: Path) -> tuple[str, ...]:
    """Return the columns that the folders of a file give, such as month for month=2024-01/part.parquet."""
    return tuple(part.partition("=")[0] for part in file.parts[:-1] if re.fullmatch(r"[^=]+=[^=]*", part))


def are_partitioned(files: Sequence[Path]) -> bool:
    """Return whether the folders of all files give the same columns, at least one."""
    given = {list_partitions(file) for file in files}
    return len(given) == 1 and given != {()}
