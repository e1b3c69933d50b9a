"""The commands about experiments: plan, status, stop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.core.user import name_user
from features.settings import cli
from features.settings.cli import CONFIG, Config, Json, table, write_json
from features.settings.load import load_settings

if TYPE_CHECKING:
    from features.state.database import Store
    from monitoring.experiments.experiment_status import ExperimentStatus

app = typer.Typer(help="Learn by lot whether alerts save accounts: plan, look as often as you like, stop by a rule.")

_PLANNED = (3, 6, 12, 24)
Name = Annotated[str | None, typer.Option("--name", help="Of the experiment. Default: the one of the settings.")]


@app.command()
def status(
    name: Name = None,
    page: Annotated[Path | None, typer.Option("--page", metavar="FILE", help="Write it as a page, too.")] = None,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Say what the lots have shown so far, with bounds that hold at every look."""
    from monitoring.experiments.page import write_experiment_page

    with _look(config, name) as (found, _):
        print(*found.lines(), sep="\n")
        if page is not None:
            print(f"\nPage: {write_experiment_page(page, found)}")
        write_json(json, found.as_dict())


@app.command()
def stop(  # one for each option
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept with the experiment.")],
    early: Annotated[bool, typer.Option("--early", help="Stop it although no rule says so yet.")] = False,
    by: Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who. Default: your name here.")] = None,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Stop the experiment for good: no lot is drawn under its name any more."""
    from monitoring.experiments.stopping import stop_experiment

    with _look(config, None) as (found, state):
        rule = stop_experiment(state, found, reason=reason, by=by or name_user(), early=early)
    print(f"Experiment {found.name} is stopped ({rule}). What it has shown stays valid; another name begins another.")
    write_json(json, {"name": found.name, "rule": rule, "reason": reason})


@app.command()
def plan(
    units: Annotated[int, typer.Option(min=2, help="Families that lots decide on in a month, both arms.")],
    retention: Annotated[float, typer.Option(min=0.01, max=0.99, help="Share kept without alerts.")] = 0.7,
    share: Annotated[
        float, typer.Option(min=0.01, max=0.99, help="Share alerted on: 0.5 at the line, 0.95 with a holdout of 0.05.")
    ] = 0.5,
    json: Json = None,
) -> None:
    """Say after how many months an effect would show, by its size."""
    from monitoring.experiments.plan import MOST_MONTHS, compute_power

    months = [f"{month} months" if month == _PLANNED[0] else f"{month}" for month in _PLANNED]
    rows = table("effect on retention", *months, "8 in 10 see it by", right=months)
    answers = []
    for effect in (0.02, 0.05, 0.1, 0.2):
        if retention + effect >= 1:
            continue
        power = compute_power(units, retention=retention, effect=effect, probability=share, months=MOST_MONTHS)
        month = power.find_month()
        shown = [f"{power.power[m - 1]:.0%}" for m in _PLANNED]
        rows.add_row(f"{100 * effect:+.0f} points", *shown, f"month {month}" if month else "more than five years")
        answers.append({"effect": effect, "power": list(power.power), "month": month})
    cli.print_table(rows)
    print("The chance that the bounds exclude no effect by then; they may be looked at as often as anybody likes.")
    print("Outcomes come later than draws by the days of the horizon: add these.")
    write_json(json, {"units": units, "retention": retention, "share": share, "effects": answers})


def register(commands: typer.Typer) -> None:
    """Add these commands to the app of `python -m monitoring`."""
    commands.add_typer(app, name="experiment")


@contextmanager
def _look(config: Path, name: str | None) -> Iterator[tuple[ExperimentStatus, Store]]:
    """Read the status of an experiment, and keep its state database open."""
    from features.sources.history import History
    from features.state import database
    from monitoring.experiments.status import read_status

    settings = load_settings(config)
    with closing(database.open(settings)) as state:
        with cli.show_spinner("reading") as say, History.open(settings) as history:
            say("draws and outcomes")
            found = read_status(settings, state, history, name=name)
        yield found, state
