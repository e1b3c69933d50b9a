"""What the commands of all four folders share: options, how an error ends, results for machines."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from features.errors import GarrisonError
from features.settings import instant


def _parsed(text: str) -> datetime:
    try:
        return instant(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Config = Annotated[Path, typer.Option("--config", help="The company's TOML file.", show_default=True)]
CONFIG = Path("garrison.toml")
AsOf = Annotated[
    datetime | None,
    typer.Option("--as-of", parser=_parsed, metavar="DATE", help="Look from here: ISO date, UTC."),
]
Json = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the result here too, for machines.")
]


def app(purpose: str) -> typer.Typer:
    """A command group whose bare call shows its help."""
    return typer.Typer(help=purpose, no_args_is_help=True, add_completion=False)


def run(commands: Callable[[], Any]) -> None:
    """Run a command group; a user's error becomes one line on standard error and exit status 1."""
    try:
        commands()
    except GarrisonError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        sys.exit(130)


def write_json(file: Path | None, data: Mapping[str, Any]) -> None:
    """Write a result for machines, whole or not at all; does nothing without a file."""
    if file is None:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    part.write_text(json.dumps(data, indent=2, allow_nan=False, default=str) + "\n", encoding="utf-8")
    os.replace(part, file)  # noqa: PTH105  # the atomic rename, by its usual name
