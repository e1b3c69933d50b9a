"""The command about what became of alerts."""

from __future__ import annotations

from contextlib import closing
from enum import StrEnum
from typing import Annotated

import typer

from features.settings import cli
from features.settings.cli import CONFIG, Config, Json, write_json
from features.settings.load import load_settings


class Grouping(StrEnum):
    """What alerts are counted by."""

    cause = "cause"
    kind = "kind"
    play = "play"
    owner = "owner"


def outcomes(
    by: Annotated[
        list[Grouping] | None, typer.Option("--by", help="Only so; give it repeatedly. Default: all.")
    ] = None,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Show what became of alerts by cause, kind, play and owner: saved, left, recovered, false alarms."""
    from features.sources.history import History
    from features.state import database
    from monitoring.reports import outcomes as reports

    settings = load_settings(config)
    with (
        cli.show_spinner("reading") as say,
        closing(database.open(settings)) as state,
        History.open(settings) as history,
    ):
        say("episodes and what became of them")
        report = reports.report_outcomes(settings, state, history, groupings=by or reports.GROUPINGS)
    print(*report.lines(), sep="\n")
    for rows in report.tabulate():
        cli.print_table(rows)
    write_json(json, report.as_dict())


def register(app: typer.Typer) -> None:
    """Add these commands to the app of `python -m monitoring`."""
    app.command()(outcomes)
