"""The role of each raw table, and the canonical columns in it, by the names and values of its columns."""

from __future__ import annotations

import re
from dataclasses import dataclass

from features.catalog import BUILT_IN
from features.core.contract import TABLES
from features.proposal.column_kinds import ColumnSample
from features.proposal.links import rank_account_columns
from features.proposal.mapped_columns import fits, map_column
from features.proposal.model import ProposedColumn, ProposedTable
from features.proposal.vocabulary import COLUMNS, NO_BILL, is_answer, is_counter, rank_name, squash
from features.proposal.vocabulary import TABLES as TABLE_WORDS
from features.proposal.workspace import RawRows, Workspace
from features.sources.mapping import quote_identifier, quote_literal

_PREFIXES = {"tickets": ("ticket", "case"), "purchases": ("order", "invoice"), "usage": ("event",), "accounts": ()}
_NEEDED = {
    "accounts": ("account_id",),
    "tickets": ("ticket_id", "opened_at"),
    "usage": ("used_at",),
    "purchases": ("purchased_at", "amount"),
    "touches": ("touched_at", "kind"),
    "rates": ("currency", "day", "per_unit"),
    "lifetimes": ("started_at", "ended_at"),
    "identities": ("system", "external_id"),
    "people": ("person_id", "since"),
    "staff": ("email", "team"),
    "contracts": ("contract_id", "starts", "notice_until"),
    "surveys": ("at", "kind", "score"),
    "promises": ("made_at", "due"),
}
# Columns whose presence speaks for a role.
_SIGNS = {
    "accounts": ("created_at", "industry", "region", "owner_email", "name", "plan"),
    "tickets": ("priority", "resolved_at", "csat", "topic", "first_response_at", "channel"),
    "usage": ("feature", "user_id", "duration_s", "count"),
    "purchases": ("currency", "order_id", "quantity", "paid", "term_ends_at", "product"),
}
# Tables that only a source of such a name is taken for.
_BY_NAME = {"lifetimes", "people", "staff", "contracts", "surveys", "promises"}
_LEAST = 1.6  # score from which a table has a role
_BY_WORD_ALONE = {"touches", "identities", "rates"}
_NARROW = 8  # columns of a table that only maps or rates
_SOME_STAY = 0.95  # share of rows with an end, above which an end is that of a term
_LONGEST = 60  # characters of a category; longer ones are prose
_MOST_CATEGORIES = 60
# What says where to write to or how to call, not what an account is like.
_OF_LOADERS = re.compile(r"_(airbyte|fivetran|dlt|sdc)_")
_OF_PEOPLE = re.compile(
    r"address|street|zip|postal|phone|url|photo|fax|e-?mail|first_?name|last_?name|descri|note", re.IGNORECASE
)
_LEAST_FILLED = 0.2


@dataclass(frozen=True)
class Role:
    """A role that a raw table could have.

    Args:
        source: The raw table.
        table: The canonical table.
        score: How much speaks for it.
        columns: Canonical to raw column.
    """

    source: str
    table: str
    score: float
    columns: dict[str, str]


def find_columns(table: str, rows: RawRows) -> dict[str, str]:
    """Return, by canonical column, the raw column whose name and values fit it best."""
    found: dict[str, str] = {}
    for canonical, wanted in COLUMNS[table].items():
        ranked = sorted(
            ((rank_name(raw, wanted, _PREFIXES.get(table, ())), raw) for raw in rows.types), key=lambda r: -r[0]
        )
        for rank, raw in ranked:
            if not rank:
                break
            if fits(table, canonical, rows.column(raw)):
                found[canonical] = raw
                break
    return found


def rank_roles(workspace: Workspace, sources: list[str]) -> list[Role]:
    """Return the roles that raw tables could have, the surest first."""
    roles = []
    for source in sources:
        rows, words = workspace.source(source), set(source.split("_"))
        for table in COLUMNS:
            columns = find_columns(table, rows)
            if not all(c in columns for c in _NEEDED[table]):
                continue
            named = any(word in TABLE_WORDS[table].split() for word in words)
            score = _score(table, source, rows, columns, named=named)
            if score >= _LEAST or (score > 0 and named and table not in {"accounts", *_BY_WORD_ALONE}):
                roles.append(Role(source, table, score, columns))
    return sorted(roles, key=lambda role: (-role.score, role.source))


def _score(table: str, source: str, rows: RawRows, columns: dict[str, str], *, named: bool) -> float:
    """Return how much speaks for a role, 0 where it can't be."""
    score = 1.5 * named + sum(0.4 for c in _SIGNS.get(table, ()) if c in columns)
    if table == "accounts":
        if not rows.is_unique(columns["account_id"]):
            return 0.0
        score += 1.0 * (squash(columns["account_id"]).removesuffix("id") in source)
        return score - 1.0 * ("amount" in find_columns("purchases", rows))
    if table in _BY_WORD_ALONE:
        return score + 1.0 if named and len(rows.types) <= _NARROW else 0.0
    has_account = table == "staff" or bool(rank_account_columns(rows))
    if not has_account or (table in _BY_NAME and not named):
        return 0.0
    if table in _BY_NAME - {"lifetimes"}:
        return score + 0.4 * len(columns)
    if table == "lifetimes":
        score += 0.6 * (rows.column(columns["ended_at"]).filled < _SOME_STAY) + 0.4 * is_answer(columns["ended_at"])
    return score


def choose_roles(roles: list[Role], taken: set[str], sources: set[str]) -> dict[str, Role]:
    """Return one raw table for each canonical one; no raw table has two.

    Args:
        roles: The surest first.
        taken: Canonical tables that have their rows already.
        sources: Raw tables that are used already.
    """
    chosen: dict[str, Role] = {}
    used = set(sources)
    for role in roles:
        if role.table not in chosen and role.table not in taken and role.source not in used:
            chosen[role.table] = role
            used.add(role.source)
    return chosen


def propose_table(role: Role, workspace: Workspace) -> ProposedTable:
    """Propose the mapping of a raw table, but for the account that its rows belong to."""
    rows = workspace.source(role.source)
    proposed = ProposedTable(role.table, source=role.source, is_guessed=True)
    for canonical, raw in role.columns.items():
        proposed.columns[canonical] = map_column(role.table, canonical, rows.column(raw))
    if role.table == "purchases":
        _settle_bills(proposed, rows, workspace)
    if role.table == "tickets":
        _settle_durations(proposed, rows)
    if role.table == "lifetimes":
        _settle_starts(proposed, rows)
    if role.table == "accounts":
        add_attributes(proposed, rows)
    return proposed


def _settle_starts(proposed: ProposedTable, rows: RawRows) -> None:
    """Leave out rows that have not begun, such as trials."""
    raw = str(proposed.columns["started_at"].origin["column"])
    if rows.column(raw).filled < 1:
        proposed.query = (
            f"SELECT * FROM {quote_identifier(str(proposed.source))} WHERE {quote_identifier(raw)} IS NOT NULL"
        )
        proposed.notes.append(f"Rows without {raw} are left out: they have not begun")
        proposed.source = None


def _leave_out_void(proposed: ProposedTable, rows: RawRows, workspace: Workspace) -> None:
    """Leave out the rows whose status says that they are no bills."""
    for raw in rows.types:
        if squash(raw) not in {"status", "invoicestatus", "paymentstatus", "state", "orderstatus", "financialstatus"}:
            continue
        none = [v for v in rows.column(raw).values if re.sub(r"[^a-z]", "", v.lower()) in NO_BILL]
        if none and len(none) < len(rows.column(raw).values):
            listed = ", ".join(quote_literal(v) for v in none)
            quoted = quote_identifier(raw)
            where = f"{quoted} IS NULL OR {quoted} NOT IN ({listed})"
            proposed.query = f"SELECT * FROM {quote_identifier(str(proposed.source))} WHERE {where}"
            left = rows.count - workspace.read(f"({proposed.query})").count
            proposed.notes.append(f"{left:,} of {rows.count:,} rows are left out: {raw} is {' or '.join(none)}")
            proposed.confirm = f"whether bills with {raw} {', '.join(none)} are none"
            proposed.source = None
            kept = workspace.read(proposed.rows)
            for canonical, column in list(proposed.columns.items()):
                again = kept.column(str(column.origin.get("column"))) if "column" in column.origin else None
                if again and again.holds != "empty":
                    proposed.columns[canonical] = map_column("purchases", canonical, again)


def _settle_bills(proposed: ProposedTable, rows: RawRows, workspace: Workspace) -> None:
    """Leave out bills that are none; a term needs both ends."""
    _leave_out_void(proposed, rows, workspace)
    if ("term_starts_at" in proposed.columns) != ("term_ends_at" in proposed.columns):
        proposed.columns.pop("term_starts_at", None)
        proposed.columns.pop("term_ends_at", None)
    if "list_price" in proposed.columns:
        proposed.columns[
            "list_price"
        ].confirm = "that it is the price of the whole row, as the amount is, not of a unit"
    ends = proposed.columns.get("term_ends_at")
    if ends and "renew" not in str(ends.origin.get("column", "")):
        ends.confirm = (
            ends.confirm or "that it is the end as agreed: one that is rewritten when an account leaves is the answer"
        )
    amount, months = proposed.columns["amount"].origin, proposed.columns.get("billing_months")
    if months and squash(str(amount.get("column", ""))) in {"mrr", "monthlyrecurringrevenue", "monthlyamount"}:
        each = [f"TRY_CAST({quote_identifier(str(c['column']))} AS DOUBLE)" for c in (amount, months.origin)]
        proposed.columns["amount"] = ProposedColumn(
            {"sql": " * ".join(each)}, "a month's amount times the months billed"
        )
    kinds = proposed.columns.get("kind")
    if kinds and not set(kinds.origin.get("map", {}).values()) - {""}:
        proposed.columns.pop("kind")


def _settle_durations(proposed: ProposedTable, rows: RawRows) -> None:
    """Take the time of resolution from a duration since the opening, where nothing else tells it."""
    opened = proposed.columns["opened_at"].origin
    if "resolved_at" in proposed.columns or "format" in opened or "column" not in opened:
        return
    for raw in rows.types:
        match = re.fullmatch(
            r"(resolution|resolve|solve|solution)_?(?:time_?)?(hours|hrs|h|minutes|min|seconds|s)", raw.lower()
        )
        if match and rows.column(raw).holds == "number":
            unit = {"h": 3600, "m": 60, "s": 1}[match[2][0]]
            start = quote_identifier(opened["column"])
            sql = f"TRY_CAST({start} AS TIMESTAMP) + to_seconds({unit} * TRY_CAST({quote_identifier(raw)} AS DOUBLE))"
            proposed.columns["resolved_at"] = ProposedColumn({"sql": sql}, f"opening and {raw}")


def add_attributes(proposed: ProposedTable, rows: RawRows) -> None:
    """Add the further columns of accounts that say what an account is like, and note those that must stay out."""
    mapped = {v.origin.get("column") for v in proposed.columns.values()}
    answers, counters = [], []
    for raw, sample in rows.columns.items():
        if raw in mapped or sample.filled < _LEAST_FILLED or _OF_PEOPLE.search(raw) or _OF_LOADERS.match(raw):
            continue
        if is_answer(raw):
            answers.append(raw)
        elif sample.holds == "number" or is_counter(raw):
            counters.append(raw)
        elif _is_category(sample, rows.count):
            name = _name_attribute(raw, set(proposed.columns))
            proposed.columns[name] = map_column("accounts", name, sample)
    for canonical in ("region", "industry", "size", "plan"):
        if canonical in proposed.columns and is_answer(str(proposed.columns[canonical].origin.get("column", ""))):
            del proposed.columns[canonical]
    if answers:
        proposed.notes.append(f"Not mapped, since it may be the answer: {', '.join(answers)}")
    if counters:
        proposed.notes.append(f"Not mapped, since it is of the export's day: {', '.join(counters[:12])}")


def _is_category(sample: ColumnSample, rows: int) -> bool:
    """Return whether a column tells groups of accounts apart."""
    is_short = all(len(v) <= _LONGEST for v in sample.values) and not squash(sample.name).endswith("id")
    return sample.holds in {"text", "flag"} and is_short and 1 < sample.distinct <= min(_MOST_CATEGORIES, rows // 4 + 1)


def _name_attribute(raw: str, taken: set[str]) -> str:
    plain = re.sub(r"^propert(y|ies)[_.]+", "", raw)
    name = re.sub(r"[^a-z0-9]+", "_", re.sub(r"([a-z])([A-Z])", r"\1_\2", plain).lower()).strip("_") or "attribute"
    name = f"a_{name}" if name[0].isdigit() else name
    reserved = set(BUILT_IN.features) | set(TABLES["accounts"].columns) | {"as_of", "account_no"} | taken
    return f"account_{name}" if name in reserved else name
