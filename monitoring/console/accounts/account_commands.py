"""The command that lists accounts as the portfolio does."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from features.core.safe_line import to_safe_line
from features.settings import cli
from features.settings.cli import CONFIG, Config, Json, write_json
from features.settings.load import load_settings

if TYPE_CHECKING:
    from rich.table import Table

    from monitoring.console.accounts.account_index import AccountPage

_NONE = "-"
Filter = Annotated[str | None, typer.Option(metavar="VALUE", help="Only these; none for those without.")]


def accounts(  # noqa: PLR0913, PLR0917  # one for each option
    order: Annotated[str, typer.Option(help="A column, with - in front for descending.")] = "-value_at_risk",
    show: Annotated[str, typer.Option(help="customers, all, worse, renewal, silent, act or sell.")] = "customers",
    tier: Filter = None,
    owner: Filter = None,
    region: Filter = None,
    recommendation: Filter = None,
    search: Annotated[str, typer.Option(help="A part of the name or the id.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
    after: Annotated[
        str | None, typer.Option(metavar="KEY", help="Begin after this, as a list before printed.")
    ] = None,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """List accounts by the newest scores, the most value at risk first, with sums by tier."""
    from features.state import database
    from monitoring.console.accounts.account_index import AccountIndex
    from monitoring.console.sign_in.access import EVERYTHING

    settings = load_settings(config)
    filters = {"show": show, "tier": tier, "owner": owner, "region": region, "recommendation": recommendation}
    with closing(database.open(settings)) as state:
        index = AccountIndex.open(settings, state)
        page = index.list_accounts(EVERYTHING, order=order, after=after, limit=limit, search=search, filters=filters)
        tiers = index.sum_accounts(EVERYTHING, "tier", search=search, filters=filters)
        owners = index.sum_accounts(EVERYTHING, "owner", search=search, filters=filters)
    currency = settings.company.currency
    print(f"{len(page.rows):,} of {page.total:,} accounts as of {page.as_of:%Y-%m-%d}, value at risk in {currency}")
    if page.rows:
        cli.print_table(_tabulate(page, index.about.horizon))
    for group in tiers:
        at_risk = f"{group.value_at_risk:,.0f} of {group.value:,.0f} {currency} at risk"
        print(f"tier {group.key or 'not known'}: {group.accounts:,} accounts, {at_risk}")
    if page.after:
        print(f"The next ones: --after {page.after}")
    sums = {"tiers": [asdict(group) for group in tiers], "owners": [asdict(group) for group in owners]}
    rows = [row.as_dict() for row in page.rows]
    write_json(
        json, {"as_of": page.as_of.isoformat(), "total": page.total, "after": page.after, "accounts": rows, **sums}
    )


def _tabulate(page: AccountPage, horizon: int) -> Table:
    right = (f"risk {horizon} d", "change", "value at risk")
    table = cli.table("account", "name", "tier", *right, "renewal", "owner", right=right)
    for row in page.rows:
        table.add_row(
            to_safe_line(row.account_id, 30),
            to_safe_line(row.name or "", 30),
            row.tier or _NONE,
            _NONE if row.risk is None else f"{row.risk:.0%}",
            _NONE if row.change is None else f"{100 * row.change:+.0f}",
            _NONE if row.value_at_risk is None else f"{row.value_at_risk:,.0f}",
            _NONE if row.next_renewal is None else f"{row.next_renewal:%Y-%m-%d}",
            to_safe_line(row.owner or _NONE, 40),
        )
    return table


def register(app: typer.Typer) -> None:
    """Add the command to the app of `python -m monitoring`."""
    app.command()(accounts)
