"""python -m monitoring: scores to drift verdicts, alerts and reports."""

from __future__ import annotations

from contextlib import closing
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
            gate = check.check_gate(settings, history, model=champions[queries.TARGET], scored=scored, as_of=as_of)
            if gate.state == "closed":
                hint = "Bring the data up to date and score again"
                if as_of is None:
                    hint += (
                        f", or give --as-of {snapshots.find_latest_as_of(history):%Y-%m-%d} to look from the data's end"
                    )
                raise GarrisonError("no alerts may go out now", found="; ".join(gate.reasons), hint=hint)
            run = lifecycle.run(
                settings,
                state,
                limits=limits,
                contacts=lambda accounts: routing.read_contacts(history, accounts),
                as_of=scored,
                dry_run=dry_run,
            )
    print(*cli_output.format_alerts(run, dry_run=dry_run), sep="\n")
    if run.opened:
        cli.print_table(cli_output.tabulate_alerts(run, currency=settings.company.currency))
    write_json(json, cli_output.build_alerts_json(run, dry_run=dry_run))


@app.command()
def deliver(
    resend: Annotated[
        str | None, typer.Option(metavar="ID", help="Send again this message that needs attention or is withheld.")
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="ADDRESS", help="With --resend: send it to this address.")] = None,
    arrived: Annotated[str | None, typer.Option(metavar="ID", help="Mark this uncertain message as arrived.")] = None,
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
            outbox.mark_arrived(state, arrived)
        delivery = outbox.deliver(settings, state)
    print(*cli_output.format_delivery(delivery), sep="\n")
    write_json(json, delivery.as_dict())


@app.command()
def episodes(
    closed: Annotated[bool, typer.Option("--closed", help="List closed ones too.")] = False,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """List the open episodes, newest first."""
    from features.sources.history import History
    from features.state import database
    from monitoring import cli_output
    from monitoring.alerts import routing

    settings = load_settings(config)
    with closing(database.open(settings)) as state:
        rows = cli_output.read_episodes(state, closed=closed)
    print(f"{len(rows):,} episodes{'' if closed else ' are open'}")
    if rows:
        with History.open(settings) as history:
            contacts = routing.read_contacts(history, {row["account_id"] for row in rows})
        cli.print_table(cli_output.tabulate_episodes(rows, contacts))
    write_json(json, {"episodes": rows})


@app.command()
def mailbox(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the local machine.")],
    folder: Annotated[Path, typer.Option(help="Folder for the messages, one .eml file each.")],
    seconds: Annotated[float | None, typer.Option("--for", min=0, help="Stop after so many seconds.")] = None,
) -> None:
    """Run a local SMTP server that saves every message as a file, to try alerts out."""
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
    """Compare the performance that the scores promise with what came true, by cutoff and group; writes a page."""
    from monitoring.performance import evaluation, page, tables

    settings = load_settings(config)
    with cli.show_spinner("reading") as say:
        say("scores and labels")
        result = evaluation.run(settings)
    for table in tables.iterate_tables(result):
        cli.print_table(table)
    print(*tables.format_summary(result), sep="\n")
    print(f"The page: {page.write_performance_page(settings, result)}")
    write_json(json, result.as_dict())


@app.command()
def report(
    since: Annotated[datetime, typer.Option(parser=cli.parse_date, metavar="DATE", help="Start of the period.")],
    until: Annotated[
        datetime | None,
        typer.Option(parser=cli.parse_date, metavar="DATE", help="End of the period; by default the newest scores."),
    ] = None,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Write a manager's report: accounts whose risk rose or fell, new and lost accounts."""
    from monitoring.reports import manager

    settings = load_settings(config)
    result, page = manager.run(settings, since=since, until=until)
    print(*result.lines(settings.company.currency), sep="\n")
    print(f"The page: {page}")
    write_json(json, result.as_dict())


@app.command()
def night(
    as_of: Annotated[
        datetime | None,
        typer.Option(
            "--as-of",
            parser=cli.parse_date,
            metavar="DATE",
            help="Score this instant; data need only be up to date by then. Default: last midnight UTC, data to now.",
        ),
    ] = None,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Run the whole night: check, build, score, drift, gate, alert, deliver, report. Run it again to finish it."""
    from functools import partial

    from monitoring.night.night import run_night

    with cli.show_spinner("night:") as progress:
        result = run_night(load_settings(config), as_of=as_of, say=partial(print, flush=True), progress=progress)
    write_json(json, result.as_dict())
    result.raise_for_failures()


@app.command()
def demo(name: Annotated[str, typer.Argument(help="tidewater or completejourney.")] = "tidewater") -> None:
    """Run the whole main job on a sample company, from nothing."""
    from monitoring.demo import run

    run.run(name)


if __name__ == "__main__":
    cli.run(app)
