"""Give the installed command `garrison` the commands of all four folders: `garrison training fit` and so on."""

from __future__ import annotations

import importlib
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from features.settings import cli

FOLDERS = ("features", "training", "serving", "monitoring")


class LazyFolder(TyperGroup):
    """The commands of one folder, imported when one of them, or their list, is wanted.

    The types of Typer's own copy of Click are private: hence `Any`.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the folder's commands."""
        return self._load().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return one of the folder's commands."""
        return self._load().get_command(ctx, cmd_name)

    def _load(self) -> Any:
        return get_command(importlib.import_module(f"{self.name}.__main__").app)


def create_app() -> typer.Typer:
    """Create the command group of the four folders, each described by its package's first line."""
    app = typer.Typer(help="Garrison: keeps the accounts a company has won.", no_args_is_help=True)
    for folder in FOLDERS:
        purpose = str(importlib.import_module(folder).__doc__).splitlines()[0]
        app.add_typer(typer.Typer(cls=LazyFolder, help=purpose, no_args_is_help=True), name=folder)
    return app


def main() -> None:
    """Run the installed command."""
    cli.run(create_app())


if __name__ == "__main__":
    main()
