"""The proposal filled in: which raw table has which role, how rows find their account, money and time zone."""

from __future__ import annotations

import re
from collections.abc import Sequence

from features.core.contract import RECORDS, TABLES, TIME
from features.core.errors import SourceError
from features.proposal.accounts import choose_accounts, date_accounts
from features.proposal.column_kinds import find_value_keys
from features.proposal.links import AccountKey, rank_account_columns
from features.proposal.model import Match, Proposal, ProposedColumn, ProposedTable
from features.proposal.recipes import open_recipe
from features.proposal.roles import choose_roles, propose_table, rank_roles
from features.proposal.workspace import Workspace
from features.sources.mapping import quote_identifier

_LINKED = ("purchases", "tickets", "usage", "touches", "lifetimes", "people", "contracts", "surveys", "promises")
# Whose accounts are taken where several systems have some: those of a CRM first.
_PRECEDENCE = ("salesforce", "hubspot", "chargebee", "stripe", "shopify", "intercom", "zendesk", "freshdesk")
_HARDLY = 0.05  # share of rows with an account below which a table says nothing
_TRIED = 12  # columns of a table that may name its account
_MOST_SHARES = 12  # product features whose shares of use are learned from


def fill_proposal(proposal: Proposal, workspace: Workspace, recipes: Sequence[str]) -> None:
    """Fill in the tables by recipes, and what these leave open by names and values.

    Raises:
        SourceError: A recipe is unknown or finds none of its tables, or there are no accounts.
    """
    for source, keys in proposal.sources.items():
        columns = list(workspace.source(source).columns.values())
        found = find_value_keys(columns)
        if "url" in keys or str(keys.get("path", "")).endswith((".parquet", ".pq")):
            found = {key: value for key, value in found.items() if key == "nothing"}
        keys.update(found)
    used: set[str] = set()
    for name in sorted(dict.fromkeys(recipes), key=_precedence):
        recipe = open_recipe(name, workspace)
        for table in recipe.propose(accounts="accounts" not in proposal.tables):
            proposal.tables.setdefault(table.name, table)
        used |= set(recipe.found.values())
    roles = rank_roles(workspace, [s for s in workspace.sources if s not in used])
    for role in choose_roles(roles, set(proposal.tables), used).values():
        proposal.tables[role.table] = propose_table(role, workspace)
    if "accounts" not in proposal.tables:
        choose_accounts(proposal, workspace)
    _link(proposal, workspace)
    if proposal.matches and not any(match.rate for match in proposal.matches):
        _replace_accounts(proposal, workspace)
    date_accounts(proposal, workspace)
    _use_tickets(proposal)
    _settle_money(proposal, workspace)
    _settle_times(proposal, workspace)
    proposal.shares_of_use = _list_product_features(proposal, workspace)


def _precedence(recipe: str) -> int:
    return _PRECEDENCE.index(recipe) if recipe in _PRECEDENCE else len(_PRECEDENCE)


def _link(proposal: Proposal, workspace: Workspace) -> None:
    """Give each table of events the column of its account; a table without one is left out, with a note."""
    accounts = proposal.tables["accounts"]
    column = str(accounts.columns["account_id"].origin["column"])
    key = AccountKey(workspace, accounts.rows, column, tuple(workspace.sources))
    own_identities = proposal.tables.pop("identities", None)
    for name in [t for t in _LINKED if t in proposal.tables]:
        table = proposal.tables[name]
        given = table.columns.get("account_id")
        mapped = str(given.origin.get("column", "")) if given else ""
        if given and not mapped:
            continue  # an expression of a recipe
        ranked = rank_account_columns(workspace.read(table.rows))
        wanted = [*dict.fromkeys([mapped] if mapped else []), *(c for c in ranked if c != mapped)][:_TRIED]
        match = key.use(table, table.rows, wanted)
        is_alone = not any(t in proposal.tables for t in _LINKED if t != name and t not in RECORDS)
        if match is None and (not wanted or (table.is_guessed and not is_alone)):
            del proposal.tables[name]
            proposal.notes.append(f"Left out: {name} of {table.source}, since no column of it finds the accounts")
            continue
        unmatched = match or _map_unmatched(table, wanted[0], key)
        if unmatched.rate < _HARDLY and not is_alone and any(m.rate > _HARDLY for m in proposal.matches):
            del proposal.tables[name]
            proposal.notes.append(f"Left out: {name}, since its {wanted[0]} finds none of the accounts")
            continue
        proposal.matches.append(unmatched)
    identities = key.propose_identities()
    if identities:
        proposal.tables["identities"] = identities
    elif own_identities and "account_id" in own_identities.columns:
        proposal.tables["identities"] = own_identities


def _map_unmatched(table: ProposedTable, column: str, key: AccountKey) -> Match:
    """Map the likeliest column although it finds few accounts, and say so."""
    rate = key.workspace.match(table.rows, quote_identifier(column), key.rows, key.key)
    confirm = f"whether {column} is the account's id: {rate:.1%} of the rows find one"
    table.columns["account_id"] = ProposedColumn({"column": column}, "", confirm)
    return Match(table.name, column, f"accounts.{key.column}", rate)


def _replace_accounts(proposal: Proposal, workspace: Workspace) -> None:
    """Make accounts of the ids of events, where the list of accounts has none of them."""
    listed = proposal.tables.pop("accounts")
    proposal.matches.clear()
    try:
        choose_accounts(proposal, workspace)
    except SourceError:
        proposal.tables["accounts"] = listed
        _link(proposal, workspace)
        return
    note = f"No event names an account of {listed.source or 'the list of accounts'}: it is not used"
    proposal.tables["accounts"].notes.append(note)
    _link(proposal, workspace)


def _use_tickets(proposal: Proposal) -> None:
    """Let each ticket be a use, where a company has neither purchases nor usage, so that there is a cohort."""
    tickets = proposal.tables.get("tickets")
    if tickets is None or {"purchases", "usage", "lifetimes"} & set(proposal.tables):
        return
    columns = {"account_id": tickets.columns["account_id"], "used_at": tickets.columns["opened_at"]}
    columns["feature"] = ProposedColumn({"value": "ticket"})
    why = "whether an account that opens no ticket has left: map purchases, usage or lifetimes where there are any"
    note = "Neither purchases nor usage: each ticket counts as a use, so that there is a cohort and a label"
    columns["event_id"] = tickets.columns["ticket_id"]
    proposal.tables["usage"] = ProposedTable(
        "usage", tickets.source, tickets.query, columns, dict(tickets.keys), [note], why
    )


def _settle_money(proposal: Proposal, workspace: Workspace) -> None:
    """Find the company's currency."""
    purchases = proposal.tables.get("purchases")
    if purchases is None:
        return
    column = purchases.columns.get("currency")
    raw = column and column.origin.get("column")
    if not raw:
        symbols = _find_symbols(purchases, workspace)
        proposal.company["currency"] = symbols or "EUR"
        proposal.confirm["company.currency"] = "no column says the currency of amounts" + (
            ", its sign does" if symbols else ""
        )
        return
    values = workspace.read(purchases.rows).column(str(raw)).values
    if len(values) == 1:
        proposal.company["currency"] = next(iter(values)).upper()
        return
    rates = proposal.tables.get("rates")
    if rates is None:
        proposal.company["currency"] = values.most_common(1)[0][0].upper()
        listed = ", ".join(f"{v} {n / sum(values.values()):.0%}" for v, n in values.most_common(5))
        why = f"amounts are in several currencies ({listed}): map a table of rates, docs/company.md#money"
        proposal.confirm["company.currency"] = why
        return
    rated = set(workspace.read(rates.rows).column(str(rates.columns["currency"].origin["column"])).values)
    without = [v for v, _ in values.most_common() if v not in rated]
    proposal.company["currency"] = (without or [values.most_common(1)[0][0]])[0].upper()
    if len(without) != 1:
        proposal.confirm["company.currency"] = f"which currency the rates are in; they have {', '.join(sorted(rated))}"


def _find_symbols(purchases: ProposedTable, workspace: Workspace) -> str | None:
    found = re.search(r'"([^"]+)"', str(purchases.columns["amount"].origin.get("sql", "")))
    rows = workspace.read(purchases.rows)
    if found is None or found[1] not in rows.types:
        return None
    text = "".join(rows.column(found[1]).values)
    return next((code for sign, code in (("€", "EUR"), ("£", "GBP"), ("$", "USD"), ("¥", "JPY")) if sign in text), None)


def _settle_times(proposal: Proposal, workspace: Workspace) -> None:
    """Say in which time zone times without an offset are, where there are any."""
    proposal.company["timezone"] = "UTC"
    naive = []
    for table in proposal.tables.values():
        rows = workspace.read(table.rows)
        for canonical, column in table.columns.items():
            known = TABLES[table.name].columns.get(canonical)
            raw = column.origin.get("column")
            if known and known.kind == TIME and raw in rows.types and rows.column(str(raw)).is_naive:
                naive.append(f"{table.name}.{canonical}")
    if naive:
        proposal.confirm["company.timezone"] = f"times without an offset: {', '.join(naive[:4])}"


def _list_product_features(proposal: Proposal, workspace: Workspace) -> tuple[str, ...]:
    """Return the commonest values of usage.feature; none where all use is of one."""
    usage = proposal.tables.get("usage")
    column = usage.columns.get("feature") if usage else None
    raw = column.origin.get("column") if column and set(column.origin) == {"column"} else None
    if usage is None or not raw:
        return ()
    values = workspace.read(usage.rows).column(str(raw)).values
    common = [value for value, _ in values.most_common(_MOST_SHARES) if 0 < len(value) <= 100]
    return tuple(common) if len(common) > 1 else ()
