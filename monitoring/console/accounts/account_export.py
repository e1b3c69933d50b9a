"""Write the accounts that a person filtered to a CSV or Excel file, some at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from monitoring.console.accounts.account_index import AccountIndex, AccountRow
from serving.delivery import files

if TYPE_CHECKING:
    from monitoring.console.sign_in.access import RowFilter

FORMATS = ("csv", "xlsx")
_CHUNK = 5_000


def write_accounts(  # noqa: PLR0913  # each a choice of the reader's
    index: AccountIndex,
    rows: RowFilter,
    file_format: str,
    *,
    order: str,
    search: str,
    filters: Mapping[str, Any],
) -> Path:
    """Write the accounts to a new temporary file, which the caller removes; texts that a sheet would run are escaped.

    Args:
        index: Of all accounts.
        rows: What the reader may see.
        file_format: One of `FORMATS`.
        order: Of the rows.
        search: A part of name or id.
        filters: As of `account_conditions.build_conditions`.

    Raises:
        GarrisonError: There is no such order or filter, or a sheet can't hold so many rows.
    """
    name = f"accounts.{file_format}"
    folder = Path(tempfile.mkdtemp(prefix="garrison-export-"))
    try:
        parts = index.iterate_accounts(rows, order=order, search=search, filters=filters, chunk=_CHUNK)
        files.write(folder / name, _build_frames(index, parts))
    except BaseException:
        remove_export(folder / name)
        raise
    return folder / name


def remove_export(file: Path) -> None:
    """Remove a file that `write_accounts` wrote, with its folder."""
    for leftover in file.parent.glob("*"):
        leftover.unlink(missing_ok=True)
    file.parent.rmdir()


def _build_frames(index: AccountIndex, parts: Iterator[tuple[AccountRow, ...]]) -> Iterator[pd.DataFrame]:
    names = list(AccountRow.__dataclass_fields__)
    instants, numbers, text = {"next_renewal", "last_touch"}, _list_kinds("float"), _list_kinds("str")
    for part in parts:
        frame = pd.DataFrame([asdict(row) for row in part], columns=names)
        for name in names:
            if name in instants:
                frame[name] = pd.to_datetime(frame[name], utc=True)
            elif name in numbers:
                frame[name] = frame[name].astype("float64")
            elif name in text:
                frame[name] = frame[name].astype("str")
        yield frame.assign(as_of=pd.Timestamp(index.as_of))


def _list_kinds(kind: str) -> set[str]:
    return {name for name, field in AccountRow.__dataclass_fields__.items() if str(field.type).startswith(kind)}
