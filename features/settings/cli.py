"""Give the commands of all four folders their options, error lines, progress bars, tables and JSON results."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from features.core import private_files
from features.core.atomic_write import write_atomically
from features.core.errors import GarrisonError
from features.core.progress import Progress
from features.core.storage_faults import find_storage_fault
from features.settings import parse_instant
from features.settings.periods import find_period


def parse_date(text: str) -> datetime:
    """Return an option's date.

    Raises:
        typer.BadParameter: It is no ISO date, or a time without a zone: wrong usage.
    """
    try:
        return parse_instant(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def parse_month(text: str) -> datetime:
    """Return the beginning of an option's month, YYYY-MM, in UTC.

    Raises:
        typer.BadParameter: It is no month: wrong usage.
    """
    try:
        return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        raise typer.BadParameter(f"{text} is no month: write it as 2026-01") from None


def choose_period(
    since: datetime | None, until: datetime | None, period: str | None, *, starts: int
) -> tuple[datetime, datetime | None]:
    """Return the begin and the end that a command was given: as dates, or as a period of the fiscal year.

    Args:
        since: The option --since.
        until: The option --until.
        period: The option --period.
        starts: The fiscal year's first month.

    Raises:
        typer.BadParameter: Both or neither are given, or it is no period: wrong usage.
    """
    if (period is None) == (since is None) or (period and until):
        raise typer.BadParameter("give either --since, with or without --until, or --period")
    if since is not None:
        return since, until
    try:
        return find_period(str(period), starts=starts)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Config = Annotated[Path, typer.Option("--config", help="The company's TOML file.", show_default=True)]
CONFIG = Path("garrison.toml")
AsOf = Annotated[
    datetime | None,
    typer.Option("--as-of", parser=parse_date, metavar="DATE", help="Look from here: ISO date, UTC."),
]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the result here too, for machines.")]


AsOfs = Annotated[
    list[datetime],
    typer.Option(
        "--as-of", parser=parse_date, metavar="DATE", help="Look from here: ISO date, UTC; give it repeatedly."
    ),
]


def create_app(purpose: str) -> typer.Typer:
    """Create a command group that shows its help when called without a command."""
    return typer.Typer(help=purpose, no_args_is_help=True, add_completion=False)


def run(commands: Callable[[], Any]) -> None:
    """Run a command group; a user's error, or a file's, becomes one line on standard error and exit status 1.

    What it writes is for the user who runs it alone: files often hold personal data.
    """
    before = private_files.read_umask()
    try:
        private_files.restrict_new_files()
        commands()
    except (GarrisonError, OSError) as error:
        _exit_with(error)
    except Exception as error:
        fault = find_storage_fault(error)
        if fault is None:
            raise
        _exit_with(fault)
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        sys.exit(130)
    finally:
        os.umask(before)


def _exit_with(error: Exception) -> NoReturn:
    shown = (find_storage_fault(error) or error) if isinstance(error, OSError) else error
    _error_console().print(Text.assemble(("error:", "bold red"), f" {shown}"), soft_wrap=True)
    sys.exit(1)


@contextlib.contextmanager
def show_spinner(task: str) -> Iterator[Progress]:
    """Show the step under way on standard error, if that is a terminal; yields the callback for progress."""
    with _error_console().status(f"{task} …") as status:

        def report(step: str, done: int = 0, total: int = 0, /) -> None:
            count = f" {done:,} of {total:,}" if total else ""
            status.update(f"{task} {step}{count} …")

        yield report


@contextlib.contextmanager
def show_progress(task: str) -> Iterator[Progress]:
    """Show a bar on standard error, if that is a terminal; yields the callback for progress."""
    from rich import progress as bars

    console = _error_console()
    columns = (bars.TextColumn(task), bars.BarColumn(), bars.MofNCompleteColumn(), bars.TimeRemainingColumn())
    with bars.Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        bar_task = bar.add_task(task)

        def report(_step: str, done: int = 0, total: int = 0, /) -> None:
            bar.update(bar_task, completed=done, total=total)

        yield report


def _error_console() -> Console:
    return Console(stderr=True)


def table(*columns: str, title: str | None = None, right: Collection[str] = ()) -> Table:
    """Create a table for `print_table`, to be filled by `add_row`.

    Args:
        columns: The headings.
        title: Stands above the table.
        right: The headings of columns of numbers, which are aligned to the right and never broken.
    """
    made = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True
    )
    for heading in columns:
        is_number = heading in right
        made.add_column(
            heading, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold", vertical="top"
        )
    return made


def print_table(table: Table) -> None:
    """Print a table on standard output: as wide as the terminal, or uncut where the output goes elsewhere.

    On a terminal that is too narrow, text wraps within its column; the first column, which names the row, wraps last.
    Cells are plain text: brackets and colons in them are no markup.
    """
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console = Console(markup=False, highlight=False, emoji=False, width=_UNCUT)
    unlimited = console.options.update_width(_UNCUT)
    if table.columns and Measurement.get(console, unlimited, table).maximum > console.width:
        first = table.columns[0]
        cells = [first.header, *first.cells]
        natural = max(Measurement.get(console, unlimited, cell).maximum for cell in cells)
        first.width = min(natural, console.width // 2)
    console.print(table)


# Columns of characters that no table is wider than.
_UNCUT = 10_000


def write_json(file: Path | None, data: Mapping[str, Any]) -> None:
    """Write a result for machines, whole or not at all; does nothing without a file."""
    if file is None:
        return
    with write_atomically(file) as part:
        part.write_text(json.dumps(data, indent=2, allow_nan=False, default=str) + "\n", encoding="utf-8")
