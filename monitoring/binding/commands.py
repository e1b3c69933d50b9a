"""The commands about who answers for an account: who, away, back, and tiers."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import Annotated

import typer

from features.core.errors import GarrisonError
from features.settings import cli
from features.settings.cli import CONFIG, Config, Json, write_json
from features.settings.load import load_settings

AccountId = Annotated[str, typer.Argument(help="The account's id.")]
Address = Annotated[str, typer.Argument(help="The person's e-mail address.")]
Until = Annotated[
    datetime | None, typer.Option(parser=cli.parse_date, metavar="DATE", help="Until this day, not including it.")
]

tiers_app = typer.Typer(help="List the tiers A to E, explain one, and set one by hand.", invoke_without_command=True)


def who(account: AccountId, config: Config = CONFIG, json: Json = None) -> None:
    """Say who answers for an account: owner, team by cause, sponsor by tier, and why each."""
    from features.sources.history import History
    from features.state import database
    from monitoring.binding import account_records, who_report

    settings = load_settings(config)
    with closing(database.open(settings)) as state, History.open(settings) as history:
        records = account_records.read_records(history, [account])
        if account not in records:
            raise GarrisonError(f"there is no account {account}", hint="Name it as the accounts table does")
        answer = who_report.find_who(settings, state, records, account, datetime.now(UTC))
    print(*answer.lines(), sep="\n")
    cli.print_table(answer.tabulate())
    write_json(json, answer.as_dict())


def assign(
    account: AccountId,
    to: Annotated[
        str | None, typer.Option("--to", metavar="ADDRESS", help="The person who owns it from now on.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; it is kept with your name.")] = "",
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="Back to the owner that the accounts table names.")
    ] = False,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Assign an account to an owner, whatever the accounts table names; letters and pages follow from then on."""
    from features.core.user import name_user
    from features.sources.history import History
    from features.state import database
    from monitoring.binding import account_records, assignments

    if withdraw == (to is not None):
        raise typer.BadParameter("say either --to ADDRESS or --withdraw", param_hint="--to")
    settings = load_settings(config)
    with closing(database.open(settings)) as state, History.open(settings) as history:
        if account not in account_records.read_records(history, [account]):
            raise GarrisonError(f"there is no account {account}", hint="Name it as the accounts table does")
        with state.writing() as connection:
            owner = assignments.assign_owner(connection, account, owner=to, by=name_user(), reason=reason)
    print(f"{account} is owned by {owner}." if owner else f"{account} is owned by whom the accounts table names.")
    write_json(json, {"account": account, "owner": owner})


def away(
    address: Annotated[str | None, typer.Argument(help="The person's e-mail address; without it: who is away.")] = None,
    until: Until = None,
    gone: Annotated[bool, typer.Option("--gone", help="The person has left for good.")] = False,
    deputy: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Who stands in.")] = None,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Note that a person is away or gone, so that others get the messages; without an address, list who is."""
    from features.state import database
    from monitoring.binding import absences

    with closing(database.open(load_settings(config))) as state:
        if address is not None:
            if gone == (until is not None):
                raise typer.BadParameter("say either --until DATE or --gone", param_hint="--until")
            absences.note_absence(state, address, until=until, deputy=deputy)
        noted = absences.read_absences(state, datetime.now(UTC))
    for absence in noted.values():
        print(f"{absence.describe()}" + (f"; {absence.deputy} stands in" if absence.deputy else ""))
    if not noted:
        print("Nobody is noted as away.")
    write_json(json, {"away": [vars(absence) for absence in noted.values()]})


def back(address: Address, config: Config = CONFIG) -> None:
    """Note that a person is back."""
    from features.state import database
    from monitoring.binding import absences

    with closing(database.open(load_settings(config))) as state:
        absences.end_absence(state, address)
    print(f"{address} gets messages again.")


@tiers_app.callback()
def tiers(context: typer.Context, config: Config = CONFIG, json: Json = None) -> None:
    """List how many accounts each tier has, who moved in the newest run, and what people set."""
    if context.invoked_subcommand:
        return
    from features.state import database
    from monitoring.binding import tier_report

    settings = load_settings(config)
    with closing(database.open(settings)) as state:
        report = tier_report.report_tiers(settings, state)
    print(*report.lines(), sep="\n")
    if len(report.moves):
        cli.print_table(report.tabulate_moves())
    write_json(json, report.as_dict())


@tiers_app.command()
def show(account: AccountId, config: Config = CONFIG, json: Json = None) -> None:
    """Explain one account's tier, and when it changed."""
    from features.state import database
    from monitoring.binding import tier_report

    settings = load_settings(config)
    with closing(database.open(settings)) as state:
        why = tier_report.explain_account(settings, state, account)
    changes = tier_report.read_course(settings, account)
    print(why)
    for since, tier in changes:
        print(f"  {since:%Y-%m-%d} {tier}")
    write_json(json, {"why": why, "course": [[since.isoformat(), tier] for since, tier in changes]})


@tiers_app.command(name="set")
def set_tier(
    account: AccountId,
    tier: Annotated[str, typer.Argument(help="A to E.")],
    reason: Annotated[str, typer.Option(help="Why; it stands in the account's letters.")],
    until: Until = None,
    config: Config = CONFIG,
) -> None:
    """Set an account's tier by hand, from the next run on."""
    from features.state import database
    from serving.tiers import tier_store

    with closing(database.open(load_settings(config))) as state:
        override = tier_store.set_override(state, account, tier.upper(), reason=reason, until=until)
    print(f"{account} is {override.describe()}; it counts from the next run on.")


@tiers_app.command()
def clear(account: AccountId, config: Config = CONFIG) -> None:
    """Withdraw a tier set by hand."""
    from features.state import database
    from serving.tiers import tier_store

    with closing(database.open(load_settings(config))) as state:
        tier_store.clear_override(state, account)
    print(f"{account} has its tier by the cuts again, from the next run on.")


@tiers_app.command()
def recut(
    quarter: Annotated[str, typer.Argument(help="Such as 2026-Q1.")],
    config: Config = CONFIG,
) -> None:
    """Forget a quarter's cuts, so that its next run cuts anew: say they were those of harmed data."""
    from features.state import database
    from serving.tiers import tier_store

    with closing(database.open(load_settings(config))) as state:
        tier_store.forget_cuts(state, quarter)
    print(f"The cuts of {quarter} are forgotten: the next run freezes them anew.")


def register(app: typer.Typer) -> None:
    """Add these commands to the app of `python -m monitoring`."""
    for command in (who, assign, away, back):
        app.command()(command)
    app.add_typer(tiers_app, name="tiers")
