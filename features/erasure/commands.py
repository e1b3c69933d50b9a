"""The commands that erase and export what is kept of an account or a person."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.core.errors import GarrisonError
from features.settings import cli
from features.settings.cli import CONFIG, Config, Json
from features.settings.load import load_settings

if TYPE_CHECKING:
    from features.state.tombstones import Kind

Account = Annotated[str | None, typer.Option(metavar="ID", help="The account's id.")]
Person = Annotated[str | None, typer.Option(metavar="ID", help="A person's id in the tables, or address.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application of the folder."""
    app.command()(erase)
    app.command()(export)


def erase(
    account: Account = None,
    person: Person = None,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; it is kept.")] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Look afterwards whether the id is anywhere; without --reason only look.")
    ] = False,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Take an account or a person out of everything that is kept, for ever."""
    from features.erasure import erase as erasing

    (kind, one), settings = _choose(account, person), load_settings(config)
    if reason is None and not verify:
        raise typer.BadParameter("is needed, unless --verify only looks", param_hint="--reason")
    result = dict[str, object]()
    if reason is not None:
        with cli.show_spinner("erasing in") as progress:
            erased = erasing.erase(settings, kind, one, reason=reason, progress=progress)
        for place, count in erased.counts.items():
            print(f"{place}: {count:,}")
        print(f"Erased: {sum(erased.counts.values()):,} rows and places." if erased.counts else "Nothing was there.")
        for place in erased.out_of_reach:
            print(f"Out of reach: {place}.")
        result |= {"counts": erased.counts, "out_of_reach": erased.out_of_reach}
    found = list[str]()
    if verify:
        with cli.show_spinner("looking"):
            found = erasing.verify(settings, kind, one)
        result["found"] = found
        print("The id is nowhere." if not found else "")
    cli.write_json(json, result)
    if found:
        more = f" and {len(found) - 1:,} other places" if len(found) > 1 else ""
        raise GarrisonError(f"the id is still in {found[0]}{more}", hint="End what writes there, and erase again")


def export(
    output: Annotated[Path, typer.Option(metavar="FILE", help="The JSON file to write, readable by its user alone.")],
    account: Account = None,
    person: Person = None,
    config: Config = CONFIG,
) -> None:
    """Write everything that is kept of an account or a person as JSON."""
    from features.erasure.export import write_export

    kind, one = _choose(account, person)
    counts = write_export(load_settings(config), kind, one, output)
    for place, count in counts.items():
        print(f"{place}: {count:,}")
    print(f"{sum(counts.values()):,} rows are in {output}." if counts else f"Nothing is kept; {output} says so.")


def _choose(account: str | None, person: str | None) -> tuple[Kind, str]:
    if (account is None) == (person is None):
        raise typer.BadParameter("give one of the two", param_hint="--account or --person")
    return ("account", account) if account is not None else ("person", str(person))
