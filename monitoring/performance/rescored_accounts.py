"""Score accounts again as of a past instant: with the rows that are there now, then with those that came late too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from features.core.contract import EVENTS, TABLES
from features.core.timestamps import to_micros
from features.definitions.visibility_rule import is_known
from features.settings import Settings
from features.sources.history import History
from serving.scoring.scorer import Scorer
from serving.scoring.snapshot_store import prepare_rows
from training.models.model import Model

Row = Mapping[str, Any]


@dataclass(frozen=True)
class HypotheticalScore:
    """What an account's score would have been.

    Args:
        complete: With every row that was known by then, as the tables are now.
        punctual: With every row that had happened by then, as if each had been known at once.
        late: Rows that had happened and were not known, by table.
        last_known: The instant (µs) of the last row that was known by then, by table; None without any.
    """

    complete: float | None
    punctual: float | None
    late: Mapping[str, int]
    last_known: Mapping[str, int | None]


def rescore_accounts(
    settings: Settings, history: History, model: Model | None, accounts: Sequence[str], *, as_of: datetime
) -> dict[str, HypotheticalScore]:
    """Score some accounts again as of a past instant.

    Args:
        settings: Of the company.
        history: Of the company, as it is now.
        model: That gave the scores; None if it is gone, and so are the scores then.
        accounts: Their ids.
        as_of: The instant.

    Returns:
        By account id.
    """
    at = to_micros(as_of)
    tables: dict[str, list[Row]] = {
        table: [row for account in accounts for row in history.read_rows(table, account, as_of)]
        for table in history.tables
    }
    events = {table: tables[table] for table in EVENTS if table in tables}
    punctual = tables | {table: [_know_at_once(table, row) for row in rows] for table, rows in events.items()}
    scores = [_score(settings, history, model, rows, as_of) for rows in (tables, punctual)]
    return {
        account: HypotheticalScore(
            complete=scores[0].get(account),
            punctual=scores[1].get(account),
            late={table: n for table, rows in events.items() if (n := _count_late(table, rows, account, at))},
            last_known={table: _find_last_known(table, rows, account, at) for table, rows in events.items()},
        )
        for account in accounts
    }


def _score(
    settings: Settings, history: History, model: Model | None, tables: Mapping[str, Sequence[Row]], as_of: datetime
) -> dict[str, float]:
    if model is None:
        return {}
    scorer = Scorer({model.target: model}, history.catalog)
    prepared = prepare_rows(settings, scorer, tables, as_of)
    scores = scorer.score(prepared)[model.target][:, model.horizons.index(settings.alert_horizon)]
    return dict(zip(map(str, prepared.account_ids), scores.tolist(), strict=True))


def _know_at_once(table: str, row: Row) -> Row:
    """Return the row as if it had been known when it happened; a merge's copy stays as it is."""
    if row.get("first_known_at") is not None:
        return row
    known = {"known_at": row[str(TABLES[table].time)]}
    if table == "tickets":
        known |= {f"{name}_known_at": row[f"{name}_at"] for name in ("first_response", "resolved")}
    return {**row, **known}


def _count_late(table: str, rows: Sequence[Row], account: str, at: int) -> int:
    """Count an account's rows that had happened at an instant (µs) and were not known."""
    time = str(TABLES[table].time)
    own = (r for r in rows if r["account_id"] == account and r["first_known_at"] is None)
    return sum(r[time] < at and not is_known(r["known_at"], at) for r in own)


def _find_last_known(table: str, rows: Sequence[Row], account: str, at: int) -> int | None:
    time = str(TABLES[table].time)
    known = (r[time] for r in rows if r["account_id"] == account and r[time] < at and is_known(r["known_at"], at))
    return max(known, default=None)
