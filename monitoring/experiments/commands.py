"""The commands about experiments: plan, status."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from features.settings import cli
from features.settings.cli import CONFIG, Config, Json, table, write_json
from features.settings.load import load_settings

app = typer.Typer(help="Learn by lot whether alerts save accounts: plan, then look as often as you like.")


@app.command()
def status(config: Config = CONFIG, json: Json = None) -> None:
    """Say what the lots have shown so far, with bounds that hold at every look."""
    from features.sources.history import History
    from features.state import database
    from monitoring.experiments.status import report_status

    settings = load_settings(config)
    with (
        cli.show_spinner("reading") as say,
        closing(database.open(settings)) as state,
        History.open(settings) as history,
    ):
        say("draws and outcomes")
        found = report_status(settings, state, history)
    if not found.drawn:
        print("No lot has been drawn yet.", end=" ")
        if settings.experiment.band:
            print("Lots are drawn where an owner has less time than accounts at risk.")
        else:
            print("Set experiment.band, such as 5, to let lots decide around the line where an owner's time ends.")
    print(*found.lines(), sep="\n")
    write_json(json, found.as_dict())


@app.command()
def plan(
    units: Annotated[int, typer.Option(min=2, help="Families that lots decide on in a month, both arms.")],
    retention: Annotated[float, typer.Option(min=0.01, max=0.99, help="Share kept without alerts.")] = 0.7,
    json: Json = None,
) -> None:
    """Say after how many months an effect would show, by its size."""
    from monitoring.experiments.plan import compute_power

    rows = table("effect on retention", "3 months", "6", "12", "24", "8 in 10 see it by", right=("3 months", "6", "12"))
    answers = []
    for effect in (0.02, 0.05, 0.1, 0.2):
        if retention + effect >= 1:
            continue
        power = compute_power(units, retention=retention, effect=effect, months=24)
        month = power.find_month()
        shown = [f"{power.power[m - 1]:.0%}" for m in (3, 6, 12, 24)]
        rows.add_row(f"{100 * effect:+.0f} points", *shown, f"month {month}" if month else "more than 24 months")
        answers.append({"effect": effect, "power": list(power.power), "month": month})
    cli.print_table(rows)
    print("The chance that the bounds exclude no effect by then; they may be looked at as often as anybody likes.")
    write_json(json, {"units": units, "retention": retention, "effects": answers})


def register(commands: typer.Typer) -> None:
    """Add these commands to the app of `python -m monitoring`."""
    commands.add_typer(app, name="experiment")
