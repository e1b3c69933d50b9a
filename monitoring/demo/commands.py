"""The command that lets a made-up company live on under its alerts."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from typing import Annotated

import typer

from features.settings import cli
from features.settings.cli import CONFIG, Config, Json, write_json
from features.settings.load import load_settings


def live_on(
    until: Annotated[
        datetime, typer.Option(parser=cli.parse_date, metavar="DATE", help="The first day that is still to come.")
    ],
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Let tidewater's owners answer the letters sent so far, and the company live on; made with `sample --until`."""
    from features.state import database
    from monitoring.demo import owners_respond

    settings = load_settings(config)
    with closing(database.open(settings)) as state, cli.show_progress("accounts") as step:
        response = owners_respond.live_on(settings, state, until=until.date(), progress=step)
    print(*response.lines(), sep="\n")
    write_json(json, response.as_dict())


def register(app: typer.Typer) -> None:
    """Add these commands to the app of `python -m monitoring`."""
    app.command(name="live-on")(live_on)
