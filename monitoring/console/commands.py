"""The commands of the web console: serve it, print a link that signs in, print who did what."""

from __future__ import annotations

import ipaddress
from contextlib import closing
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from features.core.addresses import parse_address
from features.core.errors import GarrisonError
from features.settings import Settings, cli
from features.settings.cli import CONFIG, Config, Json, write_json
from features.settings.load import load_settings


def console(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all of the machine's.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 3001,
    link: Annotated[
        str | None,
        typer.Option(
            "--link", metavar="ADDRESS", help="Print a link that signs this person in once, and serve nothing."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=16, help="Processes that share the port. Default: the settings'.")
    ] = None,
    config: Config = CONFIG,
) -> None:
    """Serve the web console, and the pages behind the links of letters."""
    from monitoring.console import server

    settings = load_settings(config)
    origin = find_origin(settings, host, port)
    if link:
        context = server.open_context(settings, origin)
        with closing(context.store):
            print(create_link(context, link))
        return
    options = choose_server_options(settings, host)
    print(f"Pages for {settings.company.name} on {origin} (health: /healthz)", flush=True)
    if settings.console.mail_links and not (settings.alerts.email or settings.alerts.folder):
        print("No mail leaves this machine: [alerts.email] is not set, so nobody gets a link by asking for one.")
    print("To sign in without mail: python -m monitoring console --link ADDRESS", flush=True)
    server.serve(config, origin, host, port, workers or settings.console.workers, **options)


def create_link(context: Any, address: str) -> str:
    """Create a link that signs a person in once, for an administrator at the machine.

    Raises:
        GarrisonError: It is no address, or nobody of that address has a role or accounts.
    """
    from monitoring.console.sign_in import mail_links
    from monitoring.console.sign_in.mail_sign_in import is_known

    plain = parse_address(address)
    if plain is None:
        raise GarrisonError("--link needs one e-mail address", found=repr(address), hint="Write name@example.com")
    if not is_known(context, plain):
        hint = "Name it in [console.roles], or in the accounts' owner column"
        raise GarrisonError(f"{plain} has no role, and no account is theirs", hint=hint)
    minutes = context.settings.console.link_minutes
    token = mail_links.create_link(context.store, plain, "/", minutes=minutes, limited=False)
    return f"{context.origin}{mail_links.PATH}{token}"


def find_origin(settings: Settings, host: str, port: int) -> str:
    """Return where people reach the console: by its settings, by those of letters' links, or where it listens."""
    links = settings.alerts.links
    if settings.console.url is None and links and links.url.startswith("https://"):
        return "https://" + urlsplit(links.url).netloc
    scheme = "https" if settings.console.certificate else "http"
    shown = f"[{host}]" if ":" in host else host
    return settings.console.url or f"{scheme}://{shown}:{port}"


def choose_server_options(settings: Settings, host: str) -> dict[str, Any]:
    """Choose the server's options for TLS and proxies.

    Raises:
        GarrisonError: It would listen for other machines without TLS and without a proxy that speaks it, or its
            settings don't say under which address it is reached there.
    """
    console = settings.console
    tls = {
        "ssl_certfile": console.certificate and str(settings.folder / console.certificate),
        "ssl_keyfile": console.key and str(settings.folder / console.key),
    }
    proxies = {"proxy_headers": bool(console.proxies), "forwarded_allow_ips": list(console.proxies)}
    if _is_loopback(host):
        return {**tls, **proxies}
    if not (console.certificate or console.proxies):
        raise GarrisonError(
            "the console does not listen for other machines without TLS: sessions could be read on the way",
            found=f"--host {host}",
            hint="Set [console] certificate and key, or proxies and url where a proxy in front speaks TLS",
        )
    if not (console.url or "").startswith("https://"):
        raise GarrisonError(
            "the console needs to know the address that people reach it at",
            found=f"console.url is {console.url or 'not set'}",
            hint='Set [console] url = "https://garrison.example.com"',
        )
    return {**tls, **proxies}


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def audit(
    by: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Of this person alone.")] = None,
    row: Annotated[str | None, typer.Option(metavar="ID", help="On this account, episode or run alone.")] = None,
    since: Annotated[
        datetime | None, typer.Option(parser=cli.parse_date, metavar="DATE", help="From here on: ISO date, UTC.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 50,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """List who did what to which row of the console, newest first."""
    from features.state import database
    from monitoring.console import audit as acts

    with closing(database.open(load_settings(config))) as state:
        found = acts.read_acts(state, by=by, row=row, since=since, limit=limit)
    if found:
        shown = cli.table("when (UTC)", "who", "what", "on", "details")
        for cells in acts.format_acts(found):
            shown.add_row(*cells)
        cli.print_table(shown)
    else:
        print("Nobody has done anything on the console's pages yet.")
    write_json(json, {"acts": [act.as_dict() for act in found]})


def register(app: typer.Typer) -> None:
    """Add the commands to the app of `python -m monitoring`."""
    app.command()(console)
    app.command()(audit)
