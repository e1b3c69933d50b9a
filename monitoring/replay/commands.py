"""The command that replays a past time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from features.settings import cli
from features.settings.cli import CONFIG, Config, Json, write_json
from features.settings.load import load_settings

Since = Annotated[
    datetime, typer.Option("--from", parser=cli.parse_date, metavar="DATE", help="The first day that alerts look.")
]
Until = Annotated[
    datetime, typer.Option("--to", parser=cli.parse_date, metavar="DATE", help="The day after the last; ISO date, UTC.")
]


def replay(
    since: Since,
    until: Until,
    every: Annotated[
        Literal["day", "week", "month"], typer.Option(help="How often alerts look, where no run took place.")
    ] = "week",
    refit: Annotated[
        Literal["month", "quarter"], typer.Option(help="How often a model of then is trained, where none served.")
    ] = "quarter",
    curve: Annotated[bool, typer.Option(help="Try other hours of owners too.")] = True,
    write: Annotated[
        bool, typer.Option("--write", help="Write the chosen hours into [capacity] of the TOML file.")
    ] = False,
    page: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Write a page with all of it.")] = None,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Show what alerts would have done in a past time: to whom, how many right, how early, value caught and missed."""
    from monitoring.replay import capacity_text, tables
    from monitoring.replay.page import write_replay_page
    from monitoring.replay.replay import run

    if write and not curve:
        raise typer.BadParameter("it needs the curve", param_hint="--write")
    settings = load_settings(config)
    with cli.show_spinner("replay:") as progress:
        result = run(settings, since=since, until=until, every=every, refit=refit, with_curve=curve, progress=progress)
    print(*tables.format_summary(result), sep="\n")
    for rows in (tables.tabulate_kinds(result), *tables.tabulate_groups(result)):
        print()
        cli.print_table(rows)
    if result.unannounced:
        print(f"\n{len(result.unannounced):,} accounts left unannounced:")
        cli.print_table(tables.tabulate_causes(result))
        print("\nThe most valuable of them:")
        cli.print_table(tables.tabulate_unannounced(result))
    if result.curve is not None:
        print()
        cli.print_table(tables.tabulate_curve(result.curve))
        print(result.curve.describe())
    if page is not None:
        print(f"The page: {write_replay_page(result, page)}")
    if write:
        _write(result.curve.chosen.hours if result.curve else None, config, capacity_text.write_hours)
    write_json(json, result.as_dict())


def _write(hours: float | None, config: Path, change: Callable[[Path, float], list[str]]) -> None:
    if hours is None:
        print("Nothing is written: no alert could be raised, so no hours can be chosen.")
        return
    changes = change(config, hours)
    print(*(changes or [f"{config} says so already: hours = {hours:g}"]), sep="\n")


def register(app: typer.Typer) -> None:
    """Add the command to the app of `python -m monitoring`."""
    app.command()(replay)
