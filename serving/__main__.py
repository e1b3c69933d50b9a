"""`python -m serving`: score in batch, serve over HTTP, ask the service, and manage its keys."""

from __future__ import annotations

import json as text
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from features.core.redaction import hide_password
from features.settings import cli
from features.settings.cli import CONFIG, AsOf, Config, Json

app = cli.create_app("Models to scores: batch scoring, the HTTP service, its keys, and a client.")
key_app = cli.create_app("Keys of the HTTP service.")
app.add_typer(key_app, name="key")
_MISMATCHES_SHOWN = 20


@app.command()
def score(
    *,
    to: Annotated[
        str | None,
        typer.Option(help="FILE.csv|.parquet|.xlsx, a database URL, #TABLE behind it, salesforce or hubspot."),
    ] = None,
    as_of: AsOf = None,
    drivers: Annotated[
        Literal["above", "all", "none"], typer.Option(help="Whose scores to explain: above the base rate, or all.")
    ] = "all",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change at the destination.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Send rows that have not changed too.")] = False,
    even_if_held: Annotated[
        bool, typer.Option("--even-if-held", help="Deliver though the run is held; that is logged.")
    ] = False,
    result: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Write every row's status here.")] = None,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Score every account at one instant, judge the run, and deliver it to a destination unless it is held."""
    from features.core.errors import DeliveryError
    from features.settings.load import load_settings
    from training.models.lightgbm_import import import_lightgbm

    import_lightgbm()
    from serving.batch import run
    from serving.scoring import score_table

    if to is None and (dry_run or everything or even_if_held or result):
        raise typer.BadParameter("--dry-run, --all, --even-if-held and --result go with --to")
    with cli.show_spinner("scoring:") as progress:
        batch = run.score_accounts(
            load_settings(config),
            to,
            as_of=as_of,
            explain=score_table.Explain(drivers),
            dry_run=dry_run,
            everything=everything,
            even_if_held=even_if_held,
            result=result,
            progress=progress,
        )
    summary, delivery = batch.summary(), batch.delivery
    numbers = ("in cohort", "mean", "base rate", "above it")
    title = f"As of {batch.scores.as_of:%Y-%m-%d}, {summary['accounts']:,} accounts"
    table = cli.table("score", *numbers, title=title, right=numbers)
    for name, target in summary["targets"].items():
        rates = ("-" if target["mean"] is None else f"{target['mean']:.3f}", f"{target['base_rate']:.3f}")
        table.add_row(name, f"{target['cohort']:,}", *rates, f"{target['above']:,}")
    cli.print_table(table)
    print(f"Models: {', '.join(summary['models'].values())}. Sources seen: {', '.join(summary['sources'])}.")
    cli.write_json(json, summary | {"to": delivery and delivery.to, "delivery": delivery and delivery.summary()})
    print(*batch.judged.lines(), sep="\n")
    if delivery is not None:
        print("\n".join(delivery.lines()))
        delivery.raise_for_failures()
    elif to is not None:
        judged = batch.judged
        problem = f"nothing was delivered to {hide_password(to)}"
        raise DeliveryError(problem, found=judged.obstacle, hint=judged.verdict.advice)


@app.command(name="fields")
def show_fields(
    to: Annotated[str, typer.Option(help="salesforce, hubspot, or a database URL, #TABLE behind it.")],
    create: Annotated[bool, typer.Option("--create", help="Make those that are missing.")] = False,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Print the fields that scores need at a destination, and which are missing; or make them."""
    from features.settings.load import load_settings
    from serving.delivery import destinations

    fields = destinations.list_fields(to, load_settings(config), create=create)
    table = cli.table("field", "type", "status", title=f"Fields of {hide_password(to)}")
    for field in fields:
        table.add_row(field.name, field.type, "exists" if field.exists else "created" if create else "missing")
    cli.print_table(table)
    if create and all(field.exists for field in fields):
        print("Nothing to create: every field exists.")
    shown = [{"name": field.name, "type": field.type, "there": field.exists} for field in fields]
    cli.write_json(json, {"to": hide_password(to), "created": create, "fields": shown})


@app.command()
def serve(
    port: Annotated[int, typer.Option(min=1, max=65535)] = 3000,
    host: Annotated[str, typer.Option(help="0.0.0.0 to be reached from other machines.")] = "127.0.0.1",
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="Processes that share the port. Default: the settings'.")
    ] = None,
    config: Config = CONFIG,
) -> None:
    """Start the HTTP service; this process becomes BentoML's."""
    from serving.api import launch

    launch.serve(config, host, port, workers)


@app.command()
def bento(
    folder: Annotated[Path, typer.Argument(help="To be made; `bentoml serve FOLDER` runs it.")], config: Config = CONFIG
) -> None:
    """Pack service, settings and champions as a Bento, which runs without the checkout."""
    from serving.api.pack import pack_bento

    print(f"{pack_bento(config, folder)} is in {folder}. Serve it: bentoml serve {folder}")


@app.command()
def ask(
    accounts: Annotated[list[str], typer.Argument(help="Account ids, or - for a request as JSON on standard input.")],
    url: Annotated[str, typer.Option(help="Where the service listens.")] = "http://127.0.0.1:3000",
    key_env: Annotated[str, typer.Option(help="The environment variable that holds the key.")] = "GARRISON_KEY",
) -> None:
    """Ask the running service for scores; prints JSON."""
    from serving.client import Client

    with Client(url, os.environ.get(key_env)) as client:
        if accounts == ["-"]:
            body = text.load(sys.stdin)
            response = client.score(body["accounts"], as_of=body.get("as_of"), detail=body.get("detail", "drivers"))
        else:
            response = client.score(accounts)
    print(text.dumps([item.model_dump(mode="json") for item in response.results], indent=2, ensure_ascii=False))


@app.command()
def parity(config: Config = CONFIG, json: Json = None) -> None:
    """Recompute a sample of the scores that were served, offline; exit status 1 where one differs."""
    from features.settings.load import load_settings
    from features.state import database
    from serving.parity import check

    settings = load_settings(config)
    with database.open(settings) as store, cli.show_spinner("recomputing served scores:"):
        report = check.check_parity(settings, store)
    print(f"{report.checked:,} served scores were recomputed; {report.accounts:,} differ.")
    for reason, count in report.skipped.items():
        print(f"{count:,} could not be recomputed: {reason}.")
    if not report.checked and not report.skipped:
        print("Nothing to check: no sample of served scores is stored yet.")
    for mismatch in report.mismatches[:_MISMATCHES_SHOWN]:
        print(mismatch)
    if len(report.mismatches) > _MISMATCHES_SHOWN:
        print(f"And {len(report.mismatches) - _MISMATCHES_SHOWN:,} more: --json has them all.")
    cli.write_json(json, report.as_dict())
    if report.mismatches:
        raise typer.Exit(1)


@key_app.command(name="create")
def create_key(
    name: Annotated[str, typer.Option(help="Who or what will use it.")],
    scope: Annotated[str, typer.Option(help="Of score, read, ingest and admin, joined by commas.")] = "score,read",
    config: Config = CONFIG,
) -> None:
    """Make a key and print it, this once: only its hash is stored."""
    from features.settings.load import load_settings
    from features.state import database
    from serving.api import auth

    with database.open(load_settings(config)) as store:
        print(auth.create_key(store, name, scope))


@key_app.command(name="list")
def list_keys(config: Config = CONFIG) -> None:
    """List the keys, revoked ones among them; their secrets are nowhere."""
    from features.settings.load import load_settings
    from features.state import database
    from serving.api import auth

    with database.open(load_settings(config)) as store:
        keys = list(auth.list_keys(store))
    if not keys:
        print("There are no keys. Make one: python -m serving key create --name NAME")
        return
    table = cli.table("id", "name", "scope", "created", "revoked")
    for key in keys:
        revoked = f"{key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else ""
        table.add_row(key.key_id, key.name, key.scope, f"{key.created_at:%Y-%m-%d %H:%M}", revoked)
    cli.print_table(table)


@key_app.command(name="revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(help="As `key list` shows it.")], config: Config = CONFIG) -> None:
    """End a key; running services take note within seconds."""
    from features.settings.load import load_settings
    from features.state import database
    from serving.api import auth

    with database.open(load_settings(config)) as store:
        auth.revoke_key(store, key_id)
    print(f"{key_id} is revoked.")


if __name__ == "__main__":
    cli.run(app)
