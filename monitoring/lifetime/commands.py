"""The commands about one account: print its lifetime file, and score it as if something were otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from features.settings import cli
from features.settings.cli import CONFIG, Config, Json, write_json
from features.settings.load import load_settings
from monitoring.lifetime.entry import KINDS

if TYPE_CHECKING:
    from monitoring.lifetime.account_file import AccountFile

AccountId = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account's id.")]


def account(
    account_id: AccountId,
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", metavar="KIND", help=f"Of the timeline: {', '.join(KINDS)}; give it repeatedly."),
    ] = None,
    after: Annotated[str | None, typer.Option("--after", metavar="KEY", help="The timeline from here on.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Entries of the timeline.")] = 30,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Print the lifetime file of an account; --json writes the whole of it, with all of the timeline."""
    from features.state import database
    from monitoring.lifetime import file_text
    from monitoring.lifetime.account_file import AccountFiles

    settings = load_settings(config)
    with closing(database.open(settings)) as state:
        files = AccountFiles(settings, state)
        survivor = files.tables.find_survivor(account_id)
        if survivor != account_id:
            print(f"The account {account_id} became a part of {survivor}.")
        found = files.read(survivor, kinds=kind or KINDS, after=after, limit=limit)
        print(*file_text.format_file(found), sep="\n")
        _print_people(found)
        if json is not None:
            write_json(json, files.export(survivor))


def _print_people(found: AccountFile) -> None:
    if found.people is None:
        return
    table = cli.table("person", "last seen", "days of use in 90", "uses most", right=("days of use in 90",))
    for cells in _iterate_people(found):
        table.add_row(*cells)
    print("\nPeople")
    cli.print_table(table)


def _iterate_people(found: AccountFile) -> Iterator[tuple[str, str, str, str]]:
    from features.core.safe_line import to_safe_line
    from features.core.timestamps import from_micros

    for person in found.people.people if found.people else ():
        day = f"{from_micros(person.last_seen):%Y-%m-%d}"
        yield to_safe_line(person.user_id, 40), day, str(person.days), to_safe_line(person.feature or "", 40)


def what_if(
    account_id: AccountId,
    answered: Annotated[bool, typer.Option("--answered", help="All open tickets were answered and resolved.")] = False,
    usage: Annotated[float, typer.Option("--usage", metavar="PERCENT", help="More use in the last 30 days.")] = 0,
    price: Annotated[float, typer.Option("--price", metavar="PERCENT", help="A higher price of terms in force.")] = 0,
    call: Annotated[bool, typer.Option("--call", help="Somebody called yesterday.")] = False,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Score an account as if something were otherwise; nothing is stored."""
    from features.state import database
    from monitoring.lifetime.account_file import AccountFiles
    from monitoring.lifetime.what_if import Change, score_what_if

    settings = load_settings(config)
    change = Change(answered, usage / 100, price / 100, call)
    with closing(database.open(settings)) as state:
        files = AccountFiles(settings, state)
        history = files.tables.history
        found = score_what_if(settings, history, files.champions.load(), account_id, change)
        changed = ", ".join(f"{n} {name}" for name, n in found.touched.items() if n)
        print(f"What if, as of {found.as_of:%Y-%m-%d}: {changed} changed. This is no score, and is not stored.")
        for score in found.scores:
            ends = "" if score.then_low is None else f" ({score.then_low:.1%} to {score.then_high:.1%})"
            print(f"{score.target} {score.horizon} d: {score.now:.1%} as it is, {score.then:.1%}{ends} as it would be")
        main = found.find_score("churn", settings.alert_horizon)
        for text in found.list_reasons(main, history) if main else ():
            print(f"  what would raise it: {text}")
    write_json(json, found.as_dict())


def register(app: typer.Typer) -> None:
    """Add these commands to the app of `python -m monitoring`."""
    app.command()(account)
    app.command(name="what-if")(what_if)
