"""`python -m serving`: score in batch, serve over HTTP, ask the service, and manage its keys."""

from __future__ import annotations

import json as text
import os
import sys
from collections.abc import Callable
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from features import command
from features.command import CONFIG, AsOf, Config, Json
from features.company import load

app = command.app("Models to scores: batch scoring, the HTTP service, its keys, and a client.")
key_app = command.app("Keys of the HTTP service.")
app.add_typer(key_app, name="key")


@app.command()
def score(
    to: Annotated[str | None, typer.Option(help="FILE.csv, FILE.parquet, or a database URL, #TABLE behind it.")] = None,
    as_of: AsOf = None,
    drivers: Annotated[
        Literal["above", "all", "none"], typer.Option(help="Whose scores to explain: those above the base rate.")
    ] = "above",
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Score every account at one instant, into the store and to a destination."""
    from serving import batch, store

    with command.spinner("scoring:") as say:
        scored = batch.run(load(config), to, as_of=as_of, explain=batch.Explain(drivers), progress=_spoken(say))
    summary = scored.summary()
    shown = Table("score", "accounts", "mean", "base rate", "above it", title=f"As of {scored.as_of:%Y-%m-%d}")
    for name, target in summary["targets"].items():
        numbers = (f"{summary['accounts']:,}", f"{target['mean']:.3f}", f"{target['base_rate']:.3f}")
        shown.add_row(name, *numbers, f"{target['above']:,}")
    Console().print(shown)
    print(f"Models: {', '.join(summary['models'].values())}. Sources seen: {', '.join(summary['sources'])}.")
    if to is not None:
        print(f"One row an account in {store.shown(to)}")
    command.write_json(json, summary | {"to": None if to is None else store.shown(to)})


def _spoken(say: Callable[[str], None]) -> Callable[..., None]:
    def tell(step: str, done: int = 0, of: int = 0) -> None:
        say(f"{step} {done:,} of {of:,}" if of else step)

    return tell


@app.command()
def serve(
    port: Annotated[int, typer.Option(min=1, max=65535)] = 3000,
    host: Annotated[str, typer.Option(help="0.0.0.0 to be reached from other machines.")] = "127.0.0.1",
    config: Config = CONFIG,
) -> None:
    """Start the HTTP service; this process becomes BentoML's."""
    from serving import launch

    launch.serve(config, host, port)


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
            results = client.score(asked["accounts"], as_of=asked.get("as_of"))
        else:
            results = client.score(accounts)
    print(text.dumps(results, indent=2, ensure_ascii=False))


@key_app.command(name="create")
def create_key(name: Annotated[str, typer.Option(help="Who or what will use it.")], config: Config = CONFIG) -> None:
    """Make a key and print it, this once: only its hash is stored."""
    from serving import auth, store

    with store.open(load(config)) as opened:
        print(auth.create(opened, name))


@key_app.command(name="list")
def list_keys(config: Config = CONFIG) -> None:
    """List the keys, revoked ones among them; their secrets are nowhere."""
    from serving import auth, store

    with store.open(load(config)) as opened:
        table = Table("id", "name", "scope", "created", "revoked")
        for key in auth.keys(opened):
            revoked = f"{key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else ""
            table.add_row(key.key_id, key.name, key.scope, f"{key.created_at:%Y-%m-%d %H:%M}", revoked)
    Console().print(table)


@key_app.command(name="revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(help="As `key list` shows it.")], config: Config = CONFIG) -> None:
    """End a key; running services take note within seconds."""
    from serving import auth, store

    with store.open(load(config)) as opened:
        auth.revoke(opened, key_id)
    print(f"{key_id} is revoked.")


if __name__ == "__main__":
    command.run(app)
