"""python -m monitoring: scores to drift verdicts, alerts and reports."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from features.core.errors import GarrisonError
from features.settings import Settings, cli
from features.settings.cli import CONFIG, AsOf, Config, Json, write_json
from features.settings.load import load_settings
from monitoring.alerts import commands as episodes
from monitoring.binding import commands as binding
from monitoring.console import commands as console
from monitoring.console.accounts import account_commands as account_lists
from monitoring.cost_to_serve import commands as costs
from monitoring.demo import commands as demos
from monitoring.experiments import commands as experiments
from monitoring.journey import commands as journey
from monitoring.lifetime import commands as lifetime
from monitoring.problems import commands as problems
from monitoring.replay import commands as replay
from monitoring.reports import outcome_commands as outcomes
from monitoring.reports import owner_commands as owners

app = cli.create_app("Scores to drift verdicts, alerts at the account's owner, and reports.")


@app.command()
def alert(
    as_of: AsOf = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")] = False,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Judge the stored scores; unless they are held, open, continue and close episodes, with messages in the outbox."""
    from training.models.lightgbm_import import import_lightgbm

    import_lightgbm()
    from features.sources.history import History
    from features.state import database
    from monitoring import cli_output
    from monitoring.alerts import limits, queries
    from monitoring.alerts.run_alerts import run_alerts
    from monitoring.gate import check
    from monitoring.notifications import held_run
    from training.registry import promotion_log

    settings = load_settings(config)
    champions = promotion_log.load_champions(settings)
    limits.find_thresholds(champions, settings)
    with closing(database.open(settings)) as state, History.open(settings) as history:
        scored, until = queries.find_scored_as_of(state, as_of, settings.alert_horizon), as_of or datetime.now(UTC)
        judged = check.check_gate(
            settings, history, state, models=champions, scored=scored, until=until, dry_run=dry_run
        )
        print(*judged.lines(), sep="\n")
        if not judged.is_accepted:
            if not (dry_run or judged.is_discarded):
                print(held_run.write_held_message(settings, state, judged.verdict))
            write_json(json, {"verdict": judged.as_dict(), "dry_run": dry_run})
            hint = "Score again" if judged.is_discarded else judged.verdict.advice
            raise GarrisonError("no alerts may go out now", found=judged.obstacle, hint=hint)
        run = run_alerts(settings, state, history, champions, as_of=scored, note=judged.note, dry_run=dry_run)
    print(*cli_output.format_alerts(run, dry_run=dry_run), sep="\n")
    if run.opened:
        cli.print_table(cli_output.tabulate_alerts(run, currency=settings.company.currency))
    write_json(json, cli_output.build_alerts_json(run, dry_run=dry_run) | {"verdict": judged.as_dict()})


def _keep_for_console(settings: Settings, name: str, figures: dict[str, Any]) -> None:
    """Keep the figures of a command that reads for long: the console shows those of the last time."""
    from monitoring.reports import stored_reports

    stored_reports.write_report(stored_reports.locate_reports(settings) / f"{name}.json", figures)


RunName = Annotated[str, typer.Argument(help="The run's id, the beginning of it, or latest.")]
Why = Annotated[str, typer.Option("--reason", help="What was found; it is logged with your name.")]


@app.command()
def release(run: RunName, reason: Why, config: Config = CONFIG, json: Json = None) -> None:
    """Let alerts and deliveries go out on a held run, for the reasons that it is held for now."""
    _decide(run, "released", reason, config, json)


@app.command()
def discard(run: RunName, reason: Why, config: Config = CONFIG, json: Json = None) -> None:
    """Let no alerts go out on a run, and compare no later run with it."""
    _decide(run, "discarded", reason, config, json)


def _decide(run: str, choice: Literal["released", "discarded"], reason: str, config: Path, json: Path | None) -> None:
    from features.state import database
    from serving.gate import verdict_store

    with closing(database.open(load_settings(config))) as state:
        verdict = verdict_store.find_run(state, run)
        decision = verdict_store.write_decision(state, verdict, choice, reason=reason)
        judged = verdict_store.look_up_decision(state, verdict)
    print(f"Run {verdict.name} as of {verdict.as_of:%Y-%m-%d} is {decision}")
    write_json(json, judged.as_dict())


@app.command()
def verdicts(
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 20,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """List the judged runs, newest first: verdict, reasons, and what people decided."""
    from features.state import database
    from monitoring import cli_output
    from serving.gate import verdict_store

    with closing(database.open(load_settings(config))) as state:
        runs = verdict_store.read_history(state, limit=limit)
    if runs:
        cli.print_table(cli_output.tabulate_verdicts(runs))
    else:
        print("No run has been judged yet: `python -m serving score` judges each.")
    write_json(json, {"runs": [judged.as_dict() for judged in runs]})


@app.command()
def deliver(
    resend: Annotated[
        str | None, typer.Option(metavar="ID", help="Send again this message that needs attention or is withheld.")
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="ADDRESS", help="With --resend: send it to this address.")] = None,
    arrived: Annotated[
        str | None, typer.Option(metavar="ID", help="Mark this message that may have arrived as one that did.")
    ] = None,
    bounce: Annotated[
        Path | None, typer.Option(help="Read this bounce (.eml), or this folder of them, before sending.")
    ] = None,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Send what is due in the outbox, each message at least once; what nobody answered in time goes up first."""
    from features.core.timestamps import to_micros
    from features.state import database
    from monitoring import cli_output
    from monitoring.alerts import escalation
    from monitoring.notifications import bounces, dead_letters, outbox

    if to and not resend:
        raise typer.BadParameter("it goes with --resend ID", param_hint="--to")
    settings = load_settings(config)
    with closing(database.open(settings)) as state:
        if bounce:
            print(*bounces.record_bounces(settings, state, bounce, now=to_micros(datetime.now(UTC))), sep="\n")
        if resend:
            dead_letters.resend(state, resend, to=to)
        if arrived:
            dead_letters.mark_arrived(state, arrived)
        for line in escalation.escalate_overdue(settings, state, datetime.now(UTC)).lines():
            print(line)
        delivery = outbox.deliver(settings, state)
    print(*cli_output.format_delivery(delivery), sep="\n")
    write_json(json, delivery.as_dict())


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
    """Compare the newest snapshot with the training rows: ok, watch or hold, and a page. Exit status 1 for hold."""
    from training.models.lightgbm_import import import_lightgbm

    import_lightgbm()
    from monitoring.drift import drift_report
    from monitoring.reports import overview

    with cli.show_spinner("comparing") as say:
        say("the newest snapshot with the training snapshots")
        settings = load_settings(config)
        result = drift_report.run(settings, as_of=as_of)
        page = overview.write_overview(settings)
    print(*result.lines(), sep="\n")
    print(f"all verdicts: {page}")
    write_json(json, result.as_dict())
    if result.state == "hold":
        raise typer.Exit(1)


@app.command()
def overview(config: Config = CONFIG, json: Json = None) -> None:
    """Write the page with the course of the verdicts, and links to the drift pages; prints where it is."""
    from monitoring.reports import overview as page

    file = page.write_overview(load_settings(config))
    print(f"The page: {file}")
    write_json(json, {"page": str(file)})


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


@app.command(name="post-mortem")
def post_mortem(
    month: Annotated[
        datetime | None,
        typer.Option(parser=cli.parse_month, metavar="YYYY-MM", help="By default the last month that is known."),
    ] = None,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Explain every account that left in a month without its owner being warned: what was known, and the cause."""
    from monitoring.performance import post_mortem as explanations

    settings = load_settings(config)
    with cli.show_spinner("reading") as say:
        say("who left, and what was known")
        result = explanations.run(settings, month=month)
    print(*result.lines(), sep="\n")
    if result.unannounced:
        cli.print_table(result.tabulate())
    _keep_for_console(settings, "missed", {**result.as_dict(), "unannounced": len(result.unannounced)})
    write_json(json, result.as_dict())


@app.command()
def stability(
    as_of: AsOf = None,
    runs: Annotated[int, typer.Option(min=2, help="The newest runs to look at.")] = 12,
    reseed: Annotated[
        int | None, typer.Option(min=2, metavar="MODELS", help="Also train so many models that differ by their seed.")
    ] = None,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Measure from run to run how many accounts flip in and out of risk, and how much of the top list stays."""
    from monitoring.performance import reseeding
    from monitoring.performance import stability as measures

    settings, reseeded = load_settings(config), None
    with cli.show_spinner("reading") as say:
        if reseed:
            reseeded = reseeding.compare_seeds(settings, reseeding.fit_other_seeds(settings, reseed, progress=say))
        say("the scores of each run")
        result = measures.run(settings, as_of=as_of, runs=runs, reseeded=reseeded)
    print(*result.lines(), sep="\n")
    _keep_for_console(settings, "stability", result.as_dict())
    write_json(json, result.as_dict())


@app.command(name="retrain-check")
def retrain_check(
    act: Annotated[
        bool, typer.Option("--act", help="If anything speaks for it, train a challenger and compare; never promote.")
    ] = False,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Propose to train again, with the reasons: drift, performance, calibration, new labels."""
    from features.state import database
    from monitoring.performance import challenger, proposals, retraining

    settings = load_settings(config)
    with cli.show_spinner("reading") as say:
        say("drift, performance and labels")
        proposal = retraining.run(settings)
    with closing(database.open(settings)) as state:
        proposed = [str(one) for one in proposals.read_proposals(state)]
    print(*proposal.lines(), *(f"Proposed on {text}" for text in proposed), sep="\n", flush=True)
    trained = challenger.train_challenger(settings) if act and proposal.is_proposed else None
    if trained:
        print(*trained.lines(), sep="\n")
        _keep_for_console(settings, "challenger", trained.as_dict())
    elif act:
        print("Nothing speaks for it, so no challenger was trained. To train one: python -m training fit")
    write_json(
        json, proposal.as_dict() | {"people_proposed": proposed, "challenger": trained.as_dict() if trained else None}
    )


@app.command()
def report(
    since: Annotated[
        datetime | None, typer.Option(parser=cli.parse_date, metavar="DATE", help="Start of the period.")
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(parser=cli.parse_date, metavar="DATE", help="End of the period; by default the newest scores."),
    ] = None,
    period: Annotated[
        str | None,
        typer.Option(
            metavar="PERIOD", help="In place of the dates: 2026-04, or 2026-Q1 or 2026 of the company's fiscal year."
        ),
    ] = None,
    send: Annotated[
        bool, typer.Option("--send", help="With --period: to the readers that the settings name, each once.")
    ] = False,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Write a manager's report: who rose, fell, came and left by tier, NRR and GRR, cohorts, upsell, promises."""
    from features.state import database
    from monitoring.reports import manager, report_letter

    if send and not period:
        raise typer.BadParameter("it goes with --period", param_hint="--send")
    settings = load_settings(config)
    since, until = cli.choose_period(since, until, period, starts=settings.company.fiscal_year_starts)
    result, page = manager.run(settings, since=since, until=until, period=period or "", is_whole=True)
    print(*result.lines(settings.company.currency), sep="\n")
    print(f"The page: {page}")
    if send:
        with closing(database.open(settings)) as state:
            print(report_letter.send_report(settings, state, str(period)).describe())
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

    from training.models.lightgbm_import import import_lightgbm

    import_lightgbm()
    from monitoring.night.night import run_night

    with cli.show_spinner("night:") as progress:
        result = run_night(load_settings(config), as_of=as_of, say=partial(print, flush=True), progress=progress)
    write_json(json, result.as_dict())
    result.raise_for_failures()


@app.command()
def retain(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Remove what is older than [retention] says, as each night does."""
    from features.state import database
    from monitoring.night.retention import apply_retention
    from serving.scoring import score_table

    settings = load_settings(config)
    newest = score_table.find_newest(settings)
    as_of = score_table.parse_instant(newest) if newest else datetime.now(UTC)
    with database.open(settings) as store:
        removed = apply_retention(settings, store, as_of, dry_run=dry_run)
    print(f"{'Would remove' if dry_run else 'Removed'}: {removed}.")
    write_json(json, {"dry_run": dry_run, "bytes": removed.bytes, **removed.counts})


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="To write, such as backup.tar.gz; outside var/ and mlruns/.")],
    config: Config = CONFIG,
) -> None:
    """Back up state, results, letters and models into one file, while the service and nights go on."""
    from monitoring.backup.archive import write_archive

    made = write_archive(load_settings(config), file)
    print(f"{made.files:,} files, {made.bytes / 1e6:,.1f} MB, are in {made.file}. Keep it as private as var/.")
    if not made.has_state:
        print("The state database lies on a server and is not in it: back it up there, with pg_dump.")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="That `backup` wrote.")],
    replace: Annotated[bool, typer.Option("--replace", help="Put what is there aside first.")] = False,
    config: Config = CONFIG,
) -> None:
    """Restore a backup; stop the service and the console before."""
    from features.erasure.restored import erase_again
    from features.state import database
    from monitoring.backup.archive import restore_archive

    settings = load_settings(config)
    restored = restore_archive(settings, file, replace=replace)
    for place in restored.aside:
        print(f"What was there is now {place}: remove it once you are sure.")
    if restored.has_state:
        database.open(settings).close()  # brings one of an earlier release to this one
    back = erase_again(settings, restored.aside)
    if back:
        print(f"{back:,} accounts or people who were erased had come back with it: they are erased again.")
    print(f"Restored {restored.files:,} files as of {restored.made_at:%Y-%m-%d %H:%M} UTC.")


@app.command()
def demo(
    name: Annotated[str, typer.Argument(help="tidewater or completejourney.")] = "tidewater",
    accounts: Annotated[
        int | None, typer.Option(min=300, help="Accounts of a company that is made up, for a quicker demo.")
    ] = None,
) -> None:
    """Run the whole main job on a sample company, from nothing."""
    from monitoring.demo import run

    run.run(name, accounts=accounts)


episodes.register(app)
binding.register(app)
console.register(app)
account_lists.register(app)
experiments.register(app)
replay.register(app)
demos.register(app)
outcomes.register(app)
owners.register(app)
lifetime.register(app)
journey.register(app)
problems.register(app)
costs.register(app)

if __name__ == "__main__":
    cli.run(app)
