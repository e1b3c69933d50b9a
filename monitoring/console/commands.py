"""The command that serves the web pages."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from features.core.errors import GarrisonError
from features.settings.cli import CONFIG, Config
from features.settings.load import load_settings

_GRACE = 10  # seconds that requests under way have when the process is told to end


def console(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all of the machine's.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 3001,
    config: Config = CONFIG,
) -> None:
    """Serve the pages behind the links of letters: acknowledge, snooze, saved, false alarm."""
    import uvicorn

    from features.state import database
    from monitoring.console.app import create_app
    from monitoring.letters.links import open_signer

    settings = load_settings(config)
    signer = open_signer(settings.alerts.links)
    if signer is None:
        hint = 'Set [alerts.links] url = "http://127.0.0.1:3001", and its secret in the environment'
        raise GarrisonError("there are no links in letters to serve pages for", hint=hint)
    with closing(database.open(settings)) as state:
        print(f"Pages for {settings.company.name} on http://{host}:{port} (health: /healthz)", flush=True)
        # Addresses of pages are signed links: they stand in no log.
        uvicorn.run(
            create_app(state, signer),
            host=host,
            port=port,
            access_log=False,
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=_GRACE,
            timeout_keep_alive=5,
            limit_concurrency=200,
        )


def register(app: typer.Typer) -> None:
    """Add the command to the app of `python -m monitoring`."""
    app.command()(console)
