"""What the commands of all four folders share: options, how an error ends, results for machines."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import progress as bars
from rich.console import Console

from features.core.atomic_write import write_atomically
from features.core.errors import GarrisonError
from features.core.progress import Progress
from features.settings import instant


def parsed(text: str) -> datetime:
    """An option's date; a wrong one is wrong usage."""
    try:
        return instant(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Config = Annotated[Path, typer.Option("--config", help="The company's TOML file.", show_default=True)]
CONFIG = Path("garrison.toml")
AsOf = Annotated[
    datetime | None,
    typer.Option("--as-of", parser=parsed, metavar="DATE", help="Look from here: ISO date, UTC."),
]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the result here too, for machines.")]


AsOfs = Annotated[
    list[datetime],
    typer.Option("--as-of", parser=parsed, metavar="DATE", help="Look from here: ISO date, UTC; give it repeatedly."),
]


def app(purpose: str) -> typer.Typer:
    """A command group whose bare call shows its help."""
    return typer.Typer(help=purpose, no_args_is_help=True, add_completion=False)


def run(commands: Callable[[], Any]) -> None:
    """Run a command group; a user's error, or a file's, becomes one line on standard error and exit status 1."""
    try:
        commands()
    except (GarrisonError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        sys.exit(130)


@contextlib.contextmanager
def spinner(what: str) -> Iterator[Progress]:
    """Show the step under way on standard error, if it is a terminal."""
    with _err().status(f"{what} …") as status:

        def report(step: str, done: int = 0, total: int = 0, /) -> None:
            count = f" {done:,} of {total:,}" if total else ""
            status.update(f"{what} {step}{count} …")

        yield report


@contextlib.contextmanager
def progress(what: str) -> Iterator[Progress]:
    """Show a bar on standard error, if it is a terminal."""
    console = _err()
    columns = (bars.TextColumn(what), bars.BarColumn(), bars.MofNCompleteColumn(), bars.TimeRemainingColumn())
    bar = bars.Progress(*columns, console=console, disable=not console.is_terminal)
    with bar:
        task = bar.add_task(what)

        def report(_step: str, done: int = 0, total: int = 0, /) -> None:
            bar.update(task, completed=done, total=total)

        yield report


def _err() -> Console:
    return Console(stderr=True)


def write_json(file: Path | None, data: Mapping[str, Any]) -> None:
    """Write a result for machines, whole or not at all; does nothing without a file."""
    if file is None:
        return
    with write_atomically(file) as part:
        part.write_text(json.dumps(data, indent=2, allow_nan=False, default=str) + "\n", encoding="utf-8")
