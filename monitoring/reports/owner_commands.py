"""The command that prints the manager's one sheet."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from features.settings import cli
from features.settings.cli import CONFIG, Config, Json, write_json
from features.settings.load import load_settings


def owners(
    month: Annotated[
        datetime | None, typer.Option(parser=cli.parse_month, metavar="YYYY-MM", help="Of one month.")
    ] = None,
    since: Annotated[
        datetime | None, typer.Option("--from", parser=cli.parse_date, metavar="DATE", help="Start of the period.")
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(
            "--to", parser=cli.parse_date, metavar="DATE", help="Its end. Default: the newest scores, after a year."
        ),
    ] = None,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Show by owner and team how accounts were served, and who was kept against the risk that was given."""
    from features.settings.periods import find_period
    from monitoring.reports import owner_sheet, stored_reports

    settings = load_settings(config)
    if month is not None:
        if since or until:
            raise typer.BadParameter("give either --month, or --from and --to")
        since, until = find_period(f"{month:%Y-%m}", starts=1)
    with cli.show_spinner("reading") as say:
        say("scores, what became of the accounts, tickets and alerts")
        sheet = owner_sheet.run(settings, since=since, until=until)
    print(*sheet.lines(), sep="\n")
    for table in sheet.tabulate():
        cli.print_table(table)
    file = stored_reports.write_report(owner_sheet.locate_sheet(settings), sheet.as_dict())
    print(f"The console shows this sheet at /owners, from {file}")
    write_json(json, sheet.as_dict())


def register(app: typer.Typer) -> None:
    """Add this command to the app of `python -m monitoring`."""
    app.command()(owners)
