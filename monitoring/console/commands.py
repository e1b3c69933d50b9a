"""The command that serves the web pages."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from features.settings.cli import CONFIG, Config
from features.settings.load import load_settings
from monitoring.console import mail_links

_GRACE = 10  # seconds that requests under way have when the process is told to end


def console(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all of the machine's.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 3001,
    link: Annotated[
        str | None, typer.Option("--link", metavar="ADDRESS", help="Print a link that signs this person in once.")
    ] = None,
    config: Config = CONFIG,
) -> None:
    """Serve the web console, and the pages behind the links of letters."""
    import uvicorn

    from features.state import database
    from monitoring.console.app import create_app
    from monitoring.console.context import ConsoleContext
    from monitoring.letters.links import open_signer

    settings = load_settings(config)
    origin = settings.console.url or f"http://{host}:{port}"
    with closing(database.open(settings)) as state:
        try:
            from monitoring.console.account_index import AccountIndex  # noqa: PLC0415

            accounts = AccountIndex.open(settings, state)
        except ImportError:
            accounts = None
        context = ConsoleContext(settings, state, open_signer(settings.alerts.links), accounts, origin)
        if link:
            token = mail_links.create_link(state, link, "/", minutes=settings.console.link_minutes, limited=False)
            print(f"{origin}{mail_links.PATH}{token}")
            return
        print(f"Pages for {settings.company.name} on http://{host}:{port} (health: /healthz)", flush=True)
        # Addresses of pages are signed links: they stand in no log.
        uvicorn.run(
            create_app(context),
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
