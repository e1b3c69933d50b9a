"""`python -m serving`: score in batch, serve over HTTP, ask the service, and manage its keys."""

from __future__ import annotations

import json as text
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from features.settings import cli
from features.settings.cli import CONFIG, AsOf, Config, Json
from features.settings.load import load_settings

app = cli.create_app("Models to scores: batch scoring, the HTTP service, its keys, and a client.")
key_app = cli.create_app("Keys of the HTTP service.")
app.add_typer(key_app, name="key")
_SHOWN = 20  # differences that a command prints


@app.command()
def score(
    *,
    to: Annotated[
        str | None,
        typer.Option(help="FILE.csv|.parquet|.xlsx, a database URL, #TABLE behind it, salesforce or hubspot."),
    ] = None,
    as_of: AsOf = None,
    drivers: Annotated[
        Literal["above", "all", "none"], typer.Option(help="Whose scores to explain: those above the base rate.")
    ] = "above",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change at the destination.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Send rows that have not changed too.")] = False,
    result: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Write every row's fate here.")] = None,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Score every account at one instant, into the store and to a destination."""
    from serving.batch import run
    from serving.scoring import score_table

    if to is None and (dry_run or everything or result):
        raise typer.BadParameter("--dry-run, --all and --result go with --to")
    with cli.show_spinner("scoring:") as say:
        scored = run.score_accounts(
            load_settings(config),
            to,
            as_of=as_of,
            explain=score_table.Explain(drivers),
            dry_run=dry_run,
            everything=everything,
            result=result,
            progress=_spoken(say),
        )
    summary = scored.summary()
    shown = Table("score", "accounts", "mean", "base rate", "above it", title=f"As of {scored.results.as_of:%Y-%m-%d}")
    for name, target in summary["targets"].items():
        numbers = (f"{summary['accounts']:,}", f"{target['mean']:.3f}", f"{target['base_rate']:.3f}")
        shown.add_row(name, *numbers, f"{target['above']:,}")
    Console().print(shown)
    print(f"Models: {', '.join(summary['models'].values())}. Sources seen: {', '.join(summary['sources'])}.")
    delivered = scored.delivered
    cli.write_json(json, summary | {"to": delivered and delivered.to, "delivery": delivered and delivered.summary()})
    if delivered is not None:
        print("\n".join(delivered.lines()))
        delivered.raise_for_failures()


@app.command(name="fields")
def show_fields(
    to: Annotated[str, typer.Option(help="salesforce, hubspot, or a database URL, #TABLE behind it.")],
    create: Annotated[bool, typer.Option("--create", help="Make those that are missing.")] = False,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Print the fields that scores need at a destination, and which are missing; or make them."""
    from features.state import database
    from serving.delivery import destinations

    needs = destinations.list_fields(to, load_settings(config), create=create)
    table = Table("field", "type", "", title=f"Fields of {database.shown(to)}")
    for need in needs:
        table.add_row(need.name, need.type, "" if need.there else "made" if create else "missing")
    Console().print(table)
    cli.write_json(json, {"to": database.shown(to), "created": create, "fields": [vars(need) for need in needs]})


def _spoken(say: Callable[[str], None]) -> Callable[..., None]:
    def tell(step: str, done: int = 0, of: int = 0) -> None:
        say(f"{step} {done:,} of {of:,}" if of else step)

    return tell


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
def ask(
    accounts: Annotated[list[str], typer.Argument(help="Account ids, or - for a request as JSON on standard input.")],
    url: Annotated[str, typer.Option(help="Where the service listens.")] = "http://127.0.0.1:3000",
    key_env: Annotated[str, typer.Option(help="The environment variable that holds the key.")] = "GARRISON_KEY",
) -> None:
    """Ask the running service for scores; prints JSON."""
    from serving.client import Client

    with Client(url, os.environ.get(key_env)) as client:
        if accounts == ["-"]:
            asked = text.load(sys.stdin)
            found = client.score(asked["accounts"], as_of=asked.get("as_of"), detail=asked.get("detail", "drivers"))
        else:
            found = client.score(accounts)
    print(text.dumps([item.model_dump(mode="json") for item in found.results], indent=2, ensure_ascii=False))


@app.command()
def parity(config: Config = CONFIG, json: Json = None) -> None:
    """Work a sample of the scores that were served out again, offline; exit status 1 where one differs."""
    from features.state import database
    from serving.parity import check

    settings = load_settings(config)
    with database.open(settings) as opened, cli.show_spinner("working out again:"):
        found = check.check_parity(settings, opened)
    print(f"{found.checked:,} served scores were worked out again; {found.accounts:,} differ.")
    for why, count in found.skipped.items():
        print(f"{count:,} could not be: {why}.")
    for mismatch in found.mismatches[:_SHOWN]:
        print(mismatch)
    if len(found.mismatches) > _SHOWN:
        print(f"And {len(found.mismatches) - _SHOWN:,} more: --json has them all.")
    cli.write_json(json, found.as_dict())
    if found.mismatches:
        raise typer.Exit(1)


@key_app.command(name="create")
def create_key(
    name: Annotated[str, typer.Option(help="Who or what will use it.")],
    scope: Annotated[str, typer.Option(help="Of score, read, ingest and admin, joined by commas.")] = "score,read",
    config: Config = CONFIG,
) -> None:
    """Make a key and print it, this once: only its hash is stored."""
    from features.state import database
    from serving.api import auth

    with database.open(load_settings(config)) as opened:
        print(auth.create_key(opened, name, scope))


@key_app.command(name="list")
def list_keys(config: Config = CONFIG) -> None:
    """List the keys, revoked ones among them; their secrets are nowhere."""
    from features.state import database
    from serving.api import auth

    with database.open(load_settings(config)) as opened:
        table = Table("id", "name", "scope", "created", "revoked")
        for key in auth.list_keys(opened):
            revoked = f"{key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else ""
            table.add_row(key.key_id, key.name, key.scope, f"{key.created_at:%Y-%m-%d %H:%M}", revoked)
    Console().print(table)


@key_app.command(name="revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(help="As `key list` shows it.")], config: Config = CONFIG) -> None:
    """End a key; running services take note within seconds."""
    from features.state import database
    from serving.api import auth

    with database.open(load_settings(config)) as opened:
        auth.revoke_key(opened, key_id)
    print(f"{key_id} is revoked.")


if __name__ == "__main__":
    cli.run(app)
