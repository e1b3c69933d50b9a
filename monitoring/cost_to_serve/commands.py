"""The command about what serving costs, and the cheapest path to satisfaction."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from features.settings import cli
from features.settings.cli import CONFIG, AsOf, Config, Json, table, write_json
from features.settings.load import load_settings

if TYPE_CHECKING:
    from monitoring.cost_to_serve.cost_sheet import CostSheet


def cost(
    as_of: AsOf = None,
    accounts: Annotated[int, typer.Option(min=0, help="Accounts listed, the costliest first.")] = 10,
    paths: Annotated[bool, typer.Option("--paths/--no-paths", help="Compare first actions by topic, too.")] = True,
    config: Config = CONFIG,
    json: Json = None,
) -> None:
    """Say what serving costs by team, topic and account beside what it brings, and which first action is cheapest."""
    from features.sources.history import History
    from features.state import database
    from monitoring.cost_to_serve.cost_report import make_reports
    from monitoring.cost_to_serve.cost_sheet import list_accounts
    from training.models.dataset import find_data_until

    settings = load_settings(config)
    with (
        closing(database.open(settings)) as store,
        History.open(settings) as history,
        cli.show_spinner("reading") as say,
    ):
        say("tickets and what they cost")
        until = find_data_until(history, settings, as_of)
        sheet, compared = make_reports(settings, store, history, until, has_paths=paths)
    print(*sheet.lines(), sep="\n")
    _print_sums(sheet)
    if accounts and sheet.windows[-1].cost is not None:
        money = f"cost, {sheet.currency}"
        rows = table("account", "tickets", "hours", money, "±", "of revenue", "play", right=("tickets", "hours", money))
        for row in list_accounts(sheet.accounts, limit=accounts):
            share = "" if row["share"] is None else f"{row['share']:.0%}"
            spread = f"{1.96 * row['error_365']:,.0f}"
            cells = (f"{row['tickets']:,.0f}", f"{row['hours']:,.0f}", f"{row['cost_365']:,.0f}", spread, share)
            rows.add_row(row["account_id"], *cells, f"{row['play'] or ''}{' (flagged)' if row['is_flagged'] else ''}")
        cli.print_table(rows)
    if compared:
        print("\nCheapest path to satisfaction: what to do first")
        print(*compared.lines(), sep="\n")
    write_json(json, sheet.as_dict() | {"paths": compared.as_dict() if compared else None})


def _print_sums(sheet: CostSheet) -> None:
    money = f"cost, {sheet.currency}"
    for title, sums in (("team", sheet.teams), ("topic", sheet.topics[:12])):
        rows = table(title, "tickets", "hours", money, "±", "escalated", right=("tickets", "hours", money, "escalated"))
        for row in sums:
            cost = "" if row.cost is None else f"{row.cost:,.0f}"
            cells = (f"{row.tickets:,}", f"{row.hours:,.0f}", cost, f"{1.96 * row.error:,.0f}", f"{row.escalated:,}")
            rows.add_row(row.name or "not known", *cells)
        cli.print_table(rows)


def register(app: typer.Typer) -> None:
    """Add this command to the app of `python -m monitoring`."""
    app.command()(cost)
