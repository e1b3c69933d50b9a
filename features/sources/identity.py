"""Identity resolution in SQL: ids of other systems to accounts over time, merged accounts, conflicts of both.

An id names one account at a time; where two accounts claim it at once, neither gets it. The schema `identity` holds
the look-up tables: `spans` and `doubts` of ids, `bearers` of events, `examples` of ids that match no account.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import duckdb

from features.core.contract import EVENTS, TABLES
from features.core.timestamps import EVER, NEVER
from features.settings import Settings, TableMap
from features.sources.mapping import ROWS, TableMapping, quote_identifier, quote_literal

SHOWN = 5
SEVERAL = "names several accounts"
# Columns beside those of staged rows.
EXTERNAL, DOUBTED = '"=external"', '"=doubted"'


def describe_orphan(system: str) -> str:
    """Return the reason for a row whose id names no account at its time."""
    return f"account_id is not among the identities of {system}"


def describe_conflict(system: str) -> str:
    """Return the reason for a row whose id names several accounts at its time."""
    return f"account_id names several accounts in {system}"


def resolve_ids(rows: str, spec: TableMap, time: str) -> str:
    """Return SQL of staged rows in which `.account_id`, an external id, is replaced by the account it names.

    The look-up is valid at the row's time.

    Args:
        rows: SQL of the staged rows.
        spec: Settings of their table; without a system the rows stay as they are.
        time: The column that dates them.

    Returns:
        The rows with `EXTERNAL`, the id looked up, and `DOUBTED`, true if it names several accounts then.
    """
    if not spec.system:
        return rows
    # The domain follows the last @ of an address; text without @ is the domain itself.
    typed = quote_identifier(".account_id")
    external = f"lower(split_part({typed}, '@', -1))" if spec.match == "email_domain" else typed

    def join_valid(table: str, name: str) -> str:
        of_system = f"(SELECT * FROM identity.{table} WHERE system = {quote_literal(str(spec.system))}) {name}"
        at = f"e.{quote_identifier('.' + time)}"
        return f"{of_system} ON {name}.external_id = e.{EXTERNAL} AND {at} >= {name}.starts AND {at} < {name}.ends"

    return (
        f"SELECT e.* REPLACE (s.account_id AS {typed}), d.external_id IS NOT NULL AS {DOUBTED} "
        f"FROM (SELECT *, {external} AS {EXTERNAL} FROM ({rows})) e "
        f"LEFT JOIN {join_valid('spans', 's')} LEFT JOIN {join_valid('doubts', 'd')}"
    )


def fold_domain(external: str, system: str, settings: Settings) -> str:
    """Return SQL of an identity's external id; a domain in lower case and without a leading @."""
    systems = _list_domain_systems(settings)
    return f"CASE WHEN {system} IN ({systems}) THEN ltrim(lower({external}), '@') ELSE {external} END"


def is_address(settings: Settings) -> str:
    """Return SQL that is true where a staged identity gives an e-mail address instead of a domain."""
    system, external = quote_identifier(".system"), quote_identifier(".external_id")
    return f"{system} IN ({_list_domain_systems(settings)}) AND contains({external}, '@')"


def _list_domain_systems(settings: Settings) -> str:
    systems = sorted({str(t.system) for t in settings.tables.values() if t.match == "email_domain"})
    return ", ".join(quote_literal(s) for s in systems) or "NULL"


def flag_conflicts(staged: str, table: str, settings: Settings) -> str:
    """Return SQL of staged rows with the faults that only all rows together show: contested ids, dangling merges."""
    if table == "identities":
        return _flag_contested_ids(staged)
    if table == "accounts" and "merged_into" in settings.tables["accounts"].columns:
        return _flag_dangling_merges(staged)
    return staged


def _flag_contested_ids(staged: str) -> str:
    """Flag identities that overlap a time in which several accounts claim their id.

    A claim counts even if its row is bad for another reason: the id may still mean another account.
    """
    of_account, of_id = ("system", "external_id", "account_id"), ("system", "external_id")
    steps = " UNION ALL ".join(
        f"SELECT *, {at} AS t, {n} AS step FROM claims" for at, n in (("starts", 1), ("ends", -1))
    )
    in_order = "OVER (PARTITION BY system, external_id ORDER BY t)"
    return f"""
        WITH known AS MATERIALIZED ({staged}),
        bounded AS (SELECT *, {_select_bounds()} FROM known),
        claims AS ({_union_spans("(SELECT * FROM bounded WHERE account_id IS NOT NULL)", of_account)}),
        depths AS (SELECT system, external_id, t AS starts, lead(t) {in_order} AS ends,
            sum(sum(step)) {in_order} AS depth FROM ({steps}) GROUP BY system, external_id, t),
        contested AS ({_union_spans("(SELECT * FROM depths WHERE depth > 1)", of_id)})
        SELECT b.* EXCLUDE (starts, ends) REPLACE (CASE WHEN b.why_one IS NULL AND b.starts < b.ends
            AND c.starts < b.ends THEN {quote_literal(SEVERAL)} ELSE b.why END AS why)
        FROM bounded b ASOF LEFT JOIN contested c
            ON b.system = c.system AND b.external_id = c.external_id AND b.starts < c.ends"""


def _select_bounds() -> str:
    return f"coalesce(valid_from, {EVER}) AS starts, coalesce(valid_until, {NEVER}) AS ends"


def _union_spans(origin: str, keys: tuple[str, ...]) -> str:
    """Return SQL of spans `[starts, ends)`, in which overlapping or touching spans of the same keys are united."""
    by = ", ".join(keys)
    ordered = f"OVER (PARTITION BY {by} ORDER BY starts, ends ROWS BETWEEN UNBOUNDED PRECEDING AND"
    each = f"SELECT DISTINCT {by}, starts, ends FROM {origin} WHERE starts < ends"
    reached = f"SELECT *, max(ends) {ordered} 1 PRECEDING) AS reached FROM ({each})"
    island = f"sum(CASE WHEN starts <= reached THEN 0 ELSE 1 END) {ordered} CURRENT ROW)"
    numbered = f"SELECT *, {island} AS island FROM ({reached})"
    return f"SELECT {by}, min(starts) AS starts, max(ends) AS ends FROM ({numbered}) GROUP BY {by}, island"


def _flag_dangling_merges(staged: str) -> str:
    """Flag accounts whose chain of merges ends in no existing account.

    Each chain is climbed once, from its end.
    """
    up, known = "merged_into", "(SELECT account_id FROM good)"
    return f"""
        WITH RECURSIVE known AS MATERIALIZED ({staged}),
        good AS MATERIALIZED (SELECT account_id, merged_into FROM known WHERE why IS NULL),
        sound AS ({_climb("good", up, "merged_into IS NULL", "sound")}),
        astray AS ({_climb("good", up, f"merged_into NOT IN {known}", "astray")})
        SELECT * REPLACE (CASE
            WHEN why IS NOT NULL OR merged_into IS NULL OR account_id IN (SELECT * FROM sound) THEN why
            WHEN account_id IN (SELECT * FROM astray) THEN 'merged_into is not in accounts'
            ELSE 'merged_into goes round in a circle' END AS why) FROM known"""


def _climb(origin: str, up: str, start: str, name: str) -> str:
    """Return the body of a recursive query `name`: accounts where `start` holds, and all that lead `up` to them."""
    climbed = f"SELECT o.account_id FROM {origin} o JOIN {name} ON o.{up} = {name}.account_id"
    return f"SELECT account_id FROM {origin} WHERE {start} UNION ALL {climbed}"


def assign_to_survivors(rows: str, table: str, settings: Settings) -> str:
    """Return SQL of a canonical table's rows, with the events of merged accounts assigned to their survivors.

    An event of a merged account dated before `merged_at` stays with it. The survivor gets a copy that is known at
    `merged_at` at the earliest; the copy's `first_known_at` is when the event itself was known. A later event belongs
    to the survivor only. So a row is a copy if and only if it has a `first_known_at`.
    """
    if table not in EVENTS or "merged_into" not in settings.tables["accounts"].columns:
        return rows
    copied = f"r.{TABLES[table].time} < b.since"
    return (
        f"SELECT r.* REPLACE (coalesce(b.bearer, r.account_id) AS account_id, "
        f"CASE WHEN {copied} THEN greatest(r.known_at, b.since) ELSE r.known_at END AS known_at, "
        f"CASE WHEN {copied} THEN r.known_at END AS first_known_at) "
        f"FROM ({rows}) r LEFT JOIN identity.bearers b "
        f"ON b.account_id = r.account_id AND r.{TABLES[table].time} < b.until"
    )


def build_lookup_tables(connection: duckdb.DuckDBPyConnection, table: str, staged: str) -> None:
    """Build the look-up tables from `accounts` and `identities`, for later tables and the report.

    Args:
        connection: Holds the canonical tables.
        table: The canonical table just built.
        staged: SQL of its rows, the bad ones with `why`.
    """
    made = {}
    if table == "accounts":
        connection.execute("CREATE SCHEMA IF NOT EXISTS identity")
        made = {
            "bearers": _CHAINS,
            "examples": "SELECT '' AS \"table\", '' AS why, '' AS external_id, 0::BIGINT AS n LIMIT 0",
        }
    if table in {"accounts", "identities"}:
        # Without identities both tables are empty.
        # Those of erased accounts count until all tables are read, so that what they lead to is known to be erased.
        erased = f"SELECT {_NAMED} FROM ({staged}) WHERE why = '=erased'"
        believed = f"SELECT {_NAMED} FROM main.identities UNION ALL {erased}" if table == "identities" else _NONE
        several = f"SELECT * FROM ({staged}) WHERE why = {quote_literal(SEVERAL)}" if table == "identities" else _NONE
        made["spans"] = _union_spans(
            f"(SELECT *, {_select_bounds()} FROM ({believed}))", ("system", "external_id", "account_id")
        )
        made["doubts"] = _union_spans(f"(SELECT *, {_select_bounds()} FROM ({several}))", ("system", "external_id"))
    for name, sql in made.items():
        connection.execute(f"CREATE OR REPLACE TABLE identity.{name} AS {sql}")


_NAMED = "system, external_id, account_id, valid_from, valid_until"
_NO_ROW = "'' AS system, '' AS external_id, '' AS account_id, 0::BIGINT AS valid_from, 0::BIGINT AS valid_until"
_NONE = f"SELECT {_NO_ROW} LIMIT 0"
# To whom the events of a merged account belong, from when and until when; first to the account itself. A survivor
# that was itself merged earlier never gets them.
_CHAINS = f"""
    WITH RECURSIVE chain AS (
        SELECT account_id, account_id AS bearer, CAST({EVER} AS BIGINT) AS since, merged_at AS until,
            merged_into AS following
        FROM main.accounts WHERE merged_into IS NOT NULL
        UNION ALL
        SELECT c.account_id, a.account_id, greatest(c.since, c.until), coalesce(a.merged_at, {NEVER}), a.merged_into
        FROM chain c JOIN main.accounts a ON a.account_id = c.following)
    SELECT account_id, bearer, since, until FROM chain WHERE since < until"""


def store_examples(
    connection: duckdb.DuckDBPyConnection, spec: TableMap, table: str, rows: TableMapping, file: Path
) -> None:
    """Store the commonest ids that match no account, from a table's quarantine file, for the report."""
    if not spec.system:
        return
    external = f"CAST({rows.raw_values['account_id']} AS VARCHAR)"
    shown = _DOMAIN if spec.match == "email_domain" else _HIDDEN
    reasons = ", ".join(quote_literal(why) for why in (describe_orphan(spec.system), describe_conflict(spec.system)))
    bad = f"SELECT raw AS {ROWS}, why FROM read_parquet({quote_literal(str(file))}) WHERE why IN ({reasons})"
    each = f"SELECT why, {external} AS external_id FROM ({bad})"
    counted = f"SELECT why, {shown} AS id, count(*) AS n FROM ({each}) GROUP BY ALL"
    connection.execute(
        f"INSERT INTO identity.examples SELECT {quote_literal(table)}, why, id, n FROM ({counted}) "
        f"QUALIFY row_number() OVER (PARTITION BY why ORDER BY n DESC, id) <= {SHOWN}"
    )


# Show only the domain of an address: a report names no person.
_DOMAIN = "lower(split_part(external_id, '@', -1))"


def hide_person(value: str) -> str:
    """Return SQL of a text, of an e-mail address only its domain."""
    return f"CASE WHEN contains({value}, '@') THEN '…@' || lower(split_part({value}, '@', -1)) ELSE {value} END"


def mask_person(value: str) -> str:
    """Return a text, of an e-mail address only its domain."""
    return f"…@{value.rpartition('@')[2].lower()}" if "@" in value else value


_HIDDEN = hide_person("external_id")
_BY_ID = f"SELECT system || ' ' || {_HIDDEN} FROM"
_HAS = "(SELECT account_id FROM main.accounts)"
_ROOTED = _climb("main.accounts", "parent_id", f"parent_id IS NULL OR parent_id NOT IN {_HAS}", "rooted")
# Queries of one column each, for the report to count and show.
LISTS = MappingProxyType(
    {
        "conflicts": f"{_BY_ID} identity.doubts GROUP BY system, external_id",
        "reassigned": f"{_BY_ID} identity.spans GROUP BY system, external_id HAVING min(account_id) <> max(account_id)",
        "merged": "SELECT account_id FROM main.accounts WHERE merged_into IS NOT NULL",
        "children": f"SELECT account_id FROM main.accounts WHERE parent_id IN {_HAS}",
        "parents": f"SELECT DISTINCT parent_id FROM main.accounts WHERE parent_id IN {_HAS}",
        "unknown_parents": f"SELECT account_id FROM main.accounts WHERE parent_id NOT IN {_HAS}",
        "circles": f"WITH RECURSIVE rooted AS ({_ROOTED}) "
        "SELECT account_id FROM main.accounts WHERE account_id NOT IN (SELECT * FROM rooted)",
    }
)


def list_examples(name: str) -> str:
    """Return SQL of (name, n): the first few names of one of `LISTS`, and the number of all."""
    return f"SELECT name, count(*) OVER () AS n FROM ({LISTS[name]}) AS t(name) ORDER BY name LIMIT {SHOWN}"
