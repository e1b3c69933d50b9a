"""Accounts where no table lists them, or where the list does not say since when each is one: by their first event."""

from __future__ import annotations

from features.core.errors import SourceError
from features.proposal.links import rank_account_columns
from features.proposal.mapped_columns import as_timestamp
from features.proposal.model import Proposal, ProposedColumn, ProposedTable
from features.proposal.workspace import Workspace
from features.sources.mapping import quote_identifier

_TIMES = {"purchases": "purchased_at", "usage": "used_at", "tickets": "opened_at", "lifetimes": "started_at"}
_ENOUGH = 0.5  # share of the events that must find an account of a list without dates
_LATE = 0.05  # share of accounts with events before they were created from which the date is not believed


def choose_accounts(proposal: Proposal, workspace: Workspace) -> None:
    """Make accounts of the ids in a table of events.

    Raises:
        SourceError: No table of events names an account.
    """
    for name in _TIMES:
        table = proposal.tables.get(name)
        columns = _list_names(table, workspace) if table else []
        if not table or not columns:
            continue
        first = _first_events(table, columns[0], workspace)
        if first is None:
            continue
        table.columns["account_id"] = ProposedColumn({"column": columns[0]})
        proposal.tables["accounts"] = ProposedTable(
            "accounts",
            query=first,
            columns={
                "account_id": ProposedColumn({"column": columns[0]}),
                "created_at": ProposedColumn({"column": "first_at"}),
            },
            notes=[
                f"No table lists the accounts: each is one from its first row of {name} on, a microsecond before it"
            ],
            confirm=f"that {columns[0]} is the customer",
        )
        return
    raise SourceError(
        "no table lists the accounts, and no event names one",
        found=", ".join(workspace.sources),
        hint="Name a --recipe, or write the TOML by hand: docs/company.md",
    )


def _list_names(table: ProposedTable, workspace: Workspace) -> list[str]:
    """Return the columns of a table that may name its account and have values, that of a recipe first."""
    rows = workspace.read(table.rows)
    given = table.columns["account_id"].origin.get("column") if "account_id" in table.columns else None
    names = [*([str(given)] if given else []), *rank_account_columns(rows, surely=True)]
    own = {table.columns[c].origin.get("column") for c in ("ticket_id", "order_id", "event_id") if c in table.columns}
    return [name for name in names if rows.column(name).holds != "empty" and name not in own]


def date_accounts(proposal: Proposal, workspace: Workspace) -> None:
    """Date accounts by their first event, where their list has no date or many events lie before it."""
    accounts = proposal.tables["accounts"]
    key = str(accounts.columns["account_id"].origin.get("column"))
    for name in _TIMES:
        table = proposal.tables.get(name)
        given = table and table.columns.get("account_id")
        if not table or not given or "column" not in given.origin or "system" in table.keys:
            continue
        column = str(given.origin["column"])
        first = _first_events(table, column, workspace)
        if (
            first is None
            or workspace.match(table.rows, quote_identifier(column), accounts.rows, quote_identifier(key)) < _ENOUGH
        ):
            continue
        joined = (
            f"SELECT a.*, f.first_at\nFROM {accounts.rows} a JOIN ({first}) f\n"
            f"ON CAST(f.{quote_identifier(column)} AS VARCHAR) = CAST(a.{quote_identifier(key)} AS VARCHAR)"
        )
        created = accounts.columns.get("created_at")
        if created is not None:
            late = _share_late(accounts, created, joined, workspace)
            if late <= _LATE:
                return
            note = f"{late:.1%} of the accounts have {name} before {created.origin.get('column')}, which is not mapped"
        else:
            note = f"No column says since when an account is one: from its first row of {name} on"
        left = workspace.read(accounts.rows).count - workspace.read(f"({joined})").count
        accounts.notes.append(f"{note}; {left:,} accounts without any are left out")
        accounts.query, accounts.source = joined, None
        accounts.columns["created_at"] = ProposedColumn({"column": "first_at"})
        accounts.confirm = "since when an account is one"
        return
    if "created_at" not in accounts.columns:
        accounts.columns["created_at"] = ProposedColumn({"value": _find_earliest(proposal, workspace)})
        accounts.columns[
            "created_at"
        ].confirm = "no column says since when an account is one: the day of the first event"


def _find_earliest(proposal: Proposal, workspace: Workspace) -> str:
    """Return the day of the first event of all tables."""
    days = []
    for name, column in _TIMES.items():
        table = proposal.tables.get(name)
        raw = table and table.columns[column].origin.get("column")
        if table and raw:
            rows = workspace.read(table.rows)
            time = as_timestamp(str(raw), rows.column(str(raw)), rows.types[str(raw)])
            ((day,),) = workspace.connection.execute(f"SELECT CAST(min({time}) AS DATE) FROM {table.rows}").fetchall()
            days += [day] if day else []
    if not days:
        raise SourceError("no column says since when an account is one", hint="Write the TOML by hand: docs/company.md")
    return str(min(days))


def _first_events(table: ProposedTable, column: str, workspace: Workspace) -> str | None:
    """Return a query of each account's first event, a microsecond before it, as `first_at`."""
    origin = table.columns[_TIMES[table.name]].origin
    if "column" not in origin:
        return None
    rows, raw = workspace.read(table.rows), str(origin["column"])
    time = as_timestamp(raw, rows.column(raw), rows.types[raw])
    quoted = quote_identifier(column)
    return (
        f"SELECT {quoted}, min({time}) - INTERVAL 1 MICROSECOND AS first_at\n"
        f"FROM {table.rows} WHERE {quoted} IS NOT NULL GROUP BY ALL"
    )


def _share_late(accounts: ProposedTable, created: ProposedColumn, joined: str, workspace: Workspace) -> float:
    if "column" not in created.origin:
        return 0.0
    raw = str(created.origin["column"])
    rows = workspace.read(accounts.rows)
    time = as_timestamp(raw, rows.column(raw), rows.types[raw])
    late = f"SELECT avg(CAST({time} > first_at + INTERVAL 1 DAY AS INTEGER)) FROM ({joined})"
    ((share,),) = workspace.connection.execute(late).fetchall()
    return float(share or 0)
