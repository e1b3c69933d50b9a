"""Build the table behind the account index: the newest scores joined with what the company's tables say of accounts."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from features.core.addresses import parse_address
from features.core.timestamps import DAY, to_micros
from features.settings import Settings
from features.sources.history import History
from serving.scoring import snapshot_store
from serving.scoring.score_table import ScoreTable
from serving.scoring.snapshot_store import StoredSnapshot

_FACTS = ("days_to_renewal", "days_since_touch")
# Columns of a score by its suffix in the score table, and their names here.
_OF_RISK = {"": "risk", "_low": "risk_low", "_high": "risk_high", "_before": "risk_before", "_value": "value_at_risk"}
_OF_UPSELL = {"": "upsell", "_value": "upsell_gain"}
_PLAIN = ("value", "tier", "recommendation", "withheld", "why", "leaves_in_days")
_TYPES = dict.fromkeys((*_OF_RISK.values(), *_OF_UPSELL.values(), "value", "leaves_in_days"), pa.float64())
_TYPES |= dict.fromkeys(("tier", "recommendation", "why"), pa.string())
_TYPES |= {"withheld": pa.bool_(), "in_cohort": pa.bool_()}

# Instants are µs. `is_customer` is the cohort's answer, and true where there is none.
_JOIN = f"""
SELECT
    coalesce(s.account_id, a.account_id) AS account_id, a.name, o.owner, a.parent_id, a.region,
    s.* EXCLUDE account_id,
    s.risk - s.risk_before AS change,
    $at + (f.days_to_renewal * {DAY})::BIGINT AS next_renewal,
    $at - (f.days_since_touch * {DAY})::BIGINT AS last_touch,
    coalesce(s.in_cohort, s.account_id IS NOT NULL) AS is_customer
FROM scores AS s
FULL JOIN accounts AS a ON a.account_id = s.account_id
LEFT JOIN facts AS f ON f.account_id = s.account_id
LEFT JOIN owners AS o ON o.exported = a.owner_email
ORDER BY 1
"""  # noqa: S608  # a number


@dataclass(frozen=True)
class AccountTable:
    """All accounts at one run.

    Args:
        table: A row an account, by id: account_id, name, owner (one address in lower case), parent_id, region, tier,
            risk and its ends, risk_before, change, value, value_at_risk, upsell, upsell_gain, recommendation, withheld,
            why, leaves_in_days, next_renewal and last_touch (µs), in_cohort, is_customer.
        as_of: Of the scores.
        run: Their run.
        before: The `as_of` of the scores that `change` compares with; None without any.
        horizon: Of the risk, in days.
    """

    table: pa.Table
    as_of: datetime
    run: str
    before: datetime | None
    horizon: int


def build_table(settings: Settings, file: Path | None) -> AccountTable:
    """Build the table of the run that a score table holds.

    Args:
        settings: The company's.
        file: Of the score table; None before anything was scored: the accounts then have no scores.

    Raises:
        GarrisonError: The file, or the company's tables, can't be read.
    """
    stored = None if file is None else _read_scores(settings, file)
    accounts, facts = _read_accounts(settings, file, stored)
    as_of = stored.as_of if stored else datetime.now(UTC)
    horizon = _choose_horizon(settings, stored)
    scores = _rename_scores(settings, stored, horizon)
    exported = accounts["owner_email"].unique().drop_null().to_pylist()
    parsed = [(text, address.lower()) for text in exported if (address := parse_address(text))]
    owners = pa.table(
        {
            "exported": pa.array([t for t, _ in parsed], pa.string()),
            "owner": pa.array([a for _, a in parsed], pa.string()),
        }
    )
    with closing(duckdb.connect()) as connection:
        for name, part in {"scores": scores, "accounts": accounts, "facts": facts, "owners": owners}.items():
            connection.register(name, part)
        table = connection.sql(_JOIN, params={"at": to_micros(as_of)}).to_arrow_table()
    before = stored.previous.as_of if stored and stored.previous else None
    return AccountTable(_encode(table), as_of, stored.run if stored else "", before, horizon)


def replace_owners(table: pa.Table, owners: Mapping[str, str]) -> pa.Table:
    """Return the table with the owners that people assigned, by account, in place of those that were exported."""
    if not owners:
        return table
    position = table.schema.get_field_index("owner")
    ids, current = table["account_id"].combine_chunks(), table["owner"].cast(pa.string()).combine_chunks()
    assigned = pa.array([a.lower() for a in owners.values()], pa.string())
    places = pc.index_in(ids, pa.array(list(owners), pa.string()))
    column = pc.coalesce(assigned.take(places), current)
    return table.set_column(position, "owner", column.dictionary_encode())


def _read_scores(settings: Settings, file: Path) -> ScoreTable:
    names = [f"churn_{h}d" for h in settings.churn.horizons]
    names += [f"upsell_{h}d" for h in settings.upsell.horizons] if settings.upsell else []
    suffixes = {*_OF_RISK, *_OF_UPSELL}
    wanted = {"account_id", *_PLAIN, "in_cohort_churn", *(f"{n}{s}" for n in names for s in suffixes)}
    return ScoreTable.read(file, wanted)


def _choose_horizon(settings: Settings, stored: ScoreTable | None) -> int:
    """Choose the horizon of the risk: that of alerts, or else the longest scored."""
    scored = stored.horizons.get("churn", ()) if stored else ()
    return settings.alert_horizon if settings.alert_horizon in scored or not scored else max(scored)


def _rename_scores(settings: Settings, stored: ScoreTable | None, horizon: int) -> pa.Table:
    """Return the scores under the names that the index has for them; null where the company has none."""
    table = stored.table if stored else pa.table({"account_id": pa.array([], pa.string())})
    sold = max(settings.upsell.horizons) if settings.upsell else 0
    names = {f"churn_{horizon}d{suffix}": name for suffix, name in _OF_RISK.items()}
    names |= {f"upsell_{sold}d{suffix}": name for suffix, name in _OF_UPSELL.items()}
    names |= {name: name for name in _PLAIN} | {"in_cohort_churn": "in_cohort"}
    columns = {"account_id": table["account_id"]}
    for stored_name, name in names.items():
        kind = _TYPES[name]
        if stored_name not in table.column_names:
            columns[name] = pa.nulls(len(table), kind)
            continue
        values = table[stored_name].cast(kind)
        columns[name] = pc.if_else(pc.is_nan(values), None, values) if kind == pa.float64() else values
    return pa.table(columns)


def _read_accounts(settings: Settings, file: Path | None, stored: ScoreTable | None) -> tuple[pa.Table, pa.Table]:
    """Read the accounts of the history that the run was made from, and what its snapshot knows of them."""
    facts = pa.table(
        {name: pa.array([], pa.string() if name == "account_id" else pa.float64()) for name in ("account_id", *_FACTS)}
    )
    history = None
    if file is not None and stored is not None:
        snapshot_file = snapshot_store.find_stored(settings, stored.as_of)
        if snapshot_file:
            snapshot = StoredSnapshot.read(snapshot_file, _FACTS)
            frame = snapshot.frame.reindex(columns=["account_id", *_FACTS])
            facts = pa.Table.from_pandas(frame.astype(dict.fromkeys(_FACTS, "float64")), preserve_index=False)
            history = History.reopen(settings, snapshot.history) if snapshot.history else None
    with history or History.open(settings) as opened:
        sql = "SELECT account_id, name, owner_email, parent_id, region FROM accounts WHERE merged_into IS NULL"
        return opened.query_arrow(sql), facts


def _encode(table: pa.Table) -> pa.Table:
    """Return the table with what few values fill as dictionaries, each column in one piece."""
    for name in ("owner", "region", "tier", "recommendation", "why"):
        position = table.schema.get_field_index(name)
        table = table.set_column(position, name, table[name].dictionary_encode())
    return table.unify_dictionaries().combine_chunks()
