"""python -m monitoring: scores to drift verdicts, alerts and reports."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from features.core.errors import GarrisonError
from features.settings import cli
from features.settings.cli import CONFIG, AsOf, Config, Json, write_json
from features.settings.load import load_settings

app = cli.create_app("Scores to drift verdicts, alerts at the account's owner, and reports.")


@app.command()
def alert(
    as_of: AsOf = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")] = False,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Open, continue and close episodes from the stored scores; messages go to the outbox."""
    from features.engine import snapshots
    from features.sources.history import History
    from features.state import database
    from monitoring import cli_output
    from monitoring.alerts import lifecycle, queries, routing
    from monitoring.gate import check
    from training.registry import promotion_log

    settings = load_settings(config)
    champions = promotion_log.load_champions(settings)
    limits = queries.find_thresholds(champions, settings)
    with closing(database.open(settings)) as state:
        scored = queries.find_scored_as_of(state, as_of, settings.alert_horizon)
        with History.open(settings) as history:
            gate = check.check(settings, history, model=champions[queries.TARGET], scored=scored, as_of=as_of)
            if gate.state == "closed":
                hint = "Bring the data up to date and score again"
                if as_of is None:
                    hint += f", or give --as-of {snapshots.latest(history):%Y-%m-%d} to look from the data's end"
                raise GarrisonError("no alerts may go out now", found="; ".join(gate.reasons), hint=hint)
            outcome = lifecycle.run(
                settings,
                state,
                limits=limits,
                contacts=lambda accounts: routing.read_contacts(history, accounts),
                as_of=scored,
                dry_run=dry_run,
            )
    print(*cli_output.of_alerts(outcome, dry_run=dry_run), sep="\n")
    write_json(json, cli_output.alerts_data(outcome, dry_run=dry_run))


@app.command()
def deliver(
    resend: Annotated[str | None, typer.Option(metavar="ID", help="Send this stuck or withheld message again.")] = None,
    to: Annotated[str | None, typer.Option(metavar="ADDRESS", help="With --resend: to this one instead.")] = None,
    arrived: Annotated[str | None, typer.Option(metavar="ID", help="This uncertain message did arrive.")] = None,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Send what is due in the outbox, each message once."""
    from features.state import database
    from monitoring import cli_output
    from monitoring.notifications import outbox

    if to and not resend:
        raise typer.BadParameter("it goes with --resend ID", param_hint="--to")
    settings = load_settings(config)
    with closing(database.open(settings)) as state:
        if resend:
            outbox.resend(state, resend, to=to)
        if arrived:
            outbox.arrived(state, arrived)
        delivery = outbox.deliver(settings, state)
    print(*cli_output.of_delivery(delivery), sep="\n")
    write_json(json, asdict(delivery))


@app.command()
def episodes(
    closed: Annotated[bool, typer.Option("--closed", help="The closed ones too.")] = False,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """List the open episodes, newest first."""
    from features.state import database
    from monitoring import cli_output

    with closing(database.open(load_settings(config))) as state:
        rows = cli_output.episodes(state, closed=closed)
    print(*cli_output.of_episodes(rows), sep="\n")
    write_json(json, {"episodes": rows})


@app.command()
def mailbox(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the local machine.")],
    folder: Annotated[Path, typer.Option(help="Gets one .eml file for each message.")],
    seconds: Annotated[float | None, typer.Option("--for", min=0, help="Stop after so many seconds.")] = None,
) -> None:
    """Run a local SMTP server that takes every message and saves it, to try alerts out."""
    from monitoring.demo.mailbox import serve

    serve(port, folder, seconds, say=lambda line: print(line, flush=True))


@app.command()
def drift(as_of: AsOf = None, config: Config = CONFIG, json: Json = None) -> None:
    """Compare the newest snapshot with the training snapshots: a verdict and a page."""
    from monitoring.drift import drift_report

    with cli.show_spinner("comparing") as say:
        say("the newest snapshot with the training snapshots")
        result = drift_report.run(load_settings(config), as_of=as_of)
    print(*result.lines(), sep="\n")
    write_json(json, result.as_dict())


@app.command()
def performance(config: Config = CONFIG, json: Json = None) -> None:
    """What the stored scores should be worth, and what they were worth where their labels matured."""
    from monitoring.performance import evaluation as worth

    found = worth.run(load_settings(config))
    print(*found.lines(), sep="\n")
    write_json(json, found.as_dict())


@app.command()
def report(
    since: Annotated[datetime, typer.Option(parser=cli.parse_date, metavar="DATE", help="Beginning of the period.")],
    until: Annotated[
        datetime | None,
        typer.Option(parser=cli.parse_date, metavar="DATE", help="Its end; by default the newest scores."),
    ] = None,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Write a manager's report: which accounts rose, fell, came and left."""
    from monitoring.reports import manager

    found, page = manager.run(load_settings(config), since=since, until=until)
    print(*found.lines(), sep="\n")
    print(f"The page: {page}")
    write_json(json, found.as_dict())


@app.command()
def demo(name: Annotated[str, typer.Argument(help="tidewater or completejourney.")] = "tidewater") -> None:
    """Run the whole main job on a sample company, from nothing."""
    from monitoring.demo import run as story

    story.run(name)


if __name__ == "__main__":
    cli.run(app)
